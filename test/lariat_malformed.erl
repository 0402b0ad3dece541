%%% Requests that nobody should send, out of `test/vectors/requests.txt', and whether an edge answers them
%%% as the table says.
%%%
%%% The tests of the edge read the same table (`test/malformed.rs'), and look closer.
-module(lariat_malformed).

-export([rows/0, offence/2]).

-export_type([row/0]).

-type row() :: {Line :: pos_integer(), held | closed | 100..599, binary()}.

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% @doc All rows, but those whose answer is that of a deadline.
-spec rows() -> [row()].
rows() ->
    File = filename:join([lariat_site:root(), "test", "vectors", "requests.txt"]),
    {ok, Text} = file:read_file(File),
    Lines = lists:enumerate(binary:split(Text, <<"\n">>, [global])),
    [
        {Number, expected(Expected), iolist_to_binary(unescaped(Bytes))}
     || {Number, Line} <- Lines,
        [Expected, Bytes] <- [binary:split(Line, <<" ">>)],
        Expected =/= <<"#">>, Expected =/= <<"408">>
    ].

expected(<<"held">>) -> held;
expected(<<"closed">>) -> closed;
expected(Status) -> binary_to_integer(Status).

unescaped(<<"\\x", Hex:2/binary, Rest/binary>>) ->
    [binary_to_integer(Hex, 16) | unescaped(Rest)];
unescaped(<<"\\{", Rest/binary>>) ->
    [Repeated, Others] = binary:split(Rest, <<"}">>),
    [Times, What] = binary:split(Repeated, <<"*">>),
    [lists:duplicate(binary_to_integer(Times), unescaped(What)) | unescaped(Others)];
unescaped(<<"\\", Escaped, Rest/binary>>) ->
    {Escaped, Byte} = lists:keyfind(Escaped, 1, [{$r, $\r}, {$n, $\n}, {$t, $\t}, {$0, 0}, {$\\, $\\}]),
    [Byte | unescaped(Rest)];
unescaped(<<Byte, Rest/binary>>) ->
    [Byte | unescaped(Rest)];
unescaped(<<>>) ->
    [].

%% @doc Sends it; what is answered, where it is not what the table says.
-spec offence(inet:port_number(), row()) -> none | {row(), binary()}.
offence(Port, {_, Expected, Bytes} = Row) ->
    Socket = lariat_client:connected(Port),
    %% It may be refused before all of it has been sent.
    _ = gen_tcp:send(Socket, Bytes),
    Answer =
        case Expected of
            held -> until_head(Socket, <<>>);
            closed -> ok = shut(Socket), all(Socket, <<>>);
            _ -> all(Socket, <<>>)
        end,
    ok = gen_tcp:close(Socket),
    case {Expected, Answer} of
        {held, <<"HTTP/1.1 200 ", _/binary>>} -> none;
        {closed, <<>>} -> none;
        {Status, <<"HTTP/1.1 ", Said:3/binary, _/binary>>} when is_integer(Status) ->
            case binary_to_integer(Said) of
                Status -> none;
                _ -> {Row, Answer}
            end;
        _ -> {Row, Answer}
    end.

%% The other side may have closed before.
shut(Socket) ->
    case gen_tcp:shutdown(Socket, write) of
        ok -> ok;
        {error, enotconn} -> ok
    end.

until_head(Socket, Read) ->
    case binary:match(Read, <<"\r\n\r\n">>) of
        nomatch ->
            case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
                {ok, More} -> until_head(Socket, <<Read/binary, More/binary>>);
                {error, _} -> Read
            end;
        _ ->
            Read
    end.

all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, More} -> all(Socket, <<Read/binary, More/binary>>);
        {error, timeout} -> error({hangs, Read});
        {error, _} -> Read
    end.
