%%% The top of the tree, and the owner of the tables.
%%%
%%% Supervises and owns, no more. The tables belong here so that they outlive every writer;
%%% monitors, logins and handlers come before edges so that an edge's first message finds the processes.
-module(lariat_sup).

-behaviour(supervisor).

%% API.
-export([start_link/0]).
%% supervisor.
-export([init/1]).

%% @doc Starts the tree.
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = lariat_counters:create(),
    ok = lariat_picture:create_tables(),
    ok = lariat_handled:create_table(),
    Logins = #{id => lariat_logins, start => {lariat_logins, start_link, []}},
    Monitors = #{id => lariat_monitors, start => {lariat_monitors, start_link, []}},
    Handlers = #{
        id => lariat_handler_sup,
        start => {lariat_handler_sup, start_link, []},
        type => supervisor
    },
    Edges = #{
        id => lariat_edge_sup,
        start => {lariat_edge_sup, start_link, []},
        type => supervisor
    },
    {ok, {#{strategy => one_for_one, intensity => 3, period => 30}, [
        Monitors, Logins, Handlers, Edges
    ]}}.
