%%% Slow readers among fast ones: nobody but them waits, and nobody but them loses anything.
%%%
%%% Erlang sends to all in turn as fast as its credit allows; the slow ones read a kilobyte a
%%% second. The load generator counts what the fast ones get, and how late. Used by the suite at a
%%% small size and by the bench at the full one.
-module(lariat_stragglers).

-export([edge/3, run/3, main/1]).
%% Called on the Erlang node.
-export([flood/3]).

-include_lib("stdlib/include/assert.hrl").

-import(lariat_site, [call/4, metric/2]).

%% How often the bench measures without and with one slow reader.
-define(PAIRS, 7).

%% The node is asked to send this long at a time, within the bound of the suites' calls.
-define(ROUNDS_AT_A_TIME, 20).

-define(QUANTILES, [latency_us_p50, latency_us_p99, latency_us_p999, latency_us_max]).

-type size() :: #{fast := pos_integer(), slow := non_neg_integer(), rounds := pos_integer(),
                  bytes := pos_integer()}.
-type policy() :: close | drop_oldest.

%% @doc An edge with this policy for outboxes that are full.
-spec edge(lariat_site:site(), string(), policy()) -> lariat_site:edge().
edge(#{dir := Dir} = Site, Name, Policy) ->
    File = filename:join(Dir, Name ++ ".toml"),
    ok = file:write_file(File, io_lib:format("[outbox]~nwhen_full = \"~s\"~n", [Policy])),
    lariat_site:edge(Site, Name, #{args => ["--config", File]}).

%% @doc So many messages to each; answers what the fast ones report. Fails when one of those is
%% missing, or comes twice, and when the slow ones were not too slow.
-spec run(lariat_site:edge(), lariat_site:erlang(), size()) -> #{atom() => term()}.
run(Edge, App, #{fast := Fast, slow := Slow, rounds := Rounds, bytes := Bytes}) ->
    Count = Fast + Slow,
    DroppedBefore = dropped(Edge),
    Load = lariat_load:start(maps:get(http, Edge), [
        "--connections", integer_to_list(Count), "--slow", integer_to_list(Slow),
        "--slow-rate", "1000", "--expect", integer_to_list(Fast * Rounds), "--timeout", "10m",
        "--reset", "--sources", "127.0.0.2"
    ]),
    #{<<"open">> := Count} = lariat_load:heard(Load, <<"connected">>),
    lariat_attached:seen(App, Count),
    {SentUs, _} = timer:tc(fun() -> sent(App, Count, Rounds, Bytes) end),
    Report = lariat_load:heard(Load, <<"report">>),
    ?assertMatch(
        #{<<"ok">> := true, <<"misrouted">> := 0, <<"framing_errors">> := 0,
            <<"closed_reset">> := 0, <<"closed_complete">> := 0, <<"closed_unfinished">> := 0},
        Report
    ),
    ?assertEqual(Fast * Rounds, maps:get(<<"messages">>, Report)),
    lariat_attached:seen(App, 0),
    Dropped = dropped(Edge) - DroppedBefore,
    ?assertEqual(Slow > 0, Dropped > 0),
    Latencies = [{Name, maps:get(atom_to_binary(Name), Report)} || Name <- ?QUANTILES],
    maps:merge(maps:from_list(Latencies), #{
        slow => Slow,
        fast_messages => maps:get(<<"messages">>, Report),
        sent_ms => SentUs div 1000,
        fast_per_second => round(maps:get(<<"messages_per_second">>, Report)),
        dropped_for_the_slow => Dropped,
        peak_bytes => lariat_trend:peak_bytes(Edge)
    }).

%% @doc For the bench: connections, messages to each, their bytes, directory. Without and with one
%% slow reader in turns, so often; then with a tenth of them slow. With both policies.
-spec main([string()]) -> no_return().
main([Connections, Rounds, Bytes, Dir]) ->
    Site = lariat_site:start(Dir),
    Count = list_to_integer(Connections),
    Size = #{rounds => list_to_integer(Rounds), bytes => list_to_integer(Bytes)},
    [
        begin
            Name = "lariat_" ++ atom_to_list(Policy),
            #{node := Node} = Edge = edge(Site, Name, Policy),
            App = lariat_attached:attached(Site, "app_" ++ atom_to_list(Policy), [Node]),
            Shown = fun(Fast, Slow) ->
                Result = run(Edge, App, Size#{fast => Fast, slow => Slow}),
                io:format("~s: ~0p~n", [Policy, Result]),
                maps:get(latency_us_p99, Result)
            end,
            Pairs = [{Shown(Count, 0), Shown(Count, 1)} || _ <- lists:seq(1, ?PAIRS)],
            _ = Shown(Count - Count div 10, Count div 10),
            moved(Policy, lists:unzip(Pairs)),
            0 = lariat_site:terminate(Edge)
        end
     || Policy <- [drop_oldest, close]
    ],
    lariat_site:stop(Site),
    halt(0).

%% What one slow reader does to the p99 of the others, beside what differs between two runs without
%% one: the median of the differences of all pairs of them.
moved(Policy, {Without, With}) ->
    Noise = [abs(A - B) || {N, A} <- lists:enumerate(Without), {M, B} <- lists:enumerate(Without), N < M],
    io:format(
        "~s: p99 of the fast, us: without ~w, with one slow ~w; medians ~b and ~b: moved by ~b, two "
        "runs without differ by ~b (median of ~b pairs)~n",
        [Policy, Without, With, median(Without), median(With), median(With) - median(Without),
            median(Noise), length(Noise)]
    ).

median(Numbers) ->
    lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).

%% @doc Sends so many messages to each of 1 to `Count', in turn, each of so many bytes at least.
-spec flood(pos_integer(), pos_integer(), non_neg_integer()) -> ok.
flood(Count, Rounds, Bytes) ->
    Padding = binary:copy(<<".">>, Bytes),
    _ = [say(Id, Padding) || _ <- lists:seq(1, Rounds), Id <- lists:seq(1, Count)],
    ok.

%% As a well-behaved sender does: a full link means later, not never. The stamp says when it was
%% meant to be sent.
say(Id, Padding) ->
    Stamp = io_lib:format("m:~20..0b#~b;", [os:system_time(nanosecond), Id]),
    sent(Id, [Stamp, Padding]).

sent(Id, Message) ->
    case lariat:send(Id, Message) of
        ok -> ok;
        {error, busy} -> erlang:yield(), sent(Id, Message)
    end.

sent(_, _, 0, _) ->
    ok;
sent(App, Count, Rounds, Bytes) ->
    Now = min(Rounds, ?ROUNDS_AT_A_TIME),
    ok = call(App, ?MODULE, flood, [Count, Now, Bytes]),
    sent(App, Count, Rounds - Now, Bytes).

dropped(Edge) ->
    lists:sum([
        metric(Edge, <<"lariat_messages_dropped_total{reason=\"", Reason/binary, "\"}">>)
     || Reason <- [<<"outbox_full">>, <<"drop_oldest">>]
    ]).
