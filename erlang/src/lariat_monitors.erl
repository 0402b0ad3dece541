%%% Monitors of connections that are no pids: tells who asked when one is gone.
%%%
%%% What the VM does for pids. Whose monitors there are is `lariat_monitored'; that a connection is gone the
%%% owner of its edge says (`lariat_edge_instance'), which is told by the edge. This process outlives edges,
%%% so that the end of one is told for each of its connections, however it came. It runs nobody's code and
%%% holds nobody up.
%%%
%%% Who asks monitors this process, with an alias for the answer: so the reference is that of a monitor, and
%%% ends like one.
-module(lariat_monitors).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/0, monitor/1, demonitor/1, count/1]).
%% For the owner of an edge.
-export([gone/2]).
%% gen_server.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-compile({no_auto_import, [demonitor/1]}).

%% As many as a hidden node lets each Erlang node have.
-define(MONITORS_MAX, 100000).

%% For `info', which an operator types.
-define(COUNT_TIMEOUT_MS, 2000).

-record(monitors, {
    monitored :: lariat_monitored:t(),
    %% Processes that have asked, whose end is looked out for.
    watchers = #{} :: #{pid() => reference()},
    %% Owners of edges: by the monitor of each its edge, and the other way round.
    owners = #{} :: #{reference() => lariat_picture:edge()},
    edges = #{} :: #{lariat_picture:edge() => reference()}
}).

%% @doc Starts the server.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The calling process gets `{'DOWN', Ref, process, Conn, Reason}' once.
-spec monitor(lariat_wire:conn()) -> reference().
monitor(Conn) ->
    case whereis(?MODULE) of
        undefined ->
            Ref = make_ref(),
            self() ! {'DOWN', Ref, process, Conn, noconnection},
            Ref;
        Server ->
            Ref = erlang:monitor(process, Server, [{alias, reply_demonitor}]),
            ok = gen_server:cast(Server, {monitor, Ref, self(), Conn}),
            Ref
    end.

%% @doc No longer; a reference that is none of ours does no harm.
-spec demonitor(reference()) -> ok.
demonitor(Ref) ->
    gen_server:cast(?MODULE, {demonitor, Ref}).

%% @doc Number of monitors of connections of an edge.
-spec count(lariat_picture:edge()) -> non_neg_integer() | unknown.
count(Edge) ->
    try
        gen_server:call(?MODULE, {count, Edge}, ?COUNT_TIMEOUT_MS)
    catch
        exit:_ -> unknown
    end.

%% @doc A connection that was watched is gone.
-spec gone(lariat_wire:conn(), Reason :: term()) -> ok.
gone(Conn, Reason) ->
    gen_server:cast(?MODULE, {gone, Conn, Reason}).

%% @private
-spec init([]) -> {ok, #monitors{}}.
init([]) ->
    Max = application:get_env(lariat, monitors_max, ?MONITORS_MAX),
    {ok, #monitors{monitored = lariat_monitored:new(Max)}}.

%% @private
-spec handle_call({count, lariat_picture:edge()}, gen_server:from(), #monitors{}) ->
    {reply, non_neg_integer(), #monitors{}}.
handle_call({count, Edge}, _From, #monitors{monitored = Monitored} = Monitors) ->
    {reply, lariat_monitored:count(Edge, Monitored), Monitors}.

%% @private
-spec handle_cast(term(), #monitors{}) -> {noreply, #monitors{}}.
handle_cast({monitor, Ref, Watcher, {lariat_conn, Edge, _, _} = Conn}, Monitors) ->
    case owner(Edge, Monitors) of
        {ok, #monitors{monitored = Monitored} = Owned} ->
            {noreply, execute(lariat_monitored:add(Ref, Watcher, Conn, Monitored), Owned)};
        none ->
            {noreply, effect({tell, Ref, Conn, noconnection}, Monitors)}
    end;
handle_cast({demonitor, Ref}, #monitors{monitored = Monitored} = Monitors) ->
    {noreply, execute(lariat_monitored:remove(Ref, Monitored), Monitors)};
handle_cast({gone, Conn, Reason}, Monitors) ->
    {noreply, told_gone(Conn, Reason, Monitors)};
handle_cast(Stray, Monitors) ->
    stray(Stray, Monitors).

%% @private
-spec handle_info(term(), #monitors{}) -> {noreply, #monitors{}}.
handle_info({'DOWN', Ref, process, Pid, Reason}, #monitors{monitored = Monitored} = Monitors) ->
    #monitors{owners = Owners, edges = Edges, watchers = Watchers} = Monitors,
    case maps:take(Ref, Owners) of
        {Edge, Others} ->
            Left = Monitors#monitors{owners = Others, edges = maps:remove(Edge, Edges)},
            {noreply, execute(lariat_monitored:edge_gone(Edge, why(Reason), Monitored), Left)};
        error ->
            Left = Monitors#monitors{watchers = maps:remove(Pid, Watchers)},
            {noreply, execute(lariat_monitored:ended(Pid, Monitored), Left)}
    end;
handle_info(Stray, Monitors) ->
    stray(Stray, Monitors).

%% What connections of a hidden node say when that stops, or is lost.
-spec why(term()) -> shutdown | noconnection.
why(shutdown) -> shutdown;
why(_) -> noconnection.

%% Knows the owner of the edge, and hears of its end.
-spec owner(lariat_picture:edge(), #monitors{}) -> {ok, #monitors{}} | none.
owner(Edge, #monitors{edges = Edges} = Monitors) when is_map_key(Edge, Edges) ->
    {ok, Monitors};
owner(Edge, #monitors{edges = Edges, owners = Owners} = Monitors) ->
    case lariat_edge_instance:running(Edge) of
        {_, Owner} ->
            Ref = erlang:monitor(process, Owner),
            {ok, Monitors#monitors{edges = Edges#{Edge => Ref}, owners = Owners#{Ref => Edge}}};
        none ->
            none
    end.

-spec told_gone(lariat_wire:conn(), Reason :: term(), #monitors{}) -> #monitors{}.
told_gone(Conn, Reason, #monitors{monitored = Monitored} = Monitors) ->
    execute(lariat_monitored:gone(Conn, Reason, Monitored), Monitors).

-spec execute({[lariat_monitored:effect()], lariat_monitored:t()}, #monitors{}) -> #monitors{}.
execute({Effects, Monitored}, Monitors) ->
    lists:foldl(fun effect/2, Monitors#monitors{monitored = Monitored}, Effects).

-spec effect(lariat_monitored:effect(), #monitors{}) -> #monitors{}.
effect({tell, Ref, Conn, Reason}, Monitors) ->
    _ = Reason =:= system_limit andalso lariat_counters:add(monitors_refused, 1),
    Ref ! {'DOWN', Ref, process, Conn, Reason},
    Monitors;
effect({watch, Conn}, Monitors) ->
    case lariat_edge_nif:watch(Conn) of
        ok -> Monitors;
        {error, busy} -> told_gone(Conn, system_limit, Monitors);
        {error, badarg} -> told_gone(Conn, noproc, Monitors);
        {error, noconnection} -> told_gone(Conn, noconnection, Monitors)
    end;
effect({unwatch, Conn}, Monitors) ->
    %% When there is no room for it we are told of what nobody wants to hear.
    _ = lariat_edge_nif:unwatch(Conn),
    Monitors;
effect({look_out, Watcher}, #monitors{watchers = Watchers} = Monitors) ->
    Monitors#monitors{watchers = Watchers#{Watcher => erlang:monitor(process, Watcher)}};
effect({look_away, Watcher}, #monitors{watchers = Watchers} = Monitors) ->
    {Ref, Others} = maps:take(Watcher, Watchers),
    true = erlang:demonitor(Ref, [flush]),
    Monitors#monitors{watchers = Others}.

-spec stray(term(), #monitors{}) -> {noreply, #monitors{}}.
stray(Stray, Monitors) ->
    lariat_counters:add(strays, 1),
    ?LOG_INFO("monitors: stray ~0P ignored", [Stray, 20]),
    {noreply, Monitors}.
