%%% The whole program under load, at a small size: what `scripts/bench' shows at the full one.
%%%
%%% All counts are exact, and nothing is timed.
-module(lariat_crowd_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_broadcast_reaches_each_once_on_several_edges/1,
    slow_readers_cost_nobody_a_message/1,
    all_clients_return_at_once/1,
    all_return_to_an_edge_that_was_killed/1,
    who_comes_and_goes_leaves_nothing/1
]).

all() ->
    [
        a_broadcast_reaches_each_once_on_several_edges,
        slow_readers_cost_nobody_a_message,
        all_clients_return_at_once,
        all_return_to_an_edge_that_was_killed,
        who_comes_and_goes_leaves_nothing
    ].

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_testcase(_, Config) ->
    [{site, lariat_site:start(proplists:get_value(priv_dir, Config))} | Config].

end_per_testcase(_, Config) ->
    lariat_site:stop(site(Config)).

a_broadcast_reaches_each_once_on_several_edges(Config) ->
    ?assertMatch(#{streams := 900}, lariat_crowd:run(site(Config), #{edges => 3, each => 300})).

%% Two of twenty are too slow for what they are sent, which the sockets alone could not hold.
slow_readers_cost_nobody_a_message(Config) ->
    Size = #{fast => 18, slow => 2, rounds => 400, bytes => 30000},
    _ = [
        begin
            Edge = lariat_stragglers:edge(site(Config), atom_to_list(Policy), Policy),
            App = lariat_attached:attached(
                site(Config), "app_" ++ atom_to_list(Policy), [maps:get(node, Edge)]
            ),
            ?assertMatch(#{fast_messages := 7200}, lariat_stragglers:run(Edge, App, Size))
        end
     || Policy <- [drop_oldest, close]
    ].

all_clients_return_at_once(Config) ->
    #{node := Node} = Edge = lariat_site:edge(site(Config), "lariat"),
    App = lariat_attached:attached(site(Config), "app", [Node]),
    ?assertMatch(#{streams := 500}, lariat_storm:clients(Edge, App, 500)).

all_return_to_an_edge_that_was_killed(Config) ->
    ?assertMatch(#{streams := 500}, lariat_storm:edge(site(Config), 500)).

who_comes_and_goes_leaves_nothing(Config) ->
    Size = #{connections => 100, churn => 200, seconds => 0, opened => 600},
    ?assertMatch(#{messages := _}, lariat_churn:run(site(Config), Size)).

site(Config) ->
    proplists:get_value(site, Config).
