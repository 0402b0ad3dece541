%%% Supervises the workers of all handlers.
%%%
%%% Decides nothing. A worker runs no code of the application, so one that ends is a defect of
%%% ours; what it kept is lost with it, and the edge answers those who wait for it.
-module(lariat_handler_sup).

-behaviour(supervisor).

%% API.
-export([start_link/0]).
%% supervisor.
-export([init/1]).

%% @doc Starts the workers.
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = lariat_handlers:configure(),
    Children = [
        #{id => {Name, I}, start => {lariat_handler_worker, start_link, [Handler, I]}}
     || #{name := Name, workers := Workers} = Handler <- lariat_handlers:all(),
        I <- lists:seq(1, tuple_size(Workers))
    ],
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, Children}}.
