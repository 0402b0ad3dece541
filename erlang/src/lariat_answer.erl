%%% What a handler answered, as an edge wants it.
%%%
%%% Pure checks: nothing is sent, nothing is logged. The edge checks again, because other Erlang
%%% code may speak to it; here a mistake is found next to the module that made it.
-module(lariat_answer).

-export([init/2, batch/1, in/1]).

-type kind() :: stream | websocket | poll | request.

%% Fields that describe the connection, not the answer (RFC 9110, 7.6.1, and RFC 9112, 6): the
%% edge writes them.
-define(EDGES_OWN, [
    <<"connection">>,
    <<"content-length">>,
    <<"keep-alive">>,
    <<"proxy-connection">>,
    <<"te">>,
    <<"trailer">>,
    <<"transfer-encoding">>,
    <<"upgrade">>
]).

%% @doc The answer to a request of this kind, or what is wrong with it.
-spec init(kind(), term()) -> {ok, lariat_wire:answer()} | {error, Why :: term()}.
init(request, {accept, _, _}) ->
    {error, nothing_to_hold};
init(_, {accept, Id, Options}) when not is_list(Id), is_map(Options) ->
    checked(fun() -> {accept, Id, maps:map(fun option/2, Options)} end);
init(_, {reply, Status, Headers, Body}) when is_integer(Status), Status >= 200, Status =< 599 ->
    checked(fun() -> {reply, Status, headers(Headers), payload(Body)} end);
init(_, {reject, Status, Reason}) when is_integer(Status), Status >= 400, Status =< 599 ->
    checked(fun() -> {reject, Status, payload(Reason)} end);
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
option(heartbeat, Ms) when is_integer(Ms), Ms > 0 -> Ms;
option(when_full, close) -> close;
option(when_full, drop_oldest) -> drop_oldest;
option(when_full, drop_newest) -> drop_newest;
option(when_full, keep_latest) -> keep_latest;
option(Key, Value) -> error({bad, {option, Key, Value}}).

-spec headers(term()) -> [{binary(), binary()}].
headers(Headers) when is_map(Headers) -> headers(maps:to_list(Headers));
headers(Headers) when is_list(Headers) -> [header(Header) || Header <- Headers];
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

%% A line end in a field would let whoever gave its text write other fields (RFC 9110, 5.5).
-spec is_field({binary(), binary()}) -> boolean().
is_field({Name, Value}) ->
    is_token(Name) andalso
        binary:match(Value, [<<"\r">>, <<"\n">>, <<0>>]) =:= nomatch andalso
        not lists:member(string:lowercase(Name), ?EDGES_OWN).

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

-spec payload(term()) -> binary().
payload(Body) ->
    try lariat_wire:payload(Body) of
        {ok, Payload} -> Payload;
        {error, too_large} -> error({bad, too_large})
    catch
        error:{bad_message, _} -> error({bad, no_iodata})
    end.
