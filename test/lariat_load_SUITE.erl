%%% The load generator against the real program: what it says of clients that leave, return and read
%%% slowly is what the node and Erlang saw.
-module(lariat_load_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([storm_of_several_processes/1, slow_readers_hold_nobody_up/1]).

-import(lariat_load, [heard/2]).
-import(lariat_site, [await/2, call/4]).

-define(CONNECTIONS, 600).

all() ->
    [storm_of_several_processes, slow_readers_hold_nobody_up].

suite() ->
    [{timetrap, {minutes, 3}}].

init_per_testcase(_, Config) ->
    Site = lariat_site:start(proplists:get_value(priv_dir, Config)),
    Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:erlang(Site, "app", [maps:get(node, Edge)]),
    [{site, Site}, {edge, Edge}, {app, App} | Config].

end_per_testcase(_, Config) ->
    lariat_site:stop(proplists:get_value(site, Config)).

%% Two processes hold 600 connections; all are cut, all come back, and each gets what is sent then.
storm_of_several_processes(Config) ->
    Edge = proplists:get_value(edge, Config),
    App = proplists:get_value(app, Config),
    Load = load(Edge, ["--processes", "2", "--storm-at", "100ms", "--expect",
        integer_to_list(?CONNECTIONS)]),
    #{<<"open">> := ?CONNECTIONS} = heard(Load, <<"connected">>),
    Storm = heard(Load, <<"storm">>),
    ?assertMatch(
        #{<<"cut">> := ?CONNECTIONS, <<"back">> := ?CONNECTIONS, <<"errors">> := 0}, Storm
    ),
    Node = maps:get(node, Edge),
    _ = [call(App, erlang, send, [{any, Node}, {Id, message(Id)}])
         || Id <- lists:seq(1, ?CONNECTIONS)],
    Report = heard(Load, <<"report">>),
    ?assertMatch(
        #{<<"ok">> := true, <<"processes">> := 2, <<"messages">> := ?CONNECTIONS,
            <<"misrouted">> := 0, <<"left">> := ?CONNECTIONS, <<"returned">> := ?CONNECTIONS},
        Report
    ),
    %% Erlang saw each of them come twice, and all go in the end.
    true = await(fun() -> call(App, lariat_picture, count, []) =:= 0 end, empty_picture),
    Opened = <<"lariat_opened_total{transport=\"chunked\"}">>,
    ?assertEqual(2 * ?CONNECTIONS, lariat_site:metric(Edge, Opened)).

%% Readers of 500 bytes a second get 100 KB each: the others have all of theirs while those still
%% read.
slow_readers_hold_nobody_up(Config) ->
    Edge = proplists:get_value(edge, Config),
    App = proplists:get_value(app, Config),
    Load = load(Edge, ["--slow", "60", "--slow-rate", "500", "--expect",
        integer_to_list((?CONNECTIONS - 60) * 10), "--timeout", "50s"]),
    #{<<"open">> := ?CONNECTIONS} = heard(Load, <<"connected">>),
    Full = fun() -> call(App, lariat_picture, count, []) =:= ?CONNECTIONS end,
    true = await(Full, all_in_the_picture),
    Payload = binary:copy(<<"x">>, 10000),
    Node = maps:get(node, Edge),
    Ids = lists:seq(1, ?CONNECTIONS),
    _ = [call(App, erlang, send, [{any, Node}, {Ids, Payload}]) || _ <- lists:seq(1, 10)],
    Report = heard(Load, <<"report">>),
    ?assertMatch(#{<<"ok">> := true, <<"slow">> := #{<<"connections">> := 60}}, Report),
    #{<<"slow">> := #{<<"read_bytes">> := Read}, <<"total_seconds">> := Seconds} = Report,
    %% What each may have read in that time, and the read that it begins with.
    ?assert(Read =< 60 * (500 * Seconds + 25)).

message(Id) ->
    iolist_to_binary(io_lib:format("m:~20..0b#~b;", [os:system_time(nanosecond), Id])).

load(#{http := Http}, Args) ->
    lariat_load:start(Http, ["--connections", integer_to_list(?CONNECTIONS) | Args]).
