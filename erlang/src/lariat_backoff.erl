%%% How long to wait before trying again: exponential, with jitter.
%%%
%%% Pure: randomness is an argument, and nobody sleeps here.
-module(lariat_backoff).

-export([delay_ms/3]).

%% @doc The pause before attempt `Attempt' (0 is the first retry), in milliseconds: between
%% half of and all of `MinMs * 2^Attempt', which is capped at `MaxMs'. `Random' is in [0, 1).
-spec delay_ms(non_neg_integer(), {MinMs :: pos_integer(), MaxMs :: pos_integer()}, float()) ->
    pos_integer().
delay_ms(Attempt, {MinMs, MaxMs}, Random) when MinMs =< MaxMs, Random >= 0, Random < 1 ->
    %% 30 doublings of a millisecond are 12 days; more would only build large numbers.
    Full = min(MaxMs, MinMs bsl min(Attempt, 30)),
    max(1, round(Full / 2 + Random * Full / 2)).
