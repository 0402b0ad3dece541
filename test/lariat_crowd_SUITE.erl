%%% The whole program under load, at a small size: what `scripts/bench' shows at the full one.
%%%
%%% All counts are exact, and nothing is timed.
-module(lariat_crowd_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_broadcast_reaches_each_once_on_several_edges/1
]).

all() ->
    [
        a_broadcast_reaches_each_once_on_several_edges
    ].

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_testcase(_, Config) ->
    [{site, lariat_site:start(proplists:get_value(priv_dir, Config))} | Config].

end_per_testcase(_, Config) ->
    lariat_site:stop(site(Config)).

a_broadcast_reaches_each_once_on_several_edges(Config) ->
    ?assertMatch(#{streams := 900}, lariat_crowd:run(site(Config), #{edges => 3, each => 300})).

site(Config) ->
    proplists:get_value(site, Config).
