%%% What a handler answered, as an edge wants it.
%%%
%%% Pure checks: nothing is sent, nothing is logged. The edge checks again, because other Erlang
%%% code may speak to it; here a mistake is found next to the module that made it.
-module(lariat_answer).

-export([init/2, batch/1, in/1]).

-type kind() :: stream | websocket | poll | request.

%% The same bounds as src/edge/ask/check.rs, which says why.
-define(FIELDS_MAX, 128).
-define(FIELD_BYTES_MAX, 16 * 1024).
-define(REASON_BYTES_MAX, 4 * 1024).
-define(HEARTBEAT_MS_MIN, 1000).
-define(HEARTBEAT_MS_MAX, 86400000).

%% @doc The answer to a request of this kind, or what is wrong with it.
-spec init(kind(), term()) -> {ok, lariat_wire:answer()} | {error, Why :: term()}.
init(request, {accept, _, _}) ->
    {error, nothing_to_hold};
init(_, {accept, Id, Options}) when not is_list(Id), is_map(Options) ->
    checked(fun() -> {accept, Id, maps:map(fun option/2, Options)} end);
init(_, {reply, Status, Headers, Body}) when is_integer(Status), Status >= 200, Status =< 599 ->
    checked(fun() -> {reply, Status, headers(Headers), payload(Body)} end);
init(_, {reject, Status, Reason}) when is_integer(Status), Status >= 400, Status =< 599 ->
    checked(fun() -> {reject, Status, reason(Reason)} end);
init(_, _) ->
    {error, not_an_answer}.

%% @doc The answer to a batch.
-spec batch(term()) -> {ok, lariat_wire:answer()} | {error, Why :: term()}.
batch(ok) -> {ok, taken};
batch({error, _}) -> {ok, {reject, 503, <<"not taken, try again later">>}};
batch(_) -> {error, not_an_answer}.

%% @doc What is to be sent to a connection after it said something.
-spec in(term()) -> {ok, nothing | {say, term()}} | {error, Why :: term()}.
in(ok) -> {ok, nothing};
in({close, Reason}) -> {ok, {say, {close, Reason}}};
in({reply, {Form, _} = Message}) when Form =:= text; Form =:= binary ->
    checked(fun() -> {say, payload(fun lariat_wire:payload/1, Message)} end);
in({reply, Event}) when is_tuple(Event) -> {ok, {say, Event}};
in({reply, Message}) -> checked(fun() -> {say, payload(Message)} end);
in(_) -> {error, not_an_answer}.

-spec checked(fun(() -> Answer)) -> {ok, Answer} | {error, Why :: term()}.
checked(Check) ->
    try
        {ok, Check()}
    catch
        error:{bad, Why} -> {error, Why}
    end.

-spec option(term(), term()) -> term().
option(headers, Headers) -> headers(Headers);
option(heartbeat, off) -> off;
option(heartbeat, Ms) when
    is_integer(Ms), Ms >= ?HEARTBEAT_MS_MIN, Ms =< ?HEARTBEAT_MS_MAX
->
    Ms;
option(when_full, close) -> close;
option(when_full, drop_oldest) -> drop_oldest;
option(when_full, drop_newest) -> drop_newest;
option(when_full, keep_latest) -> keep_latest;
option(Key, Value) -> error({bad, {option, Key, Value}}).

-spec headers(term()) -> [{binary(), binary()}].
headers(Headers) when is_map(Headers) -> headers(maps:to_list(Headers));
headers(Headers) when is_list(Headers), length(Headers) =< ?FIELDS_MAX ->
    Fields = [header(Header) || Header <- Headers],
    iolist_size([[Name, Value] || {Name, Value} <- Fields]) =< ?FIELD_BYTES_MAX orelse
        error({bad, too_many_headers}),
    Fields;
headers(Headers) when is_list(Headers) ->
    error({bad, too_many_headers});
headers(Headers) -> error({bad, {headers, Headers}}).

-spec header(term()) -> {binary(), binary()}.
header({Name, Value} = Header) ->
    Checked = {text(Name, Header), text(Value, Header)},
    is_field(Checked) orelse error({bad, {header, Header}}),
    Checked;
header(Header) ->
    error({bad, {header, Header}}).

-spec text(term(), term()) -> binary().
text(Text, Header) ->
    try
        iolist_to_binary(Text)
    catch
        error:badarg -> error({bad, {header, Header}})
    end.

%% A line end in a field would let whoever gave its text write other fields (RFC 9110, 5.5). Fields
%% that say how the answer is framed are well here; the edge leaves them out, it writes its own.
-spec is_field({binary(), binary()}) -> boolean().
is_field({Name, Value}) ->
    is_token(Name) andalso
        lists:all(
            fun(Char) -> Char =:= $\t orelse (Char >= $\s andalso Char =/= 16#7f) end,
            binary_to_list(Value)
        ).

%% RFC 9110, 5.6.2.
-spec is_token(binary()) -> boolean().
is_token(Name) ->
    Name =/= <<>> andalso
        lists:all(
            fun(Char) ->
                (Char >= $a andalso Char =< $z) orelse (Char >= $A andalso Char =< $Z) orelse
                    (Char >= $0 andalso Char =< $9) orelse lists:member(Char, "!#$%&'*+-.^_`|~")
            end,
            binary_to_list(Name)
        ).

-spec reason(term()) -> binary().
reason(Reason) ->
    Checked = payload(Reason),
    byte_size(Checked) =< ?REASON_BYTES_MAX orelse error({bad, reason_too_long}),
    Checked.

-spec payload(term()) -> binary().
payload(Body) ->
    payload(fun lariat_wire:bytes/1, Body).

-spec payload(fun((term()) -> {ok, Payload} | {error, too_large}), term()) -> Payload.
payload(Check, Message) ->
    try Check(Message) of
        {ok, Payload} -> Payload;
        {error, too_large} -> error({bad, too_large})
    catch
        error:{bad_message, _} -> error({bad, no_iodata})
    end.
