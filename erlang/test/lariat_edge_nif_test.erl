%%% What is a configuration of an edge in this VM. The edge itself: suites in test/.
-module(lariat_edge_nif_test).

-include_lib("eunit/include/eunit.hrl").

configurations_test() ->
    [
        ?assertEqual({ok, live, Config}, lariat_edge_nif:check(Config))
     || Config <- [
            #{nif => live},
            #{nif => live, config => #{}},
            #{nif => live, config => #{http => #{listen => [<<"127.0.0.1:0">>]}}},
            #{nif => live, config => "lariat.toml"},
            #{nif => live, config => <<"/etc/lariat.toml">>}
        ]
    ].

%% Each says which key is wrong.
mistakes_test() ->
    [
        ?assertMatch({error, {Key, Value, _}}, lariat_edge_nif:check(Config))
     || {Key, Value, Config} <- [
            {nif, "live", #{nif => "live"}},
            {nif, <<"live">>, #{nif => <<"live">>}},
            {nif, '', #{nif => ''}},
            {nif, process, #{nif => process}},
            {nif, 'a@127.0.0.1', #{nif => 'a@127.0.0.1'}},
            {config, 5, #{nif => live, config => 5}},
            {config, undefined, #{nif => live, config => undefined}},
            {unknown_key, conf, #{nif => live, conf => #{}}}
        ]
    ],
    ?assertMatch({error, {bad_edge, {config, 5, _}}}, lariat:attach(#{nif => live, config => 5})),
    ?assertMatch({error, {bad_edge, no_node}}, lariat:attach(no_node)).

%% Of an edge that is not running.
nothing_waits_for_what_is_not_there_test() ->
    Conn = {lariat_conn, live, 1, 7},
    ?assertEqual({error, noconnection}, lariat_edge_nif:send(live, [1], <<"x">>, #{}, plain)),
    ?assertEqual({error, noconnection}, lariat_edge_nif:answer(live, 1, taken, patiently)),
    ?assertEqual({error, noconnection}, lariat_edge_nif:call(live, info)),
    ?assertEqual({error, noconnection}, lariat_edge_nif:signal(live, Conn, close, patiently)),
    ?assertEqual({error, noconnection}, lariat_edge_nif:metrics(live)),
    ?assertMatch({error, {not_running, _}}, lariat_edge_nif:connect(live)),
    ?assertEqual(#{connected => false, ready => false, monitors => unknown}, lariat_edge_nif:info(live)),
    ok = lariat_edge_nif:heard(live, 5),
    Ref = lariat_edge_nif:monitor(live, Conn),
    ok = lariat_edge_nif:demonitor(live, Ref),
    receive
        {'DOWN', Ref, process, Conn, noconnection} -> ok
    end.

changes_are_of_this_edge_test() ->
    ?assertEqual(up, lariat_edge_nif:change(live, {lariat_edge_instance, live, up})),
    ?assertEqual(unknown, lariat_edge_nif:change(live, {lariat_edge_instance, other, up})),
    ?assertEqual(unknown, lariat_edge_nif:change(live, {nodeup, live, []})).
