%%% Supervises the edges: for each a link, and the program when that is ours.
%%%
%%% Decides nothing about them. A link and its program are independent: a program that restarts
%%% is to its link like any node that went and came back.
-module(lariat_edge_sup).

-behaviour(supervisor).

%% API.
-export([start_link/0, attach/2, detach/1]).
%% supervisor.
-export([init/1]).

%% A program is asked to stop gracefully first; see lariat_edge_program for its own limit.
-define(PROGRAM_SHUTDOWN_MS, 15000).

%% @doc Starts the supervisor and the configured edges.
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @doc Adds an edge.
-spec attach(module(), #{node := node(), _ => _}) -> ok | {error, already_attached}.
attach(Module, Config) ->
    start(children(Module, Config)).

%% @doc Removes an edge; does nothing when it is not there.
-spec detach(node()) -> ok.
detach(Node) ->
    lists:foreach(
        fun(Id) ->
            case supervisor:terminate_child(?MODULE, Id) of
                ok -> ok = supervisor:delete_child(?MODULE, Id);
                {error, not_found} -> ok
            end
        end,
        [{link, Node}, {program, Node}]
    ),
    ok = lariat_picture:drop_edge(Node),
    lariat_handlers:forget(Node).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Children = [children(Module, Config) || {Module, Config} <- lariat_edge_node:configured()],
    %% Neither child ends by itself in anything that can be expected, so five ends in ten
    %% seconds are a defect of ours, and starting afresh is all that is left.
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, lists:append(Children)}}.

-spec start([supervisor:child_spec()]) -> ok | {error, already_attached}.
start([]) ->
    ok;
start([Child | Others]) ->
    case supervisor:start_child(?MODULE, Child) of
        {ok, _} -> start(Others);
        {error, {already_started, _}} -> {error, already_attached};
        %% Being detached by somebody else at this moment.
        {error, already_present} -> {error, already_attached}
    end.

-spec children(module(), #{node := node(), _ => _}) -> [supervisor:child_spec()].
children(Module, #{node := Node} = Config) ->
    Link = #{id => {link, Node}, start => {lariat_link, start_link, [Module, Node]}},
    case Config of
        #{command := _} ->
            Program = #{
                id => {program, Node},
                start => {lariat_edge_program, start_link, [Config]},
                shutdown => ?PROGRAM_SHUTDOWN_MS
            },
            %% The link first: it is there for every edge, so a second attach stops at it.
            [Link, Program];
        #{} ->
            [Link]
    end.
