%%% An Erlang node with the application, and one edge that it is attached to: a hidden node, or one in
%%% its own VM.
%%%
%%% For suites about what `lariat' and handlers promise: their cases run in the groups `node' and
%%% `nif', and ask here for what differs. The edge in the VM runs on a node that is not distributed, and needs no
%%% EPMD. What is about the distribution protocol, or about several Erlang nodes, has an edge of its own
%%% (`lariat_site').
-module(lariat_pair).

-include_lib("common_test/include/ct.hrl").

-export([all/0, groups/2, init_group/2, init_case/1, end_case/1]).
-export([start/2, again/2, started_again/1]).
-export([metric/2, command/3, log/1]).

-export_type([edge/0, pair/0, options/0]).

-type edge() :: #{kind := node | nif, name := atom(), http := inet:port_number(), _ => _}.
-type pair() :: {edge(), lariat_site:erlang()}.
-type options() :: #{
    %% Keys of [http], whole tables of routes, and what else is in the file: both kinds read the same.
    http => iodata(), routes => [iodata()], more => iodata(),
    %% Of the application.
    environment => [{atom(), term()}]
}.

%% What the edge in the VM is called.
-define(NAME, edge_in_the_vm).

all() ->
    [{group, node}, {group, nif}].

%% @doc The cases that hold for both, and those that only a hidden node can have.
-spec groups([atom()], [atom()]) -> [{node | nif, [], [atom()]}].
groups(Both, NodeAlone) ->
    [{node, [], Both ++ NodeAlone}, {nif, [], Both}].

-spec init_group(node | nif, [term()]) -> [term()].
init_group(Kind, Config) ->
    [{edge, Kind} | Config].

-spec init_case([term()]) -> [term()].
init_case(Config) ->
    Dir = ?config(priv_dir, Config),
    Site =
        case ?config(edge, Config) of
            node -> lariat_site:start(Dir);
            nif -> lariat_site:start_alone(Dir)
        end,
    [{site, Site} | Config].

-spec end_case([term()]) -> ok.
end_case(Config) ->
    lariat_site:stop(?config(site, Config)).

%% @doc The two, and the edge is up.
-spec start([term()], options()) -> pair().
start(Config, Options) ->
    #{dir := Dir} = Site = ?config(site, Config),
    File = filename:join(Dir, "lariat.toml"),
    ok = file:write_file(File, [
        "shards = 2\n[http]\nlisten = [\"127.0.0.1:0\"]\n", maps:get(http, Options, ""),
        [["[[http.route]]\n", Route] || Route <- maps:get(routes, Options, [])],
        maps:get(more, Options, "")
    ]),
    Environment = maps:get(environment, Options, []),
    case ?config(edge, Config) of
        node ->
            #{node := Node} = Edge = lariat_site:edge(Site, "lariat", #{args => ["--config", File]}),
            App = lariat_attached:attached(Site, "app", [Node], Environment),
            {Edge#{kind => node, name => Node}, App};
        nif ->
            InVm = #{nif => ?NAME, config => File},
            App = lariat_site:erlang(Site, "app", [InVm], Environment),
            {found(App), App}
    end.

%% @doc The application is stopped and started, with more in its environment; an edge in the VM is
%% another one afterwards.
-spec again(pair(), [{atom(), term()}]) -> pair().
again({Edge, App}, Environment) ->
    ok = lariat_site:call(App, application, stop, [lariat]),
    _ = [
        ok = lariat_site:call(App, application, set_env, [lariat, Key, Value])
     || {Key, Value} <- Environment
    ],
    started_again({Edge, App}).

%% @doc The application was stopped.
-spec started_again(pair()) -> pair().
started_again({Edge, App}) ->
    ok = lariat_site:call(App, application, start, [lariat]),
    case Edge of
        #{kind := node, name := Name} ->
            true = lariat_attached:up(App, Name),
            {Edge, App};
        #{kind := nif} ->
            {found(App), App}
    end.

found(App) ->
    true = lariat_attached:up(App, ?NAME),
    {ok, #{http_addresses := [Address]}} = lariat_site:call(App, lariat, info, [?NAME]),
    [_, Port] = binary:split(Address, <<":">>),
    #{kind => nif, name => ?NAME, app => App, http => binary_to_integer(Port)}.

%% @doc The value of a metric, as `lariat_site:metric/2' has it.
-spec metric(edge(), binary()) -> number().
metric(#{kind := node} = Edge, Name) ->
    lariat_site:metric(Edge, Name);
metric(#{kind := nif, app := App, name := Edge}, Name) ->
    lariat_site:value(lariat_site:call(App, lariat_edge_nif, metrics, [Edge]), Name).

%% @doc What the edge answers to a command of the wire.
-spec command(pair(), lariat_wire:command(), timeout()) -> term().
command({#{name := Edge}, App}, Command, TimeoutMs) ->
    lariat_site:call(App, lariat_edge, call, [Edge, Command, TimeoutMs]).

%% @doc What the edge has logged so far.
-spec log(edge()) -> [binary()].
log(#{kind := node} = Edge) -> lariat_site:log(Edge);
log(#{kind := nif, app := App}) -> lariat_site:log(App).
