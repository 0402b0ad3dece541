%%% Laws of the pauses: within their bounds, growing, and jittered.
-module(lariat_backoff_test).

-include_lib("eunit/include/eunit.hrl").

stays_between_half_and_all_of_the_doubled_pause_test() ->
    [
        begin
            Full = min(10000, 100 bsl Attempt),
            Low = lariat_backoff:delay_ms(Attempt, {100, 10000}, 0.0),
            High = lariat_backoff:delay_ms(Attempt, {100, 10000}, 0.999999),
            ?assertEqual(Full div 2, Low),
            ?assert(High > Low andalso High =< Full)
        end
     || Attempt <- lists:seq(0, 20)
    ].

never_grows_past_the_limit_nor_reaches_zero_test() ->
    ?assertEqual(5000, lariat_backoff:delay_ms(1000000, {100, 10000}, 0.0)),
    ?assertEqual(1, lariat_backoff:delay_ms(0, {1, 1}, 0.0)).
