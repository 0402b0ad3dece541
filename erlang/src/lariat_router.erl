%%% Routes a message: finds the receivers, groups them by edge, and hands each edge one term.
%%%
%%% Runs in the caller's process from beginning to end. There is no router process to wait for;
%%% who is where stands in `lariat_picture'. Nothing is queued and nothing is tried again: what
%%% an edge does not take is counted and told to the caller.
%%%
%%% A receiver is a held connection or a process that logged in. A process is sent exactly what
%%% a connection would be sent (`lariat_wire:to_process/2'), so `login(Id, Conn)' and
%%% `login(Id, self())' are the same thing here: both get the plain message, not wrapped. A connection
%%% may stand wherever an id may, and is then the only receiver.
%%%
%%% Most sends are to one id that is on one edge, or nowhere. They take a shorter way, which decides
%%% nothing: it asks the same functions about the same id, and makes no plan, because a plan of one
%%% edge says nothing more (`hand_over/3'; lariat_router_ways_test holds the two together).
-module(lariat_router).

%% Messages.
-export([send/3, publish/4, call/3, close/3]).
%% Who is where.
-export([login/2, logout/1, connections/0, connections/1, count/0, picture/1]).

-export_type([reason/0, outcome/0, failure/0]).

-type failure() :: busy | noconnection | badarg | timeout | term().
%% `busy': the link is full or the edge's credit used up, send again later. `noconnection': the
%% edge is not connected. `badarg': an edge in this VM understands no such ids; others would drop it.
%% What only `call' and `close' have: `timeout', and what the edge itself answers, such as
%% `overloaded' or `stopping'.

-type reason() ::
    too_large
    | failure()
    | {partial, [{lariat_picture:edge() | lariat_wire:conn(), failure()}]}.
%% `{partial, Failures}': some took it and these did not. Any other failure: nobody took it
%% (`busy' when any was busy). `noconnection' also when no receiver is known while the picture
%% of an edge is missing, so that there may be one.

-type outcome() :: {ok, Receivers :: non_neg_integer()} | {error, reason()}.

-record(plan, {
    %% The ids for each edge, last first, each once for each time it was asked for.
    edges = #{} :: #{
        lariat_picture:edge() => {[lariat_wire:id(), ...], Receivers :: pos_integer()}
    },
    %% Connections and processes that are sent something by themselves.
    single = [] :: [lariat_wire:conn()]
}).

%% @doc Delivers to each of the ids; an id that is there twice receives twice.
-spec send(lariat_wire:ids(), lariat_wire:message(), lariat_wire:options()) -> outcome().
send(Ids, Msg, Options) ->
    deliver(lariat_wire:ids(Ids), Msg, lariat_wire:options(Options)).

%% @doc Delivers to `Subject' and to its subscribers, to each id once.
-spec publish(
    lariat_wire:id(), [lariat_wire:id()], lariat_wire:message(), lariat_wire:options()
) -> outcome().
publish(Subject, Subscribers, Msg, Options) ->
    Others = [Subscriber || Subscriber <- Subscribers, Subscriber =/= Subject],
    deliver([lariat_wire:id(Subject) | Others], Msg, lariat_wire:options(Options)).

%% @doc As `send/3', but the edges answer how many connections took the message.
-spec call(lariat_wire:ids(), lariat_wire:message(), timeout()) -> outcome().
call(Ids, Msg, TimeoutMs) ->
    case lariat_wire:payload(Msg) of
        {ok, Payload} ->
            Command = fun(EdgeIds) -> {send, EdgeIds, Payload} end,
            ask(plan(lariat_wire:ids(Ids)), Command, Payload, TimeoutMs);
        {error, too_large} = Error ->
            Error
    end.

%% @doc Closes the connections of the ids. A process that logged in is sent `{close, Reason}',
%% and so is a connection that is meant alone.
-spec close(lariat_wire:ids(), lariat_wire:reason(), timeout()) -> outcome().
close(Ids, Reason, TimeoutMs) ->
    Command = fun(EdgeIds) -> {close, EdgeIds, Reason} end,
    ask(plan(lariat_wire:ids(Ids)), Command, {close, Reason}, TimeoutMs).

%% @doc A process receives what is sent to the id: see `lariat_logins:login/2'.
-spec login(lariat_wire:id(), lariat_wire:conn()) -> ok | {error, logins_limit}.
login(Id, Conn) ->
    (is_pid(Conn) orelse lariat_edge:is_conn(Conn)) orelse error(badarg),
    lariat_logins:login(lariat_wire:id(Id), Conn).

%% @doc A process receives nothing more.
-spec logout(lariat_wire:conn()) -> ok.
logout(Conn) ->
    lariat_logins:logout(Conn).

%% @doc Every receiver there is, by id.
-spec connections() -> [{lariat_wire:id(), lariat_wire:conn()}].
connections() ->
    [{Id, Conn} || {Id, _, Conn} <- lariat_picture:all()].

%% @doc The receivers of an id.
-spec connections(lariat_wire:id()) -> [lariat_wire:conn()].
connections(Id) ->
    [Conn || {_, Conn} <- lariat_picture:receivers(Id)].

%% @doc Number of receivers.
-spec count() -> non_neg_integer().
count() ->
    lariat_picture:count().

%% @doc Exactly what an edge holds according to us, sorted.
-spec picture(lariat_picture:edge()) -> [{lariat_wire:conn(), lariat_wire:id()}].
picture(Edge) ->
    lariat_picture:picture(Edge).

-spec deliver([lariat_wire:id()], lariat_wire:message(), lariat_wire:edge_options()) -> outcome().
deliver(Ids, Msg, Options) ->
    case lariat_wire:payload(Msg) of
        {ok, Payload} -> settle(hand_over(Ids, Payload, Options));
        {error, too_large} = Error -> Error
    end.

-spec hand_over([lariat_wire:id()], lariat_wire:payload(), lariat_wire:edge_options()) ->
    [result()].
hand_over([Id] = Ids, Payload, Options) ->
    case addresses(Id) of
        [] ->
            [];
        [{Edge, Way, Receivers}] ->
            [{Edge, Receivers, lariat_edge:send(Edge, Way, Ids, Payload, Options)}];
        _ ->
            carry_out(plan(Ids), Payload, Options)
    end;
hand_over(Ids, Payload, Options) ->
    carry_out(plan(Ids), Payload, Options).

-spec carry_out(#plan{}, lariat_wire:payload(), lariat_wire:edge_options()) -> [result()].
carry_out(#plan{edges = Edges, single = Single}, Payload, Options) ->
    ToEdges = maps:fold(
        fun(Edge, {Ids, Receivers}, Results) ->
            %% As it is now: finding many ids takes time.
            Way = lariat_picture:way(Edge),
            Result = lariat_edge:send(Edge, Way, lists:reverse(Ids), Payload, Options),
            [{Edge, Receivers, Result} | Results]
        end,
        [],
        Edges
    ),
    ToEdges ++ to_single(Single, lariat_wire:to_process(Payload, Options)).

-spec ask(#plan{}, fun((lariat_wire:ids()) -> lariat_wire:command()), term(), timeout()) ->
    outcome().
ask(#plan{edges = Edges, single = Single}, Command, ToProcess, TimeoutMs) ->
    Commands = [{Edge, Command(lists:reverse(Ids))} || {Edge, {Ids, _}} <- maps:to_list(Edges)],
    Answers = [answered(Answer) || Answer <- lariat_edge:call_all(Commands, TimeoutMs)],
    settle(Answers ++ to_single(Single, ToProcess)).

-type result() :: {lariat_picture:edge() | lariat_wire:conn(), non_neg_integer(), ok | {error, failure()}}.

-spec answered({lariat_picture:edge(), term()}) -> result().
answered({Edge, {ok, #{connections := Connections}}}) -> {Edge, Connections, ok};
answered({Edge, {error, _} = Error}) -> {Edge, 0, Error}.

-spec to_single([lariat_wire:conn()], term()) -> [result()].
to_single(Single, Term) ->
    [{Conn, 1, lariat_edge:signal(Conn, Term, at_once)} || Conn <- lists:reverse(Single)].

-spec plan([lariat_wire:id()]) -> #plan{}.
plan(Ids) ->
    lists:foldl(fun add/2, #plan{}, Ids).

-spec add(lariat_wire:id() | lariat_wire:conn(), #plan{}) -> #plan{}.
add(Id, Plan) ->
    lists:foldl(fun(Address, Before) -> add(Address, Id, Before) end, Plan, addresses(Id)).

-spec add(address(), lariat_wire:id() | lariat_wire:conn(), #plan{}) -> #plan{}.
add(alone, Conn, #plan{single = Single} = Plan) ->
    Plan#plan{single = [Conn | Single]};
add({process, _}, Id, #plan{single = Single} = Plan) ->
    Plan#plan{single = lists:reverse(lariat_picture:conns(process, Id), Single)};
add({Edge, _, More}, Id, #plan{edges = Edges} = Plan) ->
    Entry =
        case Edges of
            #{Edge := {Ids, Receivers}} -> {[Id | Ids], Receivers + More};
            #{} -> {[Id], More}
        end,
    Plan#plan{edges = Edges#{Edge => Entry}}.

-type address() :: lariat_picture:address() | alone.

%% A connection is the only receiver of what stands for it.
-spec addresses(lariat_wire:id() | lariat_wire:conn()) -> [address()].
addresses(Id) ->
    case lariat_edge:is_conn(Id) of
        true -> [alone];
        false -> lariat_picture:addresses(Id)
    end.

%% Counts, and says it in one value: see reason().
-spec settle([result()]) -> outcome().
settle([]) ->
    lariat_counters:add(sends_nobody, 1),
    case lariat_picture:all_up() of
        true -> {ok, 0};
        false -> {error, noconnection}
    end;
settle([{_, Receivers, ok}]) ->
    lariat_counters:add(messages_sent, 1),
    lariat_counters:add(receivers_addressed, Receivers),
    {ok, Receivers};
settle(Results) ->
    Took = [Receivers || {_, Receivers, ok} <- Results],
    Failures = [{Where, Reason} || {Where, _, {error, Reason}} <- Results],
    lariat_counters:add(messages_sent, length(Took)),
    lariat_counters:add(receivers_addressed, lists:sum(Took)),
    _ = [lariat_counters:add(counter_of(Reason), 1) || {_, Reason} <- Failures],
    case {Took, Failures} of
        {_, []} -> {ok, lists:sum(Took)};
        {[], [{_, First} | _]} -> {error, worst(First, Failures)};
        {_, _} -> {error, {partial, Failures}}
    end.

-spec worst(failure(), [{term(), failure()}, ...]) -> failure().
worst(First, Failures) ->
    case lists:keymember(busy, 2, Failures) of
        true -> busy;
        false -> First
    end.

-spec counter_of(failure()) -> lariat_counters:name().
counter_of(busy) -> sends_busy;
counter_of(noconnection) -> sends_noconnection;
counter_of(_) -> sends_failed.
