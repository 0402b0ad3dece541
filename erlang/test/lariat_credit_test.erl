%%% Credit as senders and the link see it, alone and all at once.
-module(lariat_credit_test).

-include_lib("eunit/include/eunit.hrl").

without_credit_sends_are_plain_test() ->
    ?assertEqual(plain, lariat_credit:take(none, 1)),
    ?assertEqual(busy, lariat_credit:take(closed, 1)),
    ?assertEqual(ok, lariat_credit:acked(none, 5)),
    ?assertEqual(0, lariat_credit:outstanding(closed)).

the_window_is_the_end_test() ->
    Credit = lariat_credit:new(100),
    ?assertEqual(credited, take_and_send(Credit, 60)),
    ?assertEqual(busy, lariat_credit:take(Credit, 41)),
    ?assertEqual(credited, take_and_send(Credit, 40)),
    ?assertEqual(busy, lariat_credit:take(Credit, 1)),
    ok = lariat_credit:acked(Credit, 1),
    ?assertEqual(credited, lariat_credit:take(Credit, 1)),
    ok = lariat_credit:give_back(Credit, 1),
    ?assertEqual(#{outstanding => 99, window => 100}, lariat_credit:info(Credit)).

a_message_above_the_window_goes_alone_test() ->
    Credit = lariat_credit:new(100),
    ?assertEqual(credited, take_and_send(Credit, 500)),
    ?assertEqual(busy, lariat_credit:take(Credit, 500)),
    ?assertEqual(busy, lariat_credit:take(Credit, 1)),
    ok = lariat_credit:acked(Credit, 500),
    ?assertEqual(credited, take_and_send(Credit, 1)),
    ?assertEqual(busy, lariat_credit:take(Credit, 500)).

the_environment_may_want_less_test() ->
    ok = application:set_env(lariat, credit_bytes, 50),
    try
        ?assertMatch(#{window := 50}, lariat_credit:info(lariat_credit:new(100))),
        ?assertMatch(#{window := 20}, lariat_credit:info(lariat_credit:new(20))),
        ok = application:set_env(lariat, credit_bytes, lots),
        ?assertError({bad_credit_bytes, lots}, lariat_credit:new(100))
    after
        application:unset_env(lariat, credit_bytes)
    end.

nothing_is_taken_of_a_closed_credit_and_its_senders_are_awaited_test_() ->
    {timeout, 120, fun nothing_is_taken_of_a_closed_credit_and_its_senders_are_awaited/0}.

nothing_is_taken_of_a_closed_credit_and_its_senders_are_awaited() ->
    Credit = lariat_credit:new(100),
    credited = lariat_credit:take(Credit, 10),
    ok = lariat_credit:close(Credit),
    ?assertEqual(busy, lariat_credit:take(Credit, 1)),
    ?assertEqual(busy, lariat_credit:take(Credit, 1 bsl 40)),
    Self = self(),
    Waiter = spawn_link(fun() -> lariat_credit:await_senders(Credit), Self ! {self(), over} end),
    receive
        {Waiter, over} -> error(too_early)
    after 50 -> ok
    end,
    ok = lariat_credit:sent(Credit),
    receive
        {Waiter, over} -> ok
    after 60000 -> error(still_waiting)
    end.

%% One that was killed is not waited for for ever.
a_sender_that_never_sends_is_given_up_test_() ->
    {timeout, 120, fun() ->
        Credit = lariat_credit:new(100),
        credited = lariat_credit:take(Credit, 10),
        ok = lariat_credit:close(Credit),
        ?assertEqual(ok, lariat_credit:await_senders(Credit))
    end}.

%% The law: however many take at once, the window is never passed, and all comes back.
many_senders_never_pass_the_window_test_() ->
    {timeout, 600, fun() ->
        Window = 1000,
        Credit = lariat_credit:new(Window),
        Held = atomics:new(2, []),
        Senders = [
            spawn_monitor(fun() -> send_some(20000, Credit, Held, Window) end)
         || _ <- lists:seq(1, 8)
        ],
        [
            receive
                {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
            end
         || {Pid, Monitor} <- Senders
        ],
        ?assertEqual(0, lariat_credit:outstanding(Credit)),
        ok = lariat_credit:close(Credit),
        ok = lariat_credit:await_senders(Credit)
    end}.

send_some(0, _, _, _) ->
    ok;
send_some(N, Credit, Held, Window) ->
    Cost = rand:uniform(Window),
    case lariat_credit:take(Credit, Cost) of
        credited ->
            ?assert(atomics:add_get(Held, 1, Cost) =< Window),
            ok = atomics:sub(Held, 1, Cost),
            case rand:uniform(2) of
                1 ->
                    lariat_credit:give_back(Credit, Cost);
                2 ->
                    ok = lariat_credit:sent(Credit),
                    lariat_credit:acked(Credit, Cost)
            end;
        busy ->
            ok
    end,
    send_some(N - 1, Credit, Held, Window).

take_and_send(Credit, Cost) ->
    How = lariat_credit:take(Credit, Cost),
    How =:= credited andalso lariat_credit:sent(Credit),
    How.
