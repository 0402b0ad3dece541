%%% Every declared counter counts, and only for itself.
-module(lariat_counters_test).

-include_lib("eunit/include/eunit.hrl").

each_counts_for_itself_test() ->
    ok = lariat_counters:create(),
    ok = lariat_counters:create(),
    [
        begin
            Before = lariat_counters:all(),
            ok = lariat_counters:add(Name, 3),
            ?assertEqual(maps:update_with(Name, fun(N) -> N + 3 end, Before), lariat_counters:all())
        end
     || {Name, _Help} <- lariat_counters:declared()
    ].
