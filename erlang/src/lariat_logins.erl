%%% Erlang processes, and connections in their place, as receivers: logs them in and out, and notices
%%% when they end.
%%%
%%% Not asked on the way of a message: what it knows is in `lariat_picture', under the edge
%%% `process'. It holds one monitor for each pid, and its ids, so after a crash it finds
%%% everything in the picture again.
-module(lariat_logins).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/0, login/2, logout/1]).
%% gen_server.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type monitors() :: #{lariat_wire:conn() => {reference(), Ids :: #{lariat_wire:id() => true}}}.

%% A monitor and two rows each, so some 50 MB; more of them are rather a design to reconsider.
-define(LOGINS_MAX, 100000).

%% @doc Starts the server.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc `Conn' receives what is sent to `Id', until it ends or logs out. It may log in under
%% several ids; logging in twice under one changes nothing.
-spec login(lariat_wire:id(), lariat_wire:conn()) -> ok | {error, logins_limit}.
login(Id, Conn) ->
    gen_server:call(?MODULE, {login, Id, Conn}).

%% @doc `Conn' receives nothing more, under any id.
-spec logout(lariat_wire:conn()) -> ok.
logout(Conn) ->
    gen_server:call(?MODULE, {logout, Conn}).

%% @private
-spec init([]) -> {ok, monitors()}.
init([]) ->
    %% What the one before us was doing when it was killed may not have been counted.
    ok = lariat_picture:recount(process),
    Known = fun({Conn, Id}, Monitors) -> known(Conn, Id, Monitors) end,
    {ok, lists:foldl(Known, #{}, lariat_picture:picture(process))}.

-type request() :: {login, lariat_wire:id(), lariat_wire:conn()} | {logout, lariat_wire:conn()}.

%% @private
-spec handle_call(request(), gen_server:from(), monitors()) ->
    {reply, ok | {error, logins_limit}, monitors()}.
handle_call({login, Id, Conn}, _From, Monitors) ->
    Max = application:get_env(lariat, logins_max, ?LOGINS_MAX),
    case map_size(Monitors) < Max orelse is_map_key(Conn, Monitors) of
        true ->
            ok = lariat_picture:put(process, Conn, Id, 0),
            {reply, ok, known(Conn, Id, Monitors)};
        false ->
            {reply, {error, logins_limit}, Monitors}
    end;
handle_call({logout, Conn}, _From, Monitors) ->
    {reply, ok, gone(Conn, Monitors)}.

%% @private
-spec handle_cast(term(), monitors()) -> {noreply, monitors()}.
handle_cast(Stray, Monitors) ->
    stray(Stray),
    {noreply, Monitors}.

%% @private
-spec handle_info(term(), monitors()) -> {noreply, monitors()}.
handle_info({'DOWN', Ref, process, Conn, _}, Monitors) ->
    case Monitors of
        #{Conn := {Ref, _}} -> {noreply, gone(Conn, Monitors)};
        %% The edge has crashed that would have told us, and all its connections with it.
        #{} ->
            Lost = [Other || {Other, {Its, _}} <- maps:to_list(Monitors), Its =:= Ref],
            {noreply, lists:foldl(fun gone/2, Monitors, Lost)}
    end;
handle_info(Stray, Monitors) ->
    stray(Stray),
    {noreply, Monitors}.

-spec known(lariat_wire:conn(), lariat_wire:id(), monitors()) -> monitors().
known(Conn, Id, Monitors) ->
    case Monitors of
        #{Conn := {Monitor, Ids}} -> Monitors#{Conn := {Monitor, Ids#{Id => true}}};
        #{} -> Monitors#{Conn => {lariat_edge:monitor(Conn), #{Id => true}}}
    end.

-spec gone(lariat_wire:conn(), monitors()) -> monitors().
gone(Conn, Monitors) ->
    case maps:take(Conn, Monitors) of
        {{Monitor, Ids}, Others} ->
            true = lariat_edge:demonitor(Monitor),
            _ = [lariat_picture:drop(process, Conn, Id) || Id <- maps:keys(Ids)],
            Others;
        error ->
            Monitors
    end.

-spec stray(term()) -> ok.
stray(Stray) ->
    lariat_counters:add(strays, 1),
    ?LOG_INFO("logins: stray ~0P ignored", [Stray, 20]).
