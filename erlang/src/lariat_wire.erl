%%% The vocabulary shared with the edges: what may be asked of them, what they tell.
%%%
%%% Types, constructors and checks only. No processes, no tables, and no sending: `lariat_edge'
%%% and what implements it do that. The Rust side of the same vocabulary is `src/wire'.
%%%
%%% A list is always a list of ids, so an id is any term but a list. Two ids are the same when
%%% `=:=' holds.
-module(lariat_wire).

%% Checks: they crash on what a correct program never passes.
-export([ids/1, id/1, payload/1, bytes/1, options/1]).
%% Constructors.
-export([to_edge/3, to_process/2, id_from_text/1]).
%% What a send takes of the credit at an edge.
-export([cost/2]).

-export_type([
    id/0,
    ids/0,
    message/0,
    form/0,
    payload/0,
    reason/0,
    options/0,
    edge_options/0,
    conn/0,
    epoch/0,
    command/0,
    event/0,
    news/0,
    ask_ref/0,
    answer/0
]).

-type id() :: term().
%% The address of a user or device: an integer, a binary, or any term that is not a list.

-type ids() :: id() | conn() | [id() | conn()].

-type message() :: iodata() | {form(), iodata()}.

-type form() :: text | binary.
%% What a message is to a WebSocket; other transports do not tell them apart. `text' says no more
%% than iodata alone: what is not UTF-8 goes as binary all the same.

-type payload() :: binary() | {form(), binary()}.
%% A message as it travels: flattened once, so that every edge and process shares the bytes.

-type reason() :: {Code :: 1000 | 4000..4999, Text :: iodata()} | term().
%% Why a connection is closed. A WebSocket is told the code and the text (RFC 6455, 7.4), when that
%% is UTF-8 of at most 123 bytes; of any other reason it hears 1000.

-type options() :: #{event => iodata(), id => iodata()}.
%% The fields `event' and `id' of a server-sent event (WHATWG HTML, 9.2.6). Connections that
%% are not event streams get the message alone.

-type edge_options() :: #{event => binary(), id => binary()}.

-type conn() ::
    pid()
    | {lariat_conn, Edge :: atom(), Slot :: 0..16#FFFFFFFF, Serial :: 0..16#FFFFFFFF}.
%% One held connection: the pid that a hidden node mints for it, or where an edge is no node and can
%% mint none, the same two numbers with the edge's name. Either is to be passed on, not looked into.

-type epoch() :: non_neg_integer().
%% Grows each time an edge starts or an owner attaches: what is older is stale.

-type command() ::
    {send, ids(), payload()}
    | {send, ids(), payload(), edge_options()}
    | {close, ids(), reason()}
    | {close_all, PerSecond :: pos_integer()}
    | {connections, id()}
    | info
    | {answer, ask_ref(), answer()}
    | {attach, pid(), map()}
    | detach.

-type event() ::
    {snapshot, 'begin' | 'end'}
    | {opened, conn(), id(), Info :: map()}
    | {closed, conn(), id(), Reason :: term()}
    | {congested, conn(), id(), Bytes :: non_neg_integer()}
    | {drained, conn(), id()}
    | {overloaded, Count :: non_neg_integer(), Bytes :: non_neg_integer()}
    | {ack, Bytes :: non_neg_integer()}
    | {request, ask_ref(), Request :: map()}
    | {batch, ask_ref(), Handler :: binary(), Bodies :: [binary(), ...]}
    | {received, conn(), id(), {text | binary, binary()}}
    | NotYetKnown :: tuple().

-type news() :: {lariat, node(), epoch(), [event()]}.
%% What an edge sends its owner.

-type ask_ref() :: non_neg_integer().
%% Names a request for as long as the edge waits for its answer.

-type answer() ::
    {accept, id(), Options :: map()}
    | {reply, Status :: 200..599, [{binary(), binary()}], Body :: binary()}
    | {reject, Status :: 400..599, Reason :: binary()}
    | taken.
%% What an edge is told about a request; `taken' is for a batch.

%% 32 MiB: half of the frame that an edge accepts (64 MiB), which leaves room for the ids. A
%% larger frame would cost the link, and with it everybody else's messages.
-define(MESSAGE_BYTES_MAX, 32 * 1024 * 1024).

%% About the size of a message without payload, and of an id, in a queue of the edge. The same
%% numbers as src/wire/ids.rs; test/vectors/credit.txt holds both to it.
-define(MESSAGE_COST, 64).
-define(ID_COST, 16).

%% The same bound as src/wire/id.rs: what fits 64 signed bits is an integer there.
-define(INTEGER_ID_MAX, 16#7FFFFFFFFFFFFFFF).

%% @doc The ids in a list.
-spec ids(ids()) -> [id()].
ids(Ids) when is_list(Ids) ->
    _ = [id(Id) || Id <- Ids],
    Ids;
ids(Id) ->
    [Id].

%% @doc The id, unless it is a list, which nobody could ever address.
-spec id(id()) -> id().
id(Id) when is_list(Id) -> error({bad_id, Id});
id(Id) -> Id.

%% @doc The message with its bytes as one binary. Crashes with `{bad_message, Msg}' when it is not
%% one: nobody looks at the return value of a send, so a mistake must be loud.
-spec payload(message()) -> {ok, payload()} | {error, too_large}.
payload({Form, Msg}) when Form =:= text; Form =:= binary ->
    case bytes(Msg) of
        {ok, Bytes} -> {ok, {Form, Bytes}};
        {error, too_large} = Error -> Error
    end;
payload(Msg) ->
    bytes(Msg).

%% @doc The same for iodata alone.
-spec bytes(iodata()) -> {ok, binary()} | {error, too_large}.
bytes(Msg) ->
    Bytes =
        try
            iolist_to_binary(Msg)
        catch
            error:badarg -> error({bad_message, Msg})
        end,
    case byte_size(Bytes) =< ?MESSAGE_BYTES_MAX of
        true -> {ok, Bytes};
        false -> {error, too_large}
    end.

%% @doc The options as an edge wants them. Crashes with `{bad_option, {Key, Value}}' on an
%% unknown key, and on a line end in a field, which would let its sender forge other fields.
-spec options(options()) -> edge_options().
options(Options) when map_size(Options) =:= 0 ->
    %% Nearly every send; and map/2 takes its time for nothing, too.
    Options;
options(Options) ->
    maps:map(fun option/2, Options).

-spec option(term(), term()) -> binary().
option(event, Value) -> field(event, Value, [<<"\r">>, <<"\n">>]);
option(id, Value) -> field(id, Value, [<<"\r">>, <<"\n">>, <<0>>]);
option(Key, Value) -> error({bad_option, {Key, Value}}).

-spec field(event | id, term(), [binary()]) -> binary().
field(Key, Value, Forbidden) ->
    try iolist_to_binary(Value) of
        Field ->
            case binary:match(Field, Forbidden) of
                nomatch -> Field;
                _ -> error({bad_option, {Key, Value}})
            end
    catch
        error:badarg -> error({bad_option, {Key, Value}})
    end.

%% @doc The term that asks an edge to deliver, without an answer.
-spec to_edge([id(), ...], payload(), edge_options()) -> term().
to_edge(Ids, Payload, Options) when map_size(Options) =:= 0 ->
    {one_or_many(Ids), Payload};
to_edge(Ids, Payload, Options) ->
    {'$gen_cast', {send, one_or_many(Ids), Payload, Options}}.

%% @doc What a send to these ids takes of the credit at the edge, in bytes. An estimate of what
%% it occupies there, which both sides can make without looking at the ids. A form costs nothing.
-spec cost([id()], payload()) -> pos_integer().
cost(Ids, {_, Payload}) ->
    cost(Ids, Payload);
cost(Ids, Payload) ->
    ?MESSAGE_COST + byte_size(Payload) + ?ID_COST * length(Ids).

%% @doc What a process that logged in is sent: exactly what a connection's pid would be sent,
%% so that the two are the same thing to the router: `{text | binary, Msg}' stays one, because the
%% pid may be a WebSocket's. A server-sent event without a name has
%% the name `message' (WHATWG HTML, 9.2.6).
-spec to_process(payload(), edge_options()) -> term().
to_process(Payload, #{id := EventId} = Options) ->
    {event, maps:get(event, Options, <<"message">>), EventId, Payload};
to_process(Payload, #{event := Event}) ->
    {event, Event, Payload};
to_process(Payload, #{}) ->
    Payload.

%% @doc The id that a text names, by the same rule as a path segment at the edge: digits up to
%% 9,223,372,036,854,775,807 are an integer, anything else is a binary.
-spec id_from_text(binary()) -> integer() | binary().
id_from_text(<<First, _/binary>> = Text) when First >= $0, First =< $9 ->
    %% binary_to_integer alone would not do: its time grows with the square of the length.
    case byte_size(Text) =< 32 andalso is_digits(Text) of
        true ->
            case binary_to_integer(Text) of
                Integer when Integer =< ?INTEGER_ID_MAX -> Integer;
                _ -> Text
            end;
        false ->
            Text
    end;
id_from_text(Text) ->
    Text.

-spec is_digits(binary()) -> boolean().
is_digits(<<Digit, Rest/binary>>) when Digit >= $0, Digit =< $9 -> is_digits(Rest);
is_digits(Rest) -> Rest =:= <<>>.

-spec one_or_many([id(), ...]) -> ids().
one_or_many([Id]) -> Id;
one_or_many(Ids) -> Ids.
