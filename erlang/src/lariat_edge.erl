%%% An edge: the part that holds connections, wherever it lives.
%%%
%%% The behaviour that every kind of edge implements, and the calls through it. What is said to
%%% an edge is `lariat_wire'; who has connections where is `lariat_picture'; nothing of either
%%% is decided here.
-module(lariat_edge).

-compile({no_auto_import, [demonitor/1]}).

-export([attach/1, configured/0]).
-export([send/5, answer/4, call/3, call_all/2, info/1, stop/1]).
%% For one in this VM.
-export([reload/2, drain/2, drain_all/0]).
%% For one connection.
-export([is_conn/1, signal/3, monitor/1, demonitor/1]).

-export_type([config/0, failure/0, reloaded/0]).

-type config() :: lariat_edge_node:config() | lariat_edge_nif:config().
%% A map with the key `nif' is an edge in this VM, anything else a hidden node.

-type failure() :: busy | noconnection | badarg.
%% `badarg': what no edge understands. Only one in this VM looks before it takes it.

-type reloaded() :: {ok, lariat_nif:reloaded()} | {error, Why :: binary() | term()}.

-type answer() :: ok | {ok, term()} | {error, term()}.

%% The edge's name, when this is a configuration of one; else what is wrong with it.
-callback check(term()) -> {ok, lariat_picture:edge(), Config :: map()} | {error, Why :: term()}.
%% What runs for an edge, in order: the link, whose specification is given, and what else it takes.
-callback children(Config :: map(), supervisor:child_spec()) -> [supervisor:child_spec(), ...].
%% Can it be spoken to at this moment? Must return at once.
-callback connected(lariat_picture:edge()) -> boolean().
%% Get there. Runs in a process of its own that may be killed, so it may take its time.
-callback connect(lariat_picture:edge()) -> ok | {error, Why :: term()}.
%% From now on the calling process hears when the edge comes and goes, in messages that `change/2'
%% knows.
-callback subscribe(lariat_picture:edge()) -> ok.
%% What a message says of this edge; `none' is for one that is of another.
-callback change(lariat_picture:edge(), Message :: term()) -> up | down | none | unknown.
%% The owner has dealt with so many events, and may be told of others.
-callback heard(lariat_picture:edge(), Events :: pos_integer()) -> ok.
%% Hand over a message, on credit or not. Must return at once, also when the link is full or gone.
-callback send(lariat_picture:edge(), [lariat_wire:id(), ...], lariat_wire:payload(),
    lariat_wire:edge_options(), credited | plain) -> ok | {error, failure()}.
%% Answer a request of the edge. `at_once' must return so; a caller with patience may be suspended
%% while the link is full.
-callback answer(lariat_picture:edge(), lariat_wire:ask_ref(), lariat_wire:answer(),
    at_once | patiently) -> ok | {error, failure()}.
%% Ask and wait. Runs in a process of its own that is killed at the deadline, so it may be
%% suspended by the VM without hanging anybody.
-callback call(lariat_picture:edge(), lariat_wire:command()) -> answer().
%% How is this edge, as far as it can be told without asking it?
-callback info(lariat_picture:edge()) -> map().
%% Let go of the edge, and end what was started for it.
-callback stop(lariat_picture:edge()) -> ok.

%% The rest only where connections are no pids, for which the VM does all that itself.
%%
%% Say to one connection what may be said to a conn pid. `at_once' and `patiently' as above. What is
%% meant for one that is gone reaches nobody, and is `ok'.
-callback signal(lariat_picture:edge(), lariat_wire:conn(), term(), at_once | patiently) ->
    ok | {error, failure()}.
%% The calling process gets `{'DOWN', Ref, process, Conn, Reason}' once. Returns at once.
-callback monitor(lariat_picture:edge(), lariat_wire:conn()) -> reference().
%% The edge is told that a monitor is not wanted any more; it may be of another edge.
-callback demonitor(lariat_picture:edge(), reference()) -> ok.

%% And only where the edge is ours: who runs a node tells it by signals.
%%
%% Take what may change at run time from a config, `same' for the one that it has; no connection notices.
-callback reload(lariat_picture:edge(), Config :: term()) -> reloaded().
%% Have its connections leave, then stop it.
-callback drain(lariat_picture:edge(), lariat_nif:drain_options()) -> ok | {error, badarg}.

-optional_callbacks([signal/4, monitor/2, demonitor/2, reload/2, drain/2]).

%% Ids in one term. One term is one frame, a frame is at most 64 MiB, and half of that is left
%% to the message: so up to 335 bytes for each id.
-define(IDS_PER_TERM_MAX, 100000).

%% For `info', which an operator types: long enough for a loaded edge, short enough to wait for.
-define(INFO_TIMEOUT_MS, 2000).

%% @doc Attaches an edge, from now on and again whenever it comes back.
-spec attach(config()) ->
    ok | {error, already_attached | {bad_edge, Why :: term()} | {not_started, Why :: binary()}}.
attach(Config) ->
    case check(Config) of
        {ok, Module, Edge, Checked} -> lariat_edge_sup:attach(Module, Edge, Checked);
        {error, Why} -> {error, {bad_edge, Why}}
    end.

%% @doc The edges of the application's environment: `edges', a list, and `edge', one of them.
%% Crashes on what is not an edge, so that a mistake stops the start and not the traffic.
-spec configured() -> [{module(), lariat_picture:edge(), Checked :: map()}].
configured() ->
    One = application:get_env(lariat, edge, []),
    Configs = one_or_many(One) ++ application:get_env(lariat, edges, []),
    [
        case check(Config) of
            {ok, Module, Edge, Checked} -> {Module, Edge, Checked};
            {error, Why} -> error({bad_edge, Why})
        end
     || Config <- Configs
    ].

-spec one_or_many(term()) -> [term()].
one_or_many(Configs) when is_list(Configs) -> Configs;
one_or_many(Config) -> [Config].

-spec check(term()) -> {ok, module(), lariat_picture:edge(), map()} | {error, term()}.
check(Config) ->
    Module =
        case Config of
            #{nif := _} -> lariat_edge_nif;
            _ -> lariat_edge_node
        end,
    case Module:check(Config) of
        {ok, Edge, Checked} -> {ok, Module, Edge, Checked};
        {error, _} = Error -> Error
    end.

%% @doc Hands a message to an edge. `ok' says that the link took it, not that it arrived. `busy'
%% says that the link is full, or that too much of what was sent before is still on its way. The way
%% is what the picture says of the edge: a sender that has looked there has it.
-spec send(
    lariat_picture:edge(),
    lariat_picture:way(),
    [lariat_wire:id(), ...],
    lariat_wire:payload(),
    lariat_wire:edge_options()
) -> ok | {error, failure()}.
send(_, none, _, _, _) ->
    {error, noconnection};
send(Edge, {Module, Credit}, Ids, Payload, Options) ->
    Send = fun(Chunk, How) -> Module:send(Edge, Chunk, Payload, Options, How) end,
    case Credit of
        none -> element(1, send_all(chunks(Ids), plain, Send));
        _ -> send_on(Credit, chunks(Ids), Payload, Send)
    end.

-type send() :: fun(([lariat_wire:id(), ...], credited | plain) -> ok | {error, failure()}).

-spec send_on(lariat_credit:t(), [[lariat_wire:id(), ...], ...], lariat_wire:payload(), send()) ->
    ok | {error, failure()}.
send_on(Credit, Terms, Payload, Send) ->
    case lariat_credit:take(Credit, cost(Terms, Payload)) of
        busy ->
            lariat_counters:add(sends_out_of_credit, 1),
            {error, busy};
        How ->
            {Result, Unsent} = send_all(Terms, How, Send),
            ok = settle(How, Credit, cost(Unsent, Payload)),
            Result
    end.

-spec cost([[lariat_wire:id(), ...]], lariat_wire:payload()) -> non_neg_integer().
cost(Terms, Payload) ->
    lists:sum([lariat_wire:cost(Chunk, Payload) || Chunk <- Terms]).

-spec chunks([lariat_wire:id(), ...]) -> [[lariat_wire:id(), ...], ...].
chunks([_] = Ids) ->
    [Ids];
chunks(Ids) when length(Ids) =< ?IDS_PER_TERM_MAX ->
    [Ids];
chunks(Ids) ->
    {Chunk, Others} = lists:split(?IDS_PER_TERM_MAX, Ids),
    [Chunk | chunks(Others)].

%% Also answers what was not sent.
-spec send_all([Chunk], credited | plain, send()) -> {ok | {error, failure()}, [Chunk]} when
    Chunk :: [lariat_wire:id(), ...].
send_all([Chunk | Others] = Chunks, How, Send) ->
    case Send(Chunk, How) of
        ok when Others =:= [] -> {ok, []};
        ok -> send_all(Others, How, Send);
        {error, _} = Error -> {Error, Chunks}
    end.

-spec settle(credited | plain, lariat_credit:t(), Unsent :: non_neg_integer()) -> ok.
settle(plain, _, _) -> ok;
settle(credited, Credit, 0) -> lariat_credit:sent(Credit);
settle(credited, Credit, Unsent) -> lariat_credit:give_back(Credit, Unsent).

%% @doc Answers a request of an edge. An answer that cannot be sent is counted: whoever asked is
%% told by the edge, in time.
-spec answer(
    lariat_picture:edge(), lariat_wire:ask_ref(), lariat_wire:answer(), at_once | patiently
) -> ok.
answer(Edge, Ref, Answer, How) ->
    Answered =
        case lariat_picture:edge(Edge) of
            {ok, #{module := Module}} -> Module:answer(Edge, Ref, Answer, How);
            error -> {error, noconnection}
        end,
    case Answered of
        ok -> ok;
        {error, _} -> lariat_counters:add(answers_lost, 1)
    end.

%% @doc Is this term a connection, and no id? A pid is when it is of an attached edge.
-spec is_conn(term()) -> boolean().
is_conn({lariat_conn, Edge, Slot, Serial}) ->
    is_atom(Edge) andalso is_integer(Slot) andalso is_integer(Serial);
is_conn(Pid) when is_pid(Pid), node(Pid) =/= node() -> lariat_picture:edge(node(Pid)) =/= error;
is_conn(_) ->
    false.

%% @doc Says something to one connection, or to a process in its place. `ok' says that the way to it
%% took it; one that is gone hears nothing.
-spec signal(lariat_wire:conn(), term(), at_once | patiently) -> ok | {error, failure()}.
signal({lariat_conn, Edge, _, _} = Conn, Term, How) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} -> Module:signal(Edge, Conn, Term, How);
        error -> {error, noconnection}
    end;
signal(Pid, Term, How) ->
    case erlang:send(Pid, Term, [noconnect | [nosuspend || How =:= at_once]]) of
        ok -> ok;
        nosuspend -> {error, busy};
        noconnect -> {error, noconnection}
    end.

%% @doc The calling process gets `{'DOWN', Ref, process, Conn, Reason}' when the connection, or the
%% process in its place, is gone.
-spec monitor(lariat_wire:conn()) -> reference().
monitor({lariat_conn, Edge, _, _} = Conn) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} ->
            Module:monitor(Edge, Conn);
        error ->
            Ref = make_ref(),
            self() ! {'DOWN', Ref, process, Conn, noconnection},
            Ref
    end;
monitor(Pid) ->
    erlang:monitor(process, Pid).

%% @doc No longer; what has come of it is taken out of the mailbox.
-spec demonitor(reference()) -> true.
demonitor(Ref) ->
    %% A reference does not say of which edge it is, and there are few.
    _ = [
        Module:demonitor(Edge, Ref)
     || {Edge, Module} <- lariat_picture:edges(), erlang:function_exported(Module, demonitor, 2)
    ],
    erlang:demonitor(Ref, [flush]).

%% @doc Asks an edge and waits for its answer, at most `TimeoutMs'. After `{error, timeout}'
%% the edge may or may not have done what was asked.
-spec call(lariat_picture:edge(), lariat_wire:command(), timeout()) -> answer().
call(Edge, Command, TimeoutMs) ->
    [{Edge, Answer}] = call_all([{Edge, Command}], TimeoutMs),
    Answer.

%% @doc Asks several edges at once; one deadline for all.
-spec call_all([{lariat_picture:edge(), lariat_wire:command()}], timeout()) ->
    [{lariat_picture:edge(), answer()}].
call_all(Commands, TimeoutMs) ->
    Timer = deadline(TimeoutMs),
    Callers = [{Edge, spawn_caller(Edge, Command)} || {Edge, Command} <- Commands],
    [{Edge, await(Caller, Timer)} || {Edge, Caller} <- Callers].

%% @doc What the edge says of itself. At most two seconds.
-spec info(lariat_picture:edge()) -> {ok, map()} | {error, term()}.
info(Edge) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} ->
            case call(Edge, info, ?INFO_TIMEOUT_MS) of
                {ok, Said} when is_map(Said) -> {ok, maps:merge(Module:info(Edge), Said)};
                {error, _} = Error -> Error
            end;
        error ->
            {error, no_such_edge}
    end.

%% @doc Lets go of an edge: its connections leave the picture, but the edge keeps holding them
%% unless its program is ours, or it is in this VM: then it is stopped.
-spec stop(lariat_picture:edge()) -> ok | {error, no_such_edge}.
stop(Edge) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} -> Module:stop(Edge);
        error -> {error, no_such_edge}
    end.

%% @doc Gives an edge in this VM another config, or has the `same' one read again.
-spec reload(lariat_picture:edge(), same | map() | file:name_all()) ->
    reloaded() | {error, no_such_edge | not_in_this_vm}.
reload(Edge, Config) ->
    in_this_vm(Edge, reload, [Edge, Config]).

%% @doc Has the connections of an edge in this VM leave, and lets go of it.
-spec drain(lariat_picture:edge(), lariat_nif:drain_options()) ->
    ok | {error, badarg | no_such_edge | not_in_this_vm}.
drain(Edge, Options) ->
    in_this_vm(Edge, drain, [Edge, Options]).

%% @doc The same with all of them, at the same time; each in the time that its config has for it.
-spec drain_all() -> ok.
drain_all() ->
    Edges =
        case whereis(lariat_edge_sup) of
            %% The tree has ended by itself, and the edges with it.
            undefined -> [];
            _ -> lariat_picture:edges()
        end,
    Drains = [
        spawn_monitor(fun() -> Module:drain(Edge, #{}) end)
     || {Edge, Module} <- Edges, erlang:function_exported(Module, drain, 2)
    ],
    lists:foreach(
        fun({Pid, Monitor}) -> receive {'DOWN', Monitor, process, Pid, _} -> ok end end,
        Drains
    ).

-spec in_this_vm(lariat_picture:edge(), atom(), [term()]) -> term().
in_this_vm(Edge, Function, Args) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} ->
            case erlang:function_exported(Module, Function, length(Args)) of
                true -> apply(Module, Function, Args);
                false -> {error, not_in_this_vm}
            end;
        error ->
            {error, no_such_edge}
    end.

%% A process per call, because even `erlang:monitor' suspends its caller while a link is full
%% (measured: 2.5 s on OTP 25), and a suspended process cannot time out. It can be killed.
-spec spawn_caller(lariat_picture:edge(), lariat_wire:command()) -> {pid(), reference()}.
spawn_caller(Edge, Command) ->
    spawn_monitor(fun() -> exit({answer, call_module(Edge, Command)}) end).

-spec call_module(lariat_picture:edge(), lariat_wire:command()) -> answer().
call_module(Edge, Command) ->
    case lariat_picture:edge(Edge) of
        {ok, #{module := Module}} -> Module:call(Edge, Command);
        error -> {error, no_such_edge}
    end.

-spec await({pid(), reference()}, infinity | integer()) -> answer().
await({Pid, Monitor}, Deadline) ->
    receive
        {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer;
        {'DOWN', Monitor, process, Pid, Crash} -> {error, {crashed, Crash}}
    after remaining(Deadline) ->
        exit(Pid, kill),
        true = erlang:demonitor(Monitor, [flush]),
        {error, timeout}
    end.

-spec deadline(timeout()) -> infinity | integer().
deadline(infinity) -> infinity;
deadline(TimeoutMs) -> erlang:monotonic_time(millisecond) + TimeoutMs.

-spec remaining(infinity | integer()) -> timeout().
remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
