%%% An edge inside this VM: the same shards, run by the NIF library.
%%%
%%% Says things to it from the caller's process: no process of ours is on the way, and nothing waits. It
%%% starts and stops nothing (`lariat_edge_instance') and knows what the library takes, not how
%%% (`lariat_nif'). There is no credit: what an edge has no room for is `busy' at once.
-module(lariat_edge_nif).

-behaviour(lariat_edge).

%% lariat_edge.
-export([check/1, children/2]).
-export([connected/1, connect/1, subscribe/1, change/2, heard/2]).
-export([send/5, answer/4, call/2, info/1, stop/1]).
-export([signal/4, monitor/2, demonitor/2]).
-export([reload/1, reload/2, drain/1, drain/2]).
%% For lariat_monitors.
-export([watch/1, unwatch/1]).
%% For whoever wants to know.
-export([metrics/1, is_ready/1]).

-export_type([config/0]).

-type config() :: #{
    %% What the edge is called.
    nif := atom(),
    %% What is in config/lariat.toml, but for what belongs to a node: that file's name, or its keys
    %% as a map. Nothing is what the file says as it comes.
    config => #{atom() | binary() => term()} | file:name_all()
}.

%% How long somebody with patience pauses when there is no room.
-define(PATIENCE_MS, 2).

%% @doc The edge's name, when that is a configuration; else what is wrong with it.
-spec check(#{nif := term(), _ => _}) -> {ok, atom(), config()} | {error, term()}.
check(#{nif := Name} = Config) ->
    case {maps:keys(maps:without([nif, config], Config)), is_name(Name), Config} of
        {[Key | _], _, _} ->
            {error, {unknown_key, Key, "known are nif and config"}};
        {[], false, _} ->
            {error, {nif, Name, "must be an atom without @, the name of the edge"}};
        {[], true, #{config := Value}} when not is_map(Value), not is_list(Value), not is_binary(Value) ->
            {error, {config, Value, "must be a map, or the name of a file"}};
        {[], true, _} ->
            {ok, Name, Config}
    end.

%% A node's name would make its pids conns of this edge; `process' is the picture's own word.
-spec is_name(term()) -> boolean().
is_name(Name) ->
    is_atom(Name) andalso not lists:member(Name, ['', process, none, undefined]) andalso
        string:find(atom_to_list(Name), "@") =:= nomatch.

%% @doc Who runs it. The edge first: when it cannot be started there is nothing to attach to.
-spec children(config(), supervisor:child_spec()) -> [supervisor:child_spec(), ...].
children(Config, Link) ->
    [lariat_edge_instance:child_spec(Config), Link].

%% @doc Is it running?
-spec connected(lariat_picture:edge()) -> boolean().
connected(Edge) -> lariat_edge_instance:running(Edge) =/= none.

%% @doc Waits until it is.
-spec connect(lariat_picture:edge()) -> ok | {error, Why :: term()}.
connect(Edge) -> lariat_edge_instance:await(Edge).

%% @doc The instance tells the link whose edge it is.
-spec subscribe(lariat_picture:edge()) -> ok.
subscribe(_) -> ok.

%% @doc What an instance says.
-spec change(lariat_picture:edge(), term()) -> up | down | unknown.
change(Edge, {lariat_edge_instance, Edge, Change}) -> Change;
change(_, _) -> unknown.

%% @doc The calling process is its owner, and has room for so many events more.
-spec heard(lariat_picture:edge(), pos_integer()) -> ok.
heard(Edge, Events) ->
    case lariat_edge_instance:running(Edge) of
        {Running, _} ->
            _ = lariat_nif:heard(Running, Events),
            ok;
        none ->
            ok
    end.

%% @doc Straight into the queues of the shards. When one of them has no room, none gets it.
-spec send(
    lariat_picture:edge(),
    [lariat_wire:id(), ...],
    lariat_wire:payload(),
    lariat_wire:edge_options(),
    credited | plain
) -> ok | {error, lariat_edge:failure()}.
send(Edge, Ids, Payload, Options, _) ->
    %% Not by `when_running/2': each message would make a fun.
    case lariat_edge_instance:running(Edge) of
        {Running, _} -> failure(lariat_nif:send(Running, message(Ids, Payload, Options)));
        none -> {error, noconnection}
    end.

-spec message([lariat_wire:id(), ...], lariat_wire:payload(), lariat_wire:edge_options()) -> tuple().
message([Id], Payload, Options) when map_size(Options) =:= 0 -> {Id, Payload};
message(Ids, Payload, Options) when map_size(Options) =:= 0 -> {Ids, Payload};
message(Ids, Payload, Options) -> {Ids, Payload, Options}.

%% @doc What somebody who asked the edge is to be told.
-spec answer(
    lariat_picture:edge(), lariat_wire:ask_ref(), lariat_wire:answer(), at_once | patiently
) -> ok | {error, lariat_edge:failure()}.
answer(Edge, Ref, Answer, How) ->
    when_room(How, fun() -> cast(Edge, {answer, Ref, Answer}) end).

-spec cast(lariat_picture:edge(), lariat_wire:command()) -> ok | {error, lariat_edge:failure()}.
cast(Edge, Command) ->
    when_running(Edge, fun(Running) -> lariat_nif:cast(Running, Command) end).

%% @doc Asks and waits, for as long as it takes: the caller is killed at its deadline.
-spec call(lariat_picture:edge(), lariat_wire:command()) -> ok | {ok, term()} | {error, term()}.
call(Edge, {attach, Owner, #{credit := true} = Options}) ->
    %% What has no room is refused at once.
    case call(Edge, {attach, Owner, maps:remove(credit, Options)}) of
        {ok, Granted} -> {ok, maps:remove(credit, Granted)};
        {error, _} = Error -> Error
    end;
call(Edge, Command) ->
    when_running(Edge, fun(Running) -> lariat_nif:call(Running, Command, infinity) end).

%% @doc What we know without asking.
-spec info(lariat_picture:edge()) -> map().
info(Edge) ->
    #{
        connected => connected(Edge),
        ready => is_ready(Edge),
        monitors => lariat_monitors:count(Edge)
    }.

%% @doc Are new connections welcome? What `/readyz' of a node says, for whoever tells a load balancer.
-spec is_ready(lariat_picture:edge()) -> boolean().
is_ready(Edge) ->
    case lariat_edge_instance:running(Edge) of
        {Running, _} -> lariat_nif:is_ready(Running);
        none -> false
    end.

%% @doc Ends the link, and the edge with all its connections.
-spec stop(lariat_picture:edge()) -> ok.
stop(Edge) ->
    lariat_edge_sup:detach(Edge).

%% @doc Reads the config once more: the file, or of a map the files that it names; certificates in any case.
-spec reload(lariat_picture:edge()) -> lariat_edge:reloaded().
reload(Edge) ->
    reload(Edge, same).

%% @doc From now on it has this config, also when it is started again.
-spec reload(lariat_picture:edge(), same | map() | file:name_all()) -> lariat_edge:reloaded().
reload(Edge, Config) ->
    lariat_edge_instance:reload(Edge, Config).

%% @doc Has it take its leave as its config says.
-spec drain(lariat_picture:edge()) -> ok | {error, badarg}.
drain(Edge) ->
    drain(Edge, #{}).

%% @doc Stops accepting, has the connections leave, and stops it when all have or the time is over.
-spec drain(lariat_picture:edge(), lariat_nif:drain_options()) -> ok | {error, badarg}.
drain(Edge, Options) ->
    Drain = fun(Running) -> lariat_nif:drain(Running, Options) end,
    case when_room(patiently, fun() -> when_running(Edge, Drain) end) of
        {error, badarg} = Error -> Error;
        %% Whatever else became of it, it ends.
        _ -> stop(Edge)
    end.

%% @doc What may be sent to a conn pid.
-spec signal(lariat_picture:edge(), lariat_wire:conn(), term(), at_once | patiently) ->
    ok | {error, lariat_edge:failure()}.
signal(Edge, Conn, Term, How) ->
    Signal = fun(Running) -> lariat_nif:signal(Running, Conn, Term) end,
    when_room(How, fun() -> when_running(Edge, Signal) end).

%% @doc DOWN comes from `lariat_monitors'.
-spec monitor(lariat_picture:edge(), lariat_wire:conn()) -> reference().
monitor(_, Conn) ->
    Ref = lariat_monitors:monitor(Conn),
    %% That server watches it, too. This one is in order with what we say to the connection: who monitors it
    %% and then closes it hears why it closed.
    _ = watch(Conn),
    Ref.

%% @doc It is not wanted any more; or is of another edge.
-spec demonitor(lariat_picture:edge(), reference()) -> ok.
demonitor(_, Ref) ->
    lariat_monitors:demonitor(Ref).

%% @doc The owner of the edge is to be told once when this connection is gone. Again changes nothing.
-spec watch(lariat_wire:conn()) -> ok | {error, lariat_edge:failure()}.
watch({lariat_conn, Edge, _, _} = Conn) ->
    when_running(Edge, fun(Running) -> lariat_nif:watch(Running, Conn) end).

%% @doc Or not to be told.
-spec unwatch(lariat_wire:conn()) -> ok | {error, lariat_edge:failure()}.
unwatch({lariat_conn, Edge, _, _} = Conn) ->
    when_running(Edge, fun(Running) -> lariat_nif:unwatch(Running, Conn) end).

%% @doc The metrics of the edge, as a node's /metrics has them.
-spec metrics(lariat_picture:edge()) -> binary() | {error, noconnection}.
metrics(Edge) ->
    case lariat_edge_instance:running(Edge) of
        {Running, _} -> lariat_nif:metrics(Running);
        none -> {error, noconnection}
    end.

%% A process with patience may be killed while it pauses, as one that a full link has suspended.
-spec when_room(at_once | patiently, fun(() -> Result)) -> Result when
    Result :: ok | {error, term()}.
when_room(How, Say) ->
    case Say() of
        {error, busy} when How =:= patiently ->
            receive after ?PATIENCE_MS -> when_room(How, Say) end;
        Said ->
            Said
    end.

-spec when_running(lariat_picture:edge(), fun((lariat_nif:edge()) -> Answer)) ->
    Answer | {error, noconnection}.
when_running(Edge, Ask) ->
    case lariat_edge_instance:running(Edge) of
        {Running, _} -> failure(Ask(Running));
        none -> {error, noconnection}
    end.

%% A closed edge is to its callers what a lost link is.
-spec failure({error, closed} | Answer) -> {error, noconnection} | Answer.
failure({error, closed}) -> {error, noconnection};
failure(Answer) -> Answer.
