%%% Reads a file of lines `subscriber subscribee', such as `lariat-tools dataset' writes.
%%%
%%% Knows no table: what is read is handed on in batches, so a file of any size takes the same
%%% memory. Fields are parted by one space or tab; an empty line is skipped.
-module(lariat_dataset).

-export([fold/4]).

-type batch() :: [lariat_subscriptions:subscription()].

-type add(Acc) :: fun((batch(), Acc) -> {ok, Acc} | {error, term()}).

%% Large enough that system calls do not matter, small enough to stay in the cache.
-define(READ_BYTES, 256 * 1024).

%% Two ids of any sensible size; bounds what a file without line ends can take.
-define(LINE_BYTES_MAX, 64 * 1024).

-record(reader, {
    file :: file:io_device(),
    rows :: pos_integer(),
    %% The number of the next line.
    line = 1 :: pos_integer(),
    %% The beginning of a line whose end has not been read.
    rest = <<>> :: binary()
}).

%% @doc Calls `Add' with at most `Rows' subscriptions at a time, in the order of the file.
-spec fold(file:name_all(), pos_integer(), add(Acc), Acc) -> {ok, Acc} | {error, term()}.
fold(Name, Rows, Add, Acc) ->
    case file:open(Name, [read, raw, binary]) of
        {ok, File} ->
            try
                read(#reader{file = File, rows = Rows}, Add, Acc)
            after
                ok = file:close(File)
            end;
        {error, _} = Error ->
            Error
    end.

-spec read(#reader{}, add(Acc), Acc) -> {ok, Acc} | {error, term()}.
read(#reader{file = File, rest = Rest} = Reader, Add, Acc) ->
    case file:read(File, ?READ_BYTES) of
        {ok, Bytes} ->
            {Lines, NewRest} = split(<<Rest/binary, Bytes/binary>>),
            case byte_size(NewRest) =< ?LINE_BYTES_MAX of
                true -> lines(Lines, Reader#reader{rest = NewRest}, Add, Acc);
                false -> too_long(Lines, NewRest, Reader)
            end;
        eof when Rest =:= <<>> ->
            {ok, Acc};
        eof ->
            lines([Rest], Reader#reader{rest = <<>>}, Add, Acc);
        {error, _} = Error ->
            Error
    end.

-spec split(binary()) -> {[binary()], binary()}.
split(Bytes) ->
    [Rest | Lines] = lists:reverse(binary:split(Bytes, <<"\n">>, [global])),
    {lists:reverse(Lines), Rest}.

-spec too_long([binary()], binary(), #reader{}) -> {error, {bad_line, pos_integer(), binary()}}.
too_long(Lines, Rest, #reader{line = Line}) ->
    bad_line(Line + length(Lines), Rest).

-spec lines([binary()], #reader{}, add(Acc), Acc) -> {ok, Acc} | {error, term()}.
lines([], Reader, Add, Acc) ->
    read(Reader, Add, Acc);
lines(Lines, #reader{line = Line, rows = Rows} = Reader, Add, Acc) ->
    case batch(Lines, Line, Rows, []) of
        {ok, Batch, Others, NextLine} ->
            case Add(Batch, Acc) of
                {ok, NewAcc} -> lines(Others, Reader#reader{line = NextLine}, Add, NewAcc);
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

-spec batch([binary()], pos_integer(), non_neg_integer(), batch()) ->
    {ok, batch(), [binary()], pos_integer()} | {error, {bad_line, pos_integer(), binary()}}.
batch(Lines, Line, Rows, Batch) when Lines =:= []; Rows =:= 0 ->
    {ok, lists:reverse(Batch), Lines, Line};
batch([Text | Lines], Line, Rows, Batch) ->
    case fields(Text) of
        [Subscriber, Subject] when Subscriber =/= <<>>, Subject =/= <<>> ->
            Subscription = {id(Subscriber), id(Subject)},
            batch(Lines, Line + 1, Rows - 1, [Subscription | Batch]);
        [<<>>] ->
            batch(Lines, Line + 1, Rows, Batch);
        _ ->
            bad_line(Line, Text)
    end.

-spec fields(binary()) -> [binary()].
fields(Text) ->
    binary:split(without_cr(Text), [<<" ">>, <<"\t">>], [global]).

-spec without_cr(binary()) -> binary().
without_cr(Text) ->
    Size = byte_size(Text) - 1,
    case Text of
        <<Line:Size/binary, "\r">> -> Line;
        _ -> Text
    end.

%% A piece of the block that was read would keep the whole block alive.
-spec id(binary()) -> integer() | binary().
id(Text) ->
    case lariat_wire:id_from_text(Text) of
        Integer when is_integer(Integer) -> Integer;
        Binary -> binary:copy(Binary)
    end.

-spec bad_line(pos_integer(), binary()) -> {error, {bad_line, pos_integer(), binary()}}.
bad_line(Line, Text) ->
    %% Enough to find it, also where it is not text at all.
    {error, {bad_line, Line, binary:copy(binary:part(Text, 0, min(80, byte_size(Text))))}}.
