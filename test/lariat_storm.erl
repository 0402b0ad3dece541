%%% A storm: all clients are cut at once and come back as fast as they are taken.
%%%
%%% First the clients lose their network; then the edge is killed and started again, at the same
%%% address. Afterwards everybody is there, Erlang knows exactly who, and a broadcast reaches each
%%% once. Used by the suite at a small size and by the bench at the full one.
-module(lariat_storm).

-export([clients/3, edge/2, main/1]).

-include_lib("stdlib/include/assert.hrl").

-import(lariat_site, [await/2, call/4, metric/2]).

%% One address has ports for 28,000, and what clients close rests a minute (TIME_WAIT). Those of
%% the first address are left to EPMD and to the questions for metrics.
-define(SOURCES, "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6,127.0.0.7,127.0.0.8,127.0.0.9").

%% @doc All clients are cut by themselves; answers what was measured.
-spec clients(lariat_site:edge(), lariat_site:erlang(), pos_integer()) -> #{atom() => term()}.
clients(Edge, App, Count) ->
    Load = load(Edge, Count, ["--storm-at", "1s"]),
    #{<<"open">> := Count, <<"seconds">> := First} = lariat_load:heard(Load, <<"connected">>),
    PeakBefore = lariat_trend:peak_bytes(Edge),
    #{<<"all_back_seconds">> := Seconds} = Storm = lariat_load:heard(Load, <<"storm">>),
    ?assertMatch(#{<<"cut">> := Count, <<"back">> := Count, <<"errors">> := 0}, Storm),
    Here = now_ms(),
    known(App, Edge, Count),
    Known = now_ms(),
    lariat_crowd:exact(App, Edge, lists:seq(1, Count)),
    Report = told(App, Load, Count),
    ?assertMatch(
        #{<<"left">> := Count, <<"returned">> := Count, <<"connect_errors">> := 0,
            <<"opening_timeouts">> := 0},
        Report
    ),
    #{
        streams => Count,
        connected_first_ms => round(1000 * First),
        all_back_ms => round(1000 * Seconds),
        in_the_picture_after_ms => Known - Here,
        refused_503 => maps:get(<<"refused_503">>, Storm),
        back_p50_ms => round(1000 * maps:get(<<"back_seconds_p50">>, Storm)),
        peak_before_bytes => PeakBefore,
        peak_bytes => lariat_trend:peak_bytes(Edge)
    }.

%% @doc The edge is killed, and another takes its place; answers what was measured.
-spec edge(lariat_site:site(), pos_integer()) -> #{atom() => term()}.
edge(Site, Count) ->
    Options = #{http => lariat_site:free_port()},
    First = lariat_site:edge(Site, "killed", Options),
    #{node := Node} = First,
    App = lariat_attached:attached(Site, "app_of_killed", [Node]),
    Load = load(First, Count, ["--come-back"]),
    #{<<"open">> := Count} = lariat_load:heard(Load, <<"connected">>),
    known(App, First, Count),
    PeakBefore = lariat_trend:peak_bytes(First),
    Killed = now_ms(),
    ok = lariat_site:kill(First),
    Second = lariat_site:edge(Site, "killed", Options),
    Started = now_ms(),
    Connections = fun() -> metric(Second, <<"lariat_connections{transport=\"chunked\"}">>) end,
    await(fun() -> Connections() =:= Count end, all_back),
    Back = now_ms(),
    known(App, Second, Count),
    Known = now_ms(),
    lariat_crowd:exact(App, Second, lists:seq(1, Count)),
    Report = told(App, Load, Count),
    ?assertMatch(#{<<"left">> := 0, <<"returned">> := Count, <<"opening_timeouts">> := 0}, Report),
    #{
        streams => Count,
        started_again_ms => Started - Killed,
        all_back_ms => Back - Killed,
        in_the_picture_ms => Known - Killed,
        %% Tries before it listened: the port is closed, or closes with them in its queue, which
        %% resets them.
        connect_errors => maps:get(<<"connect_errors">>, Report),
        resets => maps:get(<<"closed_reset">>, Report),
        refused => maps:get(<<"refused">>, Report),
        peak_before_bytes => PeakBefore,
        peak_bytes => lariat_trend:peak_bytes(Second)
    }.

%% @doc For the bench: streams, directory.
-spec main([string()]) -> no_return().
main([Streams, Dir]) ->
    Count = list_to_integer(Streams),
    Site = lariat_site:start(Dir),
    #{node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_attached:attached(Site, "app", [Node]),
    io:format("clients cut: ~p~n", [clients(Edge, App, Count)]),
    0 = lariat_site:terminate(Edge),
    io:format("edge killed: ~p~n", [edge(Site, Count)]),
    lariat_site:stop(Site),
    halt(0).

known(App, #{node := Node}, Count) ->
    await(
        fun() ->
            #{edges := #{Node := Row}} = call(App, lariat, info, []),
            #{state := State, connections := N} = Row,
            State =:= up andalso N =:= Count
        end,
        {in_the_picture, Count}
    ).

%% One copy to each, and no more: the load generator waits for another.
told(App, Load, Count) ->
    _ = call(App, lariat_crowd, broadcast, [<<"after the storm">>]),
    #{<<"messages">> := Count} = lariat_load:heard(Load, <<"expected">>),
    Report = lariat_load:heard(Load, <<"report">>),
    ?assertMatch(#{<<"ok">> := true, <<"framing_errors">> := 0, <<"open">> := Count}, Report),
    lariat_attached:seen(App, 0),
    Report.

load(#{http := Http}, Count, Args) ->
    lariat_load:start(Http, [
        "--connections", integer_to_list(Count), "--expect", integer_to_list(Count),
        "--timeout", "10m", "--reset", "--sources", ?SOURCES | Args
    ]).

now_ms() ->
    erlang:monotonic_time(millisecond).
