%%% The short way of the router and the general one: whatever the picture, what is sent to one id by
%%% the one is sent by the other, with the same answer and the same counters.
%%%
%%% An id that is nowhere makes a list of two that takes the general way, and changes nothing else.
%%% This module stands in for the edges.
-module(lariat_router_ways_test).

-include_lib("eunit/include/eunit.hrl").

%% lariat_edge, as far as it is needed here.
-export([send/5]).

-define(NOWHERE, {nobody, has, this}).

ways_test_() ->
    {setup, fun start/0, fun stop/1, [
        {timeout, 600, Case}
     || Case <- [
            fun one_edge/0,
            fun one_edge_that_fails/0,
            fun credit/0,
            fun nobody/0,
            fun several_edges_and_processes/0,
            fun mistakes/0,
            fun whatever_the_picture/0
        ]
    ]}.

start() ->
    {ok, Supervisor} = lariat_sup:start_link(),
    Supervisor.

stop(Supervisor) ->
    unlink(Supervisor),
    Monitor = erlang:monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.

%% The edges' names say how they are.
send(Edge, Ids, Payload, Options, How) ->
    self() ! {Edge, Ids, Payload, Options, How},
    case Edge of
        busy -> {error, busy};
        away -> {error, noconnection};
        strict -> {error, badarg};
        _ -> ok
    end.

one_edge() ->
    Picture = #{rows => [{well, 1}, {well, 1}, {other, 2}]},
    ?assertMatch({{ok, 2}, [{well, [1], <<"x">>, #{}, plain}], _}, same(Picture, 1, "x", #{})),
    {_, _, Counters} = same(Picture, 1, {binary, "x"}, #{event => "e"}),
    ?assertEqual(#{messages_sent => 1, receivers_addressed => 2}, Counters).

one_edge_that_fails() ->
    [
        ?assertMatch(
            {{error, Reason}, Told, #{Counter := 1}} when length(Told) =:= length(Asked),
            same(#{rows => [{Edge, 1}]}, 1, "x", #{})
        )
     || {Edge, Reason, Counter, Asked} <- [
            {busy, busy, sends_busy, [busy]},
            {away, noconnection, sends_noconnection, [away]},
            {strict, badarg, sends_failed, [strict]},
            %% Has rows, and no link that says how it is.
            {unknown, noconnection, sends_noconnection, []}
        ]
    ].

credit() ->
    Picture = #{rows => [{credited, 1}]},
    ?assertMatch({{ok, 1}, [{credited, [1], _, _, credited}], _}, same(Picture, 1, "x", #{})),
    {{error, busy}, [], Counters} = same(Picture#{taken => 1000}, 1, "x", #{}),
    ?assertEqual(#{sends_busy => 1, sends_out_of_credit => 1}, Counters).

nobody() ->
    ?assertEqual({{ok, 0}, [], #{sends_nobody => 1}}, same(#{rows => []}, 1, "x", #{})),
    Missing = #{rows => [], states => #{well => syncing}},
    ?assertMatch({{error, noconnection}, [], #{sends_nobody := 1}}, same(Missing, 1, "x", #{})),
    %% Numbers that are equal, and not the same id.
    ?assertMatch({{ok, 0}, [], _}, same(#{rows => [{well, 1}]}, 1.0, "x", #{})).

several_edges_and_processes() ->
    Both = #{rows => [{well, 1}, {busy, 1}, {busy, 1}]},
    ?assertMatch({{error, {partial, [{busy, busy}]}}, [_, _], _}, same(Both, 1, "x", #{})),
    Alone = #{rows => [{process, 1}]},
    ?assertMatch({{ok, 1}, [{event, <<"e">>, <<"x">>}], _}, same(Alone, 1, "x", #{event => "e"})),
    ?assertMatch({{ok, 2}, [_, _], _}, same(#{rows => [{process, 1}, {well, 1}]}, 1, "x", #{})).

%% Before anything is looked up.
mistakes() ->
    [
        ?assertError(Mistake, lariat_router:send(Ids, Msg, Options))
     || {Msg, Options, Mistake} <- [
            {hello, #{}, {bad_message, hello}},
            {"x", #{evnt => "x"}, {bad_option, {evnt, "x"}}},
            {"x", #{event => "a\nb"}, {bad_option, {event, "a\nb"}}}
        ],
        Ids <- [1, [1], [1, ?NOWHERE]]
    ],
    TooLarge = <<0:(33 * 1024 * 1024 * 8)>>,
    ?assertEqual({{error, too_large}, [], #{}}, same(#{rows => [{well, 1}]}, 1, TooLarge, #{})).

%% The law, over random pictures.
whatever_the_picture() ->
    Seed = erlang:system_time(),
    _ = rand:seed(exsss, Seed),
    try
        [
            same(random_picture(), any(ids()), any(["x", <<"xyz">>, {binary, "x"}]), any_options())
         || _ <- lists:seq(1, 2000)
        ]
    catch
        Class:Reason:Stack ->
            io:format(user, "~nseed ~p~n", [Seed]),
            erlang:raise(Class, Reason, Stack)
    end.

random_picture() ->
    #{
        rows => [{any(edges()), any(ids())} || _ <- lists:seq(1, rand:uniform(8) - 1)],
        states => maps:from_list([{Edge, any([up, up, up, down])} || Edge <- known_edges()]),
        taken => any([0, 50, 1000])
    }.

any_options() -> any([#{}, #{}, #{event => <<"e">>}, #{id => "1"}]).

edges() -> [process, unknown | known_edges()].

known_edges() -> [well, other, busy, away, strict, credited].

ids() -> [1, 1.0, a, '_', <<"alice">>, {user, 1}, self()].

any(List) -> lists:nth(rand:uniform(length(List)), List).

%% What the one way and the other do: answer, what was told to whom, and what was counted.
same(Picture, Id, Msg, Options) ->
    Short = in(Picture, fun() -> lariat_router:send(Id, Msg, Options) end),
    OfOne = in(Picture, fun() -> lariat_router:send([Id], Msg, Options) end),
    Published = in(Picture, fun() -> lariat_router:publish(Id, [], Msg, Options) end),
    General = in(Picture, fun() -> lariat_router:send([Id, ?NOWHERE], Msg, Options) end),
    ?assertEqual(General, Short),
    ?assertEqual(General, OfOne),
    ?assertEqual(General, Published),
    Short.

in(#{rows := Rows} = Picture, Send) ->
    States = maps:get(states, Picture, #{}),
    Credit = lariat_credit:new(100),
    Taken = maps:get(taken, Picture, 0),
    _ = Taken > 0 andalso lariat_credit:take(Credit, Taken),
    [
        lariat_picture:set_edge(Edge, #{
            module => ?MODULE,
            state => maps:get(Edge, States, up),
            epoch => 1,
            credit => case Edge of credited -> Credit; _ -> none end
        })
     || Edge <- known_edges()
    ],
    Numbered = lists:zip(lists:seq(1, length(Rows)), Rows),
    [lariat_picture:put(Edge, conn(Edge, N), Id, 1) || {N, {Edge, Id}} <- Numbered],
    Before = lariat_counters:all(),
    Answer = Send(),
    After = lariat_counters:all(),
    [lariat_picture:drop_edge(Edge) || Edge <- [unknown | known_edges()]],
    _ = lariat_picture:forget(process),
    Counted = [{Name, N - maps:get(Name, Before)} || {Name, N} <- maps:to_list(After)],
    {Answer, heard(), maps:from_list([Count || {_, N} = Count <- Counted, N > 0])}.

conn(process, _) -> self();
conn(Edge, N) -> {lariat_conn, Edge, N, 7}.

heard() ->
    receive
        Message -> [Message | heard()]
    after 0 -> []
    end.
