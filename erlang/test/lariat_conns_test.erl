%%% Connections where an id may stand, and under monitors, of an edge whose connections are no pids:
%%% this module stands in for one. Those that are pids: test/lariat_process_SUITE.
-module(lariat_conns_test).

-include_lib("eunit/include/eunit.hrl").

%% lariat_edge, as far as it is needed here.
-export([send/5, signal/4, monitor/2, demonitor/2]).

-define(EDGE, lariat_conns_test).
-define(CONN(Slot), {lariat_conn, ?EDGE, Slot, 7}).

conns_test_() ->
    {setup, fun start/0, fun stop/1, [
        {timeout, 120, {atom_to_list(Name), Case}}
     || {Name, Case} <- [
            {a_connection_is_sent_what_it_may_be_told, fun a_connection_is_sent_what_it_may_be_told/0},
            {conns_among_ids, fun conns_among_ids/0},
            {failures_are_told, fun failures_are_told/0},
            {a_pid_of_no_edge_is_an_id, fun a_pid_of_no_edge_is_an_id/0},
            {monitors, fun monitors/0},
            {monitors_of_an_unknown_edge, fun monitors_of_an_unknown_edge/0},
            {monitors_of_processes, fun monitors_of_processes/0},
            {logins, fun logins/0},
            {the_picture_holds_them, fun the_picture_holds_them/0},
            {handled_ones_are_barred, fun handled_ones_are_barred/0}
        ]
    ]}.

%% A process for the edge, so that a case sees what came to it, and says how the edge is.
start() ->
    {ok, Supervisor} = lariat_sup:start_link(),
    ok = lariat_picture:set_edge(?EDGE, #{module => ?MODULE, state => up, epoch => 1}),
    Supervisor.

stop(Supervisor) ->
    unlink(Supervisor),
    Monitor = erlang:monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.

send(?EDGE, Ids, Payload, _, plain) -> told({send, Ids, Payload}).

%% Slot 13 is always busy.
signal(?EDGE, ?CONN(13), _, at_once) -> {error, busy};
signal(?EDGE, ?CONN(_) = Conn, Term, at_once) -> told({Conn, Term}).

monitor(?EDGE, Conn) ->
    Ref = make_ref(),
    _ = told({monitor, Conn, Ref}),
    Ref.

demonitor(?EDGE, Ref) ->
    told({demonitor, Ref}).

%% Calls come from the process of the case, or of the server of logins.
told(What) ->
    case whereis(?MODULE) of
        undefined -> self() ! What;
        Pid -> Pid ! What
    end,
    ok.

a_connection_is_sent_what_it_may_be_told() ->
    Conn = ?CONN(1),
    ok = lariat:send(Conn, ["a", <<"b">>]),
    ok = lariat:send(Conn, {binary, "c"}),
    ok = lariat:send(Conn, "d", #{event => "e", id => "1"}),
    ok = lariat:send([Conn, ?CONN(2)], "f"),
    {ok, 1} = lariat:call(Conn, "g"),
    {ok, 1} = lariat:close(Conn, {4000, "bye"}),
    ?assertEqual(
        [
            {Conn, <<"ab">>},
            {Conn, {binary, <<"c">>}},
            {Conn, {event, <<"e">>, <<"1">>, <<"d">>}},
            {Conn, <<"f">>},
            {?CONN(2), <<"f">>},
            {Conn, <<"g">>},
            {Conn, {close, {4000, "bye"}}}
        ],
        heard()
    ).

conns_among_ids() ->
    Conn = ?CONN(1),
    ok = lariat_picture:put(?EDGE, ?CONN(5), 123, 1),
    ?assertEqual({ok, 2}, lariat_router:send([123, Conn], "x", #{})),
    ?assertEqual([{send, [123], <<"x">>}, {Conn, <<"x">>}], heard()),
    ?assertEqual([?CONN(5)], lariat:connections(123)),
    true = lariat_picture:drop(?EDGE, ?CONN(5), 123).

failures_are_told() ->
    ?assertEqual({error, busy}, lariat:send(?CONN(13), "x")),
    ?assertEqual(
        {error, {partial, [{?CONN(13), busy}]}}, lariat:send([?CONN(13), ?CONN(1)], "x")
    ),
    Foreign = {lariat_conn, nobody, 1, 7},
    ?assertEqual({error, noconnection}, lariat:send(Foreign, "x")),
    ?assertEqual({error, noconnection}, lariat:close(Foreign, bye)),
    ?assertError({bad_message, hello}, lariat:send(?CONN(1), hello)),
    ?assertEqual([{?CONN(1), <<"x">>}], heard()).

%% As before: whoever logs in under a pid is its receiver.
a_pid_of_no_edge_is_an_id() ->
    Before = maps:get(sends_nobody, lariat_counters:all()),
    [ok, ok] = [lariat:send(Pid, "x") || Pid <- [self(), far_pid()]],
    ?assertEqual(Before + 2, maps:get(sends_nobody, lariat_counters:all())),
    %% Looks like a connection, but is none.
    ok = lariat:send({lariat_conn, "edge", 1, 7}, "x"),
    ?assertEqual([], heard()).

monitors() ->
    Conn = ?CONN(1),
    Ref = lariat:monitor(Conn),
    ?assertEqual([{monitor, Conn, Ref}], heard()),
    self() ! {'DOWN', Ref, process, Conn, client},
    true = lariat:demonitor(Ref),
    ?assertEqual([{demonitor, Ref}], heard()).

monitors_of_an_unknown_edge() ->
    Conn = {lariat_conn, nobody, 1, 7},
    Ref = lariat:monitor(Conn),
    ?assertEqual([{'DOWN', Ref, process, Conn, noconnection}], heard()).

monitors_of_processes() ->
    Pid = spawn(fun() -> receive stop -> ok end end),
    Ref = lariat:monitor(Pid),
    Other = lariat:monitor(Pid),
    true = lariat:demonitor(Other),
    Pid ! stop,
    receive
        {'DOWN', Ref, process, Pid, normal} -> ok
    end,
    ?assertEqual([{demonitor, Other}], heard()).

logins() ->
    Conn = ?CONN(1),
    true = register(?MODULE, self()),
    ok = lariat:login(alice, Conn),
    [{monitor, Conn, Ref}] = heard(),
    ok = lariat:login(alice, ?CONN(2)),
    [{monitor, ?CONN(2), Crashed}] = heard(),
    ok = lariat:send(alice, "x"),
    ?assertEqual([{Conn, <<"x">>}, {?CONN(2), <<"x">>}], lists:sort(heard())),
    lariat_logins ! {'DOWN', Ref, process, Conn, client},
    lariat_test_nodes:await(fun() -> lariat:connections(alice) =:= [?CONN(2)] end),
    %% The end of what was to tell us names that, not the connection.
    lariat_logins ! {'DOWN', Crashed, process, self(), killed},
    lariat_test_nodes:await(fun() -> lariat:connections(alice) =:= [] end),
    ok = lariat:login(alice, Conn),
    ok = lariat:logout(Conn),
    ?assertEqual([], lariat:connections(alice)),
    ?assertError(badarg, lariat:login(alice, {no, conn})),
    true = unregister(?MODULE).

the_picture_holds_them() ->
    ok = lariat_picture:put(?EDGE, ?CONN(1), 1, 1),
    ok = lariat_picture:put(?EDGE, ?CONN(2), 2, 2),
    ?assertEqual([{?CONN(1), 1}, {?CONN(2), 2}], lariat_router:picture(?EDGE)),
    ?assertEqual([?CONN(2)], lariat_picture:conns(?EDGE, 2)),
    ?assertEqual(1, lariat_picture:sweep(?EDGE, 2)),
    ?assertEqual(1, lariat_picture:forget(?EDGE)).

handled_ones_are_barred() ->
    ok = lariat_handled:put(?EDGE, ?CONN(1), 1, <<"h">>, 1),
    ?assert(lariat_handled:bar(?EDGE, ?CONN(1))),
    ?assertNot(lariat_handled:bar(?EDGE, ?CONN(1))),
    ?assertMatch({ok, {_, 1, <<"h">>, 1, barred}}, lariat_handled:take(?EDGE, ?CONN(1))).

%% Of a node that is no edge of ours.
far_pid() ->
    Name = <<"far@127.0.0.1">>,
    binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, 5:32, 0:32, 1:32>>).

heard() ->
    _ = whereis(lariat_logins) =/= undefined andalso sys:get_state(lariat_logins),
    heard([]).

heard(Heard) ->
    receive
        Message -> heard([Message | Heard])
    after 0 -> lists:reverse(Heard)
    end.
