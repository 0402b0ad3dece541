%%% Supervises the edges: for each a link, and what runs the edge when that is ours: its program, or its
%%% instance in this VM.
%%%
%%% Decides nothing about them. A link and what it leads to are independent: an edge that restarts is to
%%% its link one that went and came back.
-module(lariat_edge_sup).

-behaviour(supervisor).

%% API.
-export([start_link/0, attach/3, detach/1]).
%% supervisor.
-export([init/1]).

%% @doc Starts the supervisor and the configured edges.
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Adds an edge.
-spec attach(module(), lariat_picture:edge(), Checked :: map()) ->
    ok | {error, already_attached | {not_started, Why :: binary()}}.
attach(Module, Edge, Config) ->
    start(children(Module, Edge, Config)).

%% @doc Removes an edge; does nothing when it is not there.
-spec detach(lariat_picture:edge()) -> ok.
detach(Edge) ->
    lists:foreach(
        fun(Id) ->
            case supervisor:terminate_child(?MODULE, Id) of
                ok -> ok = supervisor:delete_child(?MODULE, Id);
                {error, not_found} -> ok
            end
        end,
        [{link, Edge}, {program, Edge}, {instance, Edge}]
    ),
    ok = lariat_picture:drop_edge(Edge),
    lariat_handlers:forget(Edge).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Children = [
        children(Module, Edge, Config)
     || {Module, Edge, Config} <- lariat_edge:configured()
    ],
    %% No child ends by itself in anything that can be expected, so five ends in ten
    %% seconds are a defect of ours, and starting afresh is all that is left.
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, lists:append(Children)}}.

-spec start([supervisor:child_spec()]) ->
    ok | {error, already_attached | {not_started, Why :: binary()}}.
start([]) ->
    ok;
start([Child | Others]) ->
    case supervisor:start_child(?MODULE, Child) of
        {ok, _} -> start(Others);
        {error, {already_started, _}} -> {error, already_attached};
        %% Being detached by somebody else at this moment.
        {error, already_present} -> {error, already_attached};
        {error, {{shutdown, {not_started, _} = Why}, _Child}} -> {error, Why}
    end.

-spec children(module(), lariat_picture:edge(), Checked :: map()) -> [supervisor:child_spec(), ...].
children(Module, Edge, Config) ->
    Link = #{id => {link, Edge}, start => {lariat_link, start_link, [Module, Edge]}},
    Module:children(Config, Link).
