%%% Erlang processes as receivers: logs them in and out, and notices when they end.
%%%
%%% Not asked on the way of a message: what it knows is in `lariat_picture', under the edge
%%% `process'. It holds one monitor for each pid and nothing else, so after a crash it finds
%%% everything in the picture again.
-module(lariat_logins).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/0, login/2, logout/1]).
%% gen_server.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type monitors() :: #{pid() => reference()}.

%% A monitor and two rows each, so some 50 MB; more of them are rather a design to reconsider.
-define(LOGINS_MAX, 100000).

%% @doc Starts the server.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc `Pid' receives what is sent to `Id', until it ends or logs out. A pid may log in under
%% several ids; logging in twice under one changes nothing.
-spec login(lariat_wire:id(), pid()) -> ok | {error, logins_limit}.
login(Id, Pid) ->
    gen_server:call(?MODULE, {login, Id, Pid}).

%% @doc `Pid' receives nothing more, under any id.
-spec logout(pid()) -> ok.
logout(Pid) ->
    gen_server:call(?MODULE, {logout, Pid}).

%% @private
-spec init([]) -> {ok, monitors()}.
init([]) ->
    Pids = lists:usort([Pid || {Pid, _} <- lariat_picture:picture(process)]),
    {ok, maps:from_list([{Pid, erlang:monitor(process, Pid)} || Pid <- Pids])}.

-type request() :: {login, lariat_wire:id(), pid()} | {logout, pid()}.

%% @private
-spec handle_call(request(), gen_server:from(), monitors()) ->
    {reply, ok | {error, logins_limit}, monitors()}.
handle_call({login, Id, Pid}, _From, Monitors) ->
    Max = application:get_env(lariat, logins_max, ?LOGINS_MAX),
    case map_size(Monitors) < Max orelse is_map_key(Pid, Monitors) of
        true ->
            ok = lariat_picture:put(process, Pid, Id, 0),
            {reply, ok, monitored(Pid, Monitors)};
        false ->
            {reply, {error, logins_limit}, Monitors}
    end;
handle_call({logout, Pid}, _From, Monitors) ->
    {reply, ok, gone(Pid, Monitors)}.

%% @private
-spec handle_cast(term(), monitors()) -> {noreply, monitors()}.
handle_cast(Stray, Monitors) ->
    stray(Stray),
    {noreply, Monitors}.

%% @private
-spec handle_info(term(), monitors()) -> {noreply, monitors()}.
handle_info({'DOWN', _, process, Pid, _}, Monitors) ->
    {noreply, gone(Pid, Monitors)};
handle_info(Stray, Monitors) ->
    stray(Stray),
    {noreply, Monitors}.

-spec monitored(pid(), monitors()) -> monitors().
monitored(Pid, Monitors) when is_map_key(Pid, Monitors) -> Monitors;
monitored(Pid, Monitors) -> Monitors#{Pid => erlang:monitor(process, Pid)}.

-spec gone(pid(), monitors()) -> monitors().
gone(Pid, Monitors) ->
    case maps:take(Pid, Monitors) of
        {Monitor, Others} ->
            true = erlang:demonitor(Monitor, [flush]),
            Ids = lariat_picture:ids_of(process, Pid),
            _ = [lariat_picture:drop(process, Pid, Id) || Id <- Ids],
            Others;
        error ->
            Monitors
    end.

-spec stray(term()) -> ok.
stray(Stray) ->
    lariat_counters:add(strays, 1),
    ?LOG_INFO("logins: stray ~0P ignored", [Stray, 20]).
