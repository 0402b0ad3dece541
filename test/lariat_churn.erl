%%% Connections that come and go without end: what the edge occupies does not grow, and nobody is
%%% left over.
%%%
%%% Clients leave in turn and come back at once, lose their network for two seconds once a minute,
%%% and a few read slowly, while Erlang talks to all of them. Used by the suite at a small size and
%%% by the bench for ten minutes.
-module(lariat_churn).

-export([run/2, main/1]).
%% Called on the Erlang node.
-export([talk/2]).

-include_lib("stdlib/include/assert.hrl").

-import(lariat_site, [await/2, call/4, metric/2]).

-define(OPENED, <<"lariat_opened_total{transport=\"chunked\"}">>).

%% A port of a client that leaves rests a minute: so many addresses have ports for 3,000 a second.
%% Those of the first address are left to EPMD and to the questions for metrics.
-define(SOURCES, "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6,127.0.0.7,127.0.0.8,127.0.0.9").

%% One in so many reads slowly.
-define(SLOW_OF, 50).

%% Messages that Erlang sends in a millisecond.
-define(TALK_PER_MS, 1).

-type size() :: #{connections := pos_integer(), churn := pos_integer(),
                  %% It ends when this time is over and so many have come.
                  seconds := non_neg_integer(), opened := non_neg_integer()}.

%% @doc Runs so long; answers what was counted and sampled. Fails when anybody is left over.
-spec run(lariat_site:site(), size()) -> #{atom() => term()}.
run(Site, #{connections := Count, churn := Churn} = Size) ->
    #{node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_attached:attached(Site, "app", [Node]),
    Base = lariat_trend:descriptors(Edge),
    ErlangBase = lariat_trend:descriptors(App),
    Fresh = lariat_trend:anonymous_bytes(Edge),
    Load = lariat_load:start(maps:get(http, Edge), [
        "--connections", integer_to_list(Count), "--churn", integer_to_list(Churn),
        "--drop-every", "1m", "--drop-for", "2s", "--slow", integer_to_list(Count div ?SLOW_OF),
        "--slow-rate", "200", "--reset", "--sources", ?SOURCES,
        "--until-stdin-closes"
    ]),
    #{<<"open">> := Count} = lariat_load:heard(Load, <<"connected">>),
    Talker = call(App, ?MODULE, talk, [Count, ?TALK_PER_MS]),
    Samples = sampled(Edge, App, Size, erlang:monotonic_time(millisecond), []),
    true = call(App, erlang, exit, [Talker, kill]),
    Report = lariat_load:stop(Load),
    ?assertMatch(
        #{<<"ok">> := true, <<"misrouted">> := 0, <<"framing_errors">> := 0, <<"refused">> := 0,
            <<"connect_errors">> := 0, <<"opening_timeouts">> := 0},
        Report
    ),
    true = await(fun() -> call(App, lariat_picture, count, []) =:= 0 end, empty_picture),
    await(fun() -> metric(Edge, <<"lariat_connections{transport=\"chunked\"}">>) =:= 0 end, gone),
    Opened = metric(Edge, ?OPENED),
    ?assertEqual(Opened, closed(Edge)),
    await(fun() -> lariat_trend:descriptors(Edge) =:= Base end, descriptors_of_the_edge),
    await(fun() -> lariat_trend:descriptors(App) =:= ErlangBase end, descriptors_of_erlang),
    #{
        opened => Opened,
        returned => maps:get(<<"returned">>, Report),
        messages => maps:get(<<"messages">>, Report),
        descriptors => #{before => Base, 'after' => lariat_trend:descriptors(Edge)},
        fresh_bytes => Fresh,
        left_bytes => lariat_trend:anonymous_bytes(Edge),
        peak_bytes => lariat_trend:peak_bytes(Edge),
        samples => Samples
    }.

%% @doc For the bench: connections, how many leave in a second, seconds, directory.
-spec main([string()]) -> no_return().
main([Count, Churn, Seconds, Dir]) ->
    Site = lariat_site:start(Dir),
    Size = #{connections => list_to_integer(Count), churn => list_to_integer(Churn),
        seconds => list_to_integer(Seconds), opened => 0},
    {Samples, Result} = maps:take(samples, run(Site, Size)),
    lariat_site:stop(Site),
    Lines = [
        io_lib:format("~.1f ~b ~b ~b~n", [At, Bytes, Erlang, Open])
     || {At, #{edge := Bytes, erlang := Erlang, descriptors := Open}} <- Samples
    ],
    ok = file:write_file(filename:join(Dir, "churn.txt"), Lines),
    io:format("~0p~n", [maps:merge(Size, Result)]),
    _ = [slope(Name, Part, Samples) || Name <- [edge, erlang], Part <- [1, 2, 3]],
    halt(0).

%% By thirds: in the first, buffers and tables find the size that they keep.
slope(Name, Part, Samples) ->
    {Until, _} = lists:last(Samples),
    #{slope := Slope, error := Error, samples := N} = lariat_trend:slope([
        {At, maps:get(Name, Sample)}
     || {At, Sample} <- Samples, At >= Until * (Part - 1) / 3, At =< Until * Part / 3
    ]),
    io:format("~s, third ~b of 3: ~b bytes a minute, standard error ~b, by ~b means of 10 s~n",
        [Name, Part, round(Slope), round(Error), N]).

%% @doc Talks to everybody in turn, until it is killed.
-spec talk(pos_integer(), pos_integer()) -> pid().
talk(Count, PerMs) ->
    spawn(fun() -> talk(0, Count, PerMs, erlang:monotonic_time(millisecond)) end).

talk(Sent, Count, PerMs, Start) ->
    Due = (erlang:monotonic_time(millisecond) - Start) * PerMs,
    [say(N rem Count + 1) || N <- lists:seq(Sent, Due - 1)],
    receive after 5 -> talk(Due, Count, PerMs, Start) end.

say(Id) ->
    %% Who is away hears nothing, and a full link is no reason to send later what is due now.
    _ = lariat:send(Id, io_lib:format("m:~20..0b#~b;", [os:system_time(nanosecond), Id])).

%% A sample a second, while it lasts.
sampled(Edge, App, #{seconds := Seconds, opened := Least} = Size, Start, Samples) ->
    At = (erlang:monotonic_time(millisecond) - Start) / 1000,
    Sample = #{
        edge => lariat_trend:anonymous_bytes(Edge),
        erlang => lariat_trend:anonymous_bytes(App),
        descriptors => lariat_trend:descriptors(Edge)
    },
    case At >= Seconds andalso metric(Edge, ?OPENED) >= Least of
        true -> lists:reverse(Samples, [{At, Sample}]);
        false ->
            receive after 1000 -> sampled(Edge, App, Size, Start, [{At, Sample} | Samples]) end
    end.

closed(#{admin := Port}) ->
    {200, _, Body} = lariat_client:get(Port, "/metrics"),
    {match, Values} = re:run(Body, "\nlariat_closed_total\\{[^}]*\\} ([0-9]+)", [
        global, {capture, [1], list}
    ]),
    lists:sum([list_to_integer(Value) || [Value] <- Values]).
