%%% The router with processes as receivers, on this node: no edge needed. With edges:
%%% lariat_link_test.
-module(lariat_router_test).

-include_lib("eunit/include/eunit.hrl").

logins_test_() ->
    {setup, fun start/0, fun stop/1, [
        {timeout, 120, Case}
     || Case <- [
            fun a_process_gets_the_message_itself/0,
            fun under_each_id_once/0,
            fun options_make_events/0,
            fun a_dead_process_is_gone/0,
            fun logout_is_final/0,
            fun logins_survive_a_crash_of_their_server/0,
            fun logins_are_limited/0,
            fun a_process_far_away_answers_noconnection/0,
            fun calls_and_closes_reach_processes/0,
            fun mistakes_are_loud/0,
            fun strays_are_counted/0
        ]
    ]}.

start() ->
    %% One case kills a server, and its supervisor would report that.
    ok = logger:set_primary_config(level, none),
    {ok, Supervisor} = lariat_sup:start_link(),
    Supervisor.

stop(Supervisor) ->
    unlink(Supervisor),
    Monitor = erlang:monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end,
    ok = logger:set_primary_config(level, notice).

a_process_gets_the_message_itself() ->
    ok = lariat_router:login(1, self()),
    ok = lariat_router:login(1, self()),
    ok = lariat:send(1, ["a", <<"b">>]),
    ?assertEqual([<<"ab">>], heard()),
    ok = lariat:logout(self()).

under_each_id_once() ->
    ok = lariat_router:login(1, self()),
    ok = lariat_router:login(2, self()),
    ?assertEqual({ok, 3}, lariat_router:send([1, 2, 1], "x", #{})),
    ?assertEqual([<<"x">>, <<"x">>, <<"x">>], heard()),
    ?assertEqual({ok, 2}, lariat_router:publish(1, [1, 2, 3], "x", #{})),
    ?assertEqual([<<"x">>, <<"x">>], heard()),
    ?assertEqual([{1, self()}, {2, self()}], lariat_router:connections()),
    ok = lariat:logout(self()).

options_make_events() ->
    ok = lariat_router:login(1, self()),
    ok = lariat:send(1, "x", #{event => "e", id => "9"}),
    ?assertEqual([{event, <<"e">>, <<"9">>, <<"x">>}], heard()),
    ok = lariat:logout(self()).

a_dead_process_is_gone() ->
    {Pid, Monitor} = spawn_monitor(fun() -> receive stop -> ok end end),
    ok = lariat:login(1, Pid),
    ?assertEqual([Pid], lariat:connections(1)),
    Pid ! stop,
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end,
    lariat_test_nodes:await(fun() -> lariat:connections(1) =:= [] end),
    %% Logging in too late is no error: the monitor says at once that it is gone.
    ok = lariat:login(1, Pid),
    lariat_test_nodes:await(fun() -> lariat_router:count() =:= 0 end).

logout_is_final() ->
    ok = lariat:login(1, self()),
    ok = lariat:login(2, self()),
    ok = lariat:logout(self()),
    ok = lariat:logout(self()),
    ok = lariat:send([1, 2], "x"),
    ?assertEqual([], heard()),
    ?assertEqual(0, lariat_router:count()).

logins_survive_a_crash_of_their_server() ->
    Pid = spawn(fun() -> receive stop -> ok end end),
    ok = lariat:login(1, Pid),
    Server = whereis(lariat_logins),
    exit(Server, kill),
    ?assertEqual([Pid], lariat:connections(1)),
    lariat_test_nodes:await(fun() ->
        is_pid(whereis(lariat_logins)) andalso whereis(lariat_logins) =/= Server
    end),
    Pid ! stop,
    lariat_test_nodes:await(fun() -> lariat:connections(1) =:= [] end).

logins_are_limited() ->
    application:set_env(lariat, logins_max, 1),
    ok = lariat:login(1, self()),
    ok = lariat:login(2, self()),
    Pid = spawn(fun() -> receive stop -> ok end end),
    ?assertEqual({error, logins_limit}, lariat:login(1, Pid)),
    ok = lariat:logout(self()),
    ok = lariat:login(1, Pid),
    ok = lariat:logout(Pid),
    application:unset_env(lariat, logins_max),
    Pid ! stop.

%% Not through login/2, whose monitor would notice at once.
a_process_far_away_answers_noconnection() ->
    Far = binary_to_term(<<131, 88, 119, 3, "f@h", 1:32, 0:32, 1:32>>),
    ok = lariat_picture:put(process, Far, 5, 0),
    ok = lariat:login(6, self()),
    ?assertEqual({error, noconnection}, lariat:send(5, "x")),
    ?assertEqual({error, {partial, [{Far, noconnection}]}}, lariat:send([5, 6], "x")),
    ?assertEqual([<<"x">>], heard()),
    true = lariat_picture:drop(process, Far, 5),
    ok = lariat:logout(self()).

calls_and_closes_reach_processes() ->
    ok = lariat:login(1, self()),
    ?assertEqual({ok, 1}, lariat:call(1, "x")),
    ?assertEqual({ok, 1}, lariat:close(1, bye)),
    ?assertEqual([<<"x">>, {close, bye}], heard()),
    ok = lariat:logout(self()).

mistakes_are_loud() ->
    ?assertError({bad_message, hello}, lariat:send(1, hello)),
    ?assertError({bad_message, hello}, lariat:call(1, hello)),
    ?assertError({bad_id, "alice"}, lariat:login("alice", self())),
    ?assertError({bad_id, "alice"}, lariat_router:publish("alice", [], "x", #{})),
    ?assertError({bad_option, {evnt, "x"}}, lariat:send(1, "x", #{evnt => "x"})),
    TooLarge = <<0:(33 * 1024 * 1024 * 8)>>,
    ?assertEqual({error, too_large}, lariat:send(1, TooLarge)),
    ?assertEqual({error, too_large}, lariat:call(1, TooLarge)).

strays_are_counted() ->
    Before = maps:get(strays, lariat_counters:all()),
    lariat_logins ! what_is_this,
    gen_server:cast(lariat_logins, what_is_this),
    ok = lariat:logout(self()),
    ?assertEqual(Before + 2, maps:get(strays, lariat_counters:all())).

heard() ->
    receive
        Message -> [Message | heard()]
    after 0 -> []
    end.
