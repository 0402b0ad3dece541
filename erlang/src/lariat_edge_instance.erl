%%% Runs an edge inside this VM: starts it, owns it, and stops it.
%%%
%%% The library stops the edge when this process ends, however it ends; then all its connections close.
%%% No message of anybody's passes here: senders find the edge by `running/1'. What does pass here are
%%% lines of its log, which become ours, and that watched connections are gone, for `lariat_monitors'.
%%%
%%% An edge that cannot be started when it is attached is an error of whoever attaches it. One that
%%% crashed is tried again and again, after a growing, jittered pause, because its port may still be in
%%% use by what is left of the one before.
-module(lariat_edge_instance).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% For the supervisor.
-export([child_spec/1, start_link/1]).
%% For lariat_edge_nif.
-export([running/1, await/1, reload/2]).
%% gen_server.
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% A first restart that is hardly noticed; a last one that does not fill the log.
-define(PAUSE_MS, {200, 30000}).

%% Every connection is told, and closes. Then the library goes on by itself.
-define(STOP_MS, 10000).

%% The supervisor's own patience: above that.
-define(SHUTDOWN_MS, 15000).

-record(instance, {
    config :: lariat_edge_nif:config(),
    edge :: atom(),
    running = none :: none | lariat_nif:edge(),
    %% Who waits until it runs.
    waiting = [] :: [gen_server:from()],
    %% Failures to start since it last ran.
    attempt = 0 :: non_neg_integer()
}).

%% @doc For the supervisor of the edges.
-spec child_spec(lariat_edge_nif:config()) -> supervisor:child_spec().
child_spec(#{nif := Edge} = Config) ->
    #{
        id => {instance, Edge},
        start => {?MODULE, start_link, [Config]},
        shutdown => ?SHUTDOWN_MS
    }.

%% @doc Starts the edge.
-spec start_link(lariat_edge_nif:config()) -> gen_server:start_ret().
start_link(#{nif := Edge} = Config) ->
    case gen_server:start_link({local, name(Edge)}, ?MODULE, Config, []) of
        {error, {already_started, Before}} = Error ->
            %% Its supervisor, the one before ours, was killed: it is stopping.
            Monitor = erlang:monitor(process, Before),
            receive
                {'DOWN', Monitor, process, Before, _} -> start_link(Config)
            after ?SHUTDOWN_MS ->
                true = erlang:demonitor(Monitor, [flush]),
                Error
            end;
        Started ->
            Started
    end.

%% @doc The edge, and the process that owns it. Costs next to nothing: a term that is never copied.
-spec running(lariat_picture:edge()) -> {lariat_nif:edge(), pid()} | none.
running(Edge) ->
    persistent_term:get({?MODULE, Edge}, none).

%% @doc Waits until the edge runs, for as long as that takes.
-spec await(lariat_picture:edge()) -> ok | {error, Why :: term()}.
await(Edge) ->
    try
        gen_server:call(name(Edge), await, infinity)
    catch
        exit:{Why, _} -> {error, {not_running, Why}}
    end.

%% @doc Gives it another config, or what the same one says now. A map is only read, a file may be slow.
-spec reload(lariat_picture:edge(), same | map() | file:name_all()) -> lariat_edge:reloaded().
reload(Edge, Config) ->
    try
        gen_server:call(name(Edge), {reload, Config}, infinity)
    catch
        exit:{Why, _} -> {error, {not_running, Why}}
    end.

%% @private
-spec init(lariat_edge_nif:config()) ->
    {ok, #instance{}} | {ok, #instance{}, {continue, run}} | {stop, {shutdown, {not_started, binary()}}}.
init(#{nif := Edge} = Given) ->
    process_flag(trap_exit, true),
    logger:update_process_metadata(#{edge => Edge}),
    %% What one before us was told last, if it crashed.
    Config = persistent_term:get({?MODULE, config, Edge}, Given),
    Instance = #instance{config = Config, edge = Edge},
    case lariat_picture:edge(Edge) of
        error ->
            case start(Config) of
                {ok, Running} -> {ok, up(Running, Instance)};
                %% No crash: whoever attaches it is told.
                {error, Why} -> {stop, {shutdown, {not_started, Why}}}
            end;
        {ok, _} ->
            %% The one before us crashed.
            ok = down(Edge),
            {ok, Instance, {continue, run}}
    end.

%% @private
-spec handle_continue(run, #instance{}) -> {noreply, #instance{}}.
handle_continue(run, Instance) ->
    {noreply, run(Instance)}.

%% @private
-spec handle_call(await | {reload, term()}, gen_server:from(), #instance{}) ->
    {reply, ok | lariat_edge:reloaded(), #instance{}} | {noreply, #instance{}}.
handle_call({reload, _}, _From, #instance{running = none} = Instance) ->
    {reply, {error, noconnection}, Instance};
handle_call({reload, same}, _From, #instance{config = Config, running = Running} = Instance) ->
    {reply, lariat_nif:reload(Running, maps:get(config, Config, #{})), Instance};
handle_call({reload, New}, _From, #instance{config = Config, edge = Edge} = Instance) ->
    case lariat_nif:reload(Instance#instance.running, New) of
        {ok, _} = Reloaded ->
            Other = Config#{config => New},
            ok = persistent_term:put({?MODULE, config, Edge}, Other),
            {reply, Reloaded, Instance#instance{config = Other}};
        {error, _} = Error ->
            {reply, Error, Instance}
    end;
handle_call(await, From, #instance{running = none, waiting = Waiting} = Instance) ->
    {noreply, Instance#instance{waiting = [From | Waiting]}};
handle_call(await, _From, Instance) ->
    {reply, ok, Instance}.

%% @private
-spec handle_cast(term(), #instance{}) -> {noreply, #instance{}}.
handle_cast(Stray, Instance) ->
    stray(Stray, Instance).

%% @private
-spec handle_info(term(), #instance{}) -> {noreply, #instance{}} | {stop, term(), #instance{}}.
handle_info({lariat_gone, Conn, Reason}, Instance) ->
    ok = lariat_monitors:gone(Conn, Reason),
    {noreply, Instance};
handle_info({lariat_log, Level, Text}, Instance) ->
    ok = say(Level, Text),
    {noreply, Instance};
handle_info(run, #instance{running = none} = Instance) ->
    {noreply, run(Instance)};
handle_info({'EXIT', _, Reason}, Instance) ->
    {stop, Reason, Instance};
handle_info(Stray, Instance) ->
    stray(Stray, Instance).

%% @private
-spec terminate(term(), #instance{}) -> ok.
terminate(shutdown, #instance{edge = Edge} = Instance) ->
    %% The end of being attached, and no crash.
    _ = persistent_term:erase({?MODULE, config, Edge}),
    stopped(Instance);
terminate(_Reason, Instance) ->
    stopped(Instance).

-spec stopped(#instance{}) -> ok.
stopped(#instance{running = none}) ->
    ok;
stopped(#instance{edge = Edge, running = Running}) ->
    _ = persistent_term:erase({?MODULE, Edge}),
    %% In a process of its own, so that it has a deadline, and what the edge says meanwhile is heard.
    {Pid, Monitor} = spawn_monitor(fun() -> lariat_nif:stop(Running) end),
    Timer = erlang:start_timer(?STOP_MS, self(), give_up),
    stopping(Edge, Pid, Monitor, Timer).

-spec run(#instance{}) -> #instance{}.
run(#instance{config = Config, edge = Edge, attempt = Attempt} = Instance) ->
    case start(Config) of
        {ok, Running} ->
            up(Running, Instance);
        {error, Why} ->
            PauseMs = lariat_backoff:delay_ms(Attempt, ?PAUSE_MS, rand:uniform()),
            ?LOG_ERROR("edge ~ts cannot be started: ~ts; trying again in ~b ms", [Edge, Why, PauseMs]),
            _ = erlang:send_after(PauseMs, self(), run),
            Instance#instance{attempt = Attempt + 1}
    end.

-spec start(lariat_edge_nif:config()) -> {ok, lariat_nif:edge()} | {error, binary()}.
start(#{nif := Edge} = Config) ->
    %% As a node does: it grows from start to start.
    Epoch = erlang:system_time(microsecond),
    Settings = maps:get(config, Config, #{}),
    lariat_nif:start(#{name => Edge, config => Settings, epoch => Epoch}).

-spec up(lariat_nif:edge(), #instance{}) -> #instance{}.
up(Running, #instance{edge = Edge, waiting = Waiting} = Instance) ->
    ok = persistent_term:put({?MODULE, Edge}, {Running, self()}),
    _ = [gen_server:reply(From, ok) || From <- Waiting],
    ok = tell_link(Edge, up),
    ?LOG_NOTICE("edge ~ts runs in this VM", [Edge]),
    Instance#instance{running = Running, waiting = [], attempt = 0}.

-spec down(atom()) -> ok.
down(Edge) ->
    _ = persistent_term:erase({?MODULE, Edge}),
    tell_link(Edge, down).

%% There is none before the edge is attached for the first time: it looks when it begins.
-spec tell_link(atom(), up | down) -> ok.
tell_link(Edge, Change) ->
    case lariat_picture:edge(Edge) of
        {ok, #{link := Link}} ->
            Link ! {?MODULE, Edge, Change},
            ok;
        _ ->
            ok
    end.

-spec stopping(atom(), pid(), reference(), reference()) -> ok.
stopping(Edge, Pid, Monitor, Timer) ->
    receive
        {'DOWN', Monitor, process, Pid, _} ->
            _ = erlang:cancel_timer(Timer),
            last_words();
        {timeout, Timer, give_up} ->
            ?LOG_WARNING("edge ~ts has not stopped within ~b ms; it goes on doing so", [Edge, ?STOP_MS]),
            exit(Pid, kill),
            ok;
        {lariat_log, Level, Text} ->
            ok = say(Level, Text),
            stopping(Edge, Pid, Monitor, Timer);
        {lariat_gone, Conn, Reason} ->
            ok = lariat_monitors:gone(Conn, Reason),
            stopping(Edge, Pid, Monitor, Timer)
    end.

%% What it said before it had stopped.
-spec last_words() -> ok.
last_words() ->
    receive
        {lariat_log, Level, Text} ->
            ok = say(Level, Text),
            last_words();
        {lariat_gone, Conn, Reason} ->
            ok = lariat_monitors:gone(Conn, Reason),
            last_words()
    after 0 -> ok
    end.

-spec say(Level :: term(), Text :: binary()) -> ok.
say(error, Text) -> ?LOG_ERROR("~ts", [Text]);
say(warning, Text) -> ?LOG_WARNING("~ts", [Text]);
say(info, Text) -> ?LOG_INFO("~ts", [Text]);
say(_, Text) -> ?LOG_DEBUG("~ts", [Text]).

-spec stray(term(), #instance{}) -> {noreply, #instance{}}.
stray(Stray, Instance) ->
    lariat_counters:add(strays, 1),
    ?LOG_INFO("edge instance: stray ~0P ignored", [Stray, 20]),
    {noreply, Instance}.

%% Atoms, but only as many as the operator writes.
-spec name(atom()) -> atom().
name(Edge) ->
    binary_to_atom(<<"lariat_edge_instance_", (atom_to_binary(Edge))/binary>>).
