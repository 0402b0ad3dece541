%%% The link and the router between nodes: one node runs the application, others an edge.
-module(lariat_link_test).

-include_lib("eunit/include/eunit.hrl").

%% The handler of the nodes under test.
-export([handle/1]).

-import(lariat_test_nodes, [call/4, await/1]).

nodes_test_() ->
    {timeout, 3600,
        {setup, fun lariat_test_nodes:setup/0, fun lariat_test_nodes:cleanup/1, fun(Nodes) ->
            [
                {atom_to_list(Name), {timeout, 600, fun() -> run(Name, Case, Nodes) end}}
             || {Name, Case} <- cases()
            ]
        end}}.

cases() ->
    [
        {attaches_and_follows, fun attaches_and_follows/1},
        {one_term_per_edge, fun one_term_per_edge/1},
        {many_connections_and_ids, fun many_connections_and_ids/1},
        {calls_answer_counts, fun calls_answer_counts/1},
        {publishes_to_subscribers, fun publishes_to_subscribers/1},
        {link_loss_forgets_and_resyncs, fun link_loss_forgets_and_resyncs/1},
        {edge_killed_and_returns, fun edge_killed_and_returns/1},
        {resync_keeps_then_sweeps, fun resync_keeps_then_sweeps/1},
        {stale_and_unknown_news_are_counted, fun stale_and_unknown_news_are_counted/1},
        {refused_attach_is_tried_again, fun refused_attach_is_tried_again/1},
        {link_crash_keeps_the_picture, fun link_crash_keeps_the_picture/1},
        {handlers_over_a_link, fun handlers_over_a_link/1},
        {handlers_outlive_a_link_loss, fun handlers_outlive_a_link_loss/1},
        {detach_and_attach, fun detach_and_attach/1},
        {credit_bounds_what_is_outstanding, fun credit_bounds_what_is_outstanding/1},
        {credit_is_whole_after_each_attach, fun credit_is_whole_after_each_attach/1},
        {lost_credit_is_noticed, fun lost_credit_is_noticed/1},
        {stuck_edge_hangs_nobody, fun stuck_edge_hangs_nobody/1}
    ].

%% Each case: a fresh node with the application and two fresh edges.
run(CaseName, Case, Nodes) ->
    Name = fun(Prefix) -> Prefix ++ atom_to_list(CaseName) end,
    {Edge1, Node1} = lariat_test_nodes:start(Nodes, Name("edge1_"), ["-hidden"]),
    {Edge2, Node2} = lariat_test_nodes:start(Nodes, Name("edge2_"), ["-hidden"]),
    {App, _} = lariat_test_nodes:start(Nodes, Name("app_"), []),
    ok = call(Edge1, lariat_test_edge, start, []),
    ok = call(Edge2, lariat_test_edge, start, []),
    Handlers = [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}],
    ok = call(App, application, set_env, [lariat, handlers, Handlers]),
    ok = lariat_test_nodes:start_app(App, [Node1, #{node => Node2}]),
    try
        Case(#{nodes => Nodes, app => App, edges => [{Edge1, Node1}, {Edge2, Node2}]})
    after
        [lariat_test_nodes:stop(Peer) || Peer <- [App, Edge1, Edge2]]
    end.

attaches_and_follows(#{app := App, edges := [{Edge1, Node1}, {Edge2, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Pid1 = call(Edge1, lariat_test_edge, open, [7]),
    Pid2 = call(Edge1, lariat_test_edge, open, [7]),
    Pid3 = call(Edge2, lariat_test_edge, open, [<<"alice">>]),
    await(fun() -> call(App, lariat_router, count, []) =:= 3 end),
    ?assertEqual(lists:sort([Pid1, Pid2]), lists:sort(call(App, lariat, connections, [7]))),
    ?assertEqual([Pid3], call(App, lariat, connections, [<<"alice">>])),
    ok = call(Edge1, lariat_test_edge, close, [Pid1]),
    await(fun() -> call(App, lariat, connections, [7]) =:= [Pid2] end),
    assert_exact(App, Edge1, Node1),
    assert_exact(App, Edge2, Node2),
    ?assertEqual({error, already_attached}, call(App, lariat, attach, [Node1])),
    ?assertMatch({error, {bad_edge, _}}, call(App, lariat, attach, [no_node])),
    ?assertMatch(
        {ok, #{connected := true, version := <<"test">>}}, call(App, lariat, info, [Node1])
    ).

one_term_per_edge(#{app := App, edges := [{Edge1, Node1}, {Edge2, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    [call(Edge1, lariat_test_edge, open, [Id]) || Id <- [1, 1, 2, '_', {"x", 1.0}]],
    [call(Edge2, lariat_test_edge, open, [Id]) || Id <- [2, 3]],
    await(fun() -> call(App, lariat_router, count, []) =:= 7 end),
    ok = call(App, lariat, send, [[3, 1, 2, 99, '_'], ["ab", $c]]),
    await_received(Edge1, [{[1, 2, '_'], <<"abc">>}]),
    await_received(Edge2, [{[3, 2], <<"abc">>}]),
    ok = call(App, lariat, send, [1, "x"]),
    await_received(Edge1, [{1, <<"x">>}]),
    ok = call(App, lariat, send, [{"x", 1.0}, "x", #{event => "e"}]),
    await_received(Edge1, [{send, {"x", 1.0}, <<"x">>, #{event => <<"e">>}}]),
    %% Nobody has these: no edge is bothered, but it is counted.
    ok = call(App, lariat, send, [99, "x"]),
    ok = call(App, lariat, send, [[], "x"]),
    ?assertEqual(2, counter(App, sends_nobody)),
    ?assertEqual({ok, 3}, call(App, lariat_router, send, [[1, 3], "x", #{}])),
    await_received(Edge2, [{3, <<"x">>}]).

%% More than one batch of a snapshot, and more ids than go into one term.
many_connections_and_ids(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    %% What is large stays on the node that has it.
    Here = fun(Node, Fun) -> call(Node, erlang, apply, [Fun, []]) end,
    ok = Here(Edge1, fun() -> lariat_test_edge:flood(lists:seq(1, 100001)) end),
    ok = call(Edge1, lariat_test_edge, resync, []),
    await(fun() -> call(App, lariat_router, count, []) =:= 100001 end),
    Send = fun() -> lariat_router:send(lists:seq(1, 100001), "x", #{}) end,
    ?assertEqual({ok, 100001}, Here(App, Send)),
    Sizes = fun() ->
        [length(lariat_wire:ids(Ids)) || {Ids, <<"x">>} <- lariat_test_edge:received()]
    end,
    await_list([100000, 1], fun() -> Here(Edge1, Sizes) end),
    Losses = counter(App, link_losses),
    true = call(App, erlang, disconnect_node, [Node1]),
    await(fun() -> counter(App, link_losses) > Losses end),
    await_up(App, [Node1]),
    ?assertEqual(100001, call(App, lariat_picture, count, [Node1])).

calls_answer_counts(#{app := App, edges := [{Edge1, Node1}, {Edge2, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    [call(Edge1, lariat_test_edge, open, [Id]) || Id <- [1, 1, 2]],
    [call(Edge2, lariat_test_edge, open, [Id]) || Id <- [1]],
    await(fun() -> call(App, lariat_router, count, []) =:= 4 end),
    ?assertEqual({ok, 3}, call(App, lariat, call, [1, "x"])),
    ?assertEqual({ok, 4}, call(App, lariat, call, [[1, 2], "x"])),
    ?assertEqual({ok, 0}, call(App, lariat, call, [99, "x"])),
    ?assertEqual({ok, 1}, call(App, lariat, close, [2, bye])),
    ?assertEqual({error, timeout}, call(App, lariat_edge, call, [Node1, hang, 50])),
    ?assertEqual({error, no_such_edge}, call(App, lariat_edge, call, ['x@127.0.0.1', info, 50])).

publishes_to_subscribers(#{app := App, edges := [{Edge1, Node1}, {Edge2, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    [call(Edge1, lariat_test_edge, open, [Id]) || Id <- [1, 1, news]],
    [call(Edge2, lariat_test_edge, open, [Id]) || Id <- [1, 2, 3]],
    await(fun() -> call(App, lariat_router, count, []) =:= 6 end),
    ok = call(App, lariat, add_subscriptions, [[{1, news}, {2, news}, {news, news}, {9, news}]]),
    ?assertEqual([1, 2, 9, news], call(App, lariat, subscribers, [news])),
    ?assertEqual({ok, 5}, call(App, lariat, publish, [news, "extra"])),
    await_received(Edge1, [{[news, 1], <<"extra">>}]),
    await_received(Edge2, [{[1, 2], <<"extra">>}]),
    ok = call(App, lariat, unsubscribe, [1, news]),
    ?assertEqual({ok, 2}, call(App, lariat, publish, [news, "more"])).

link_loss_forgets_and_resyncs(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Pid = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat, connections, [1]) =:= [Pid] end),
    [
        begin
            Losses = counter(App, link_losses),
            true = call(App, erlang, disconnect_node, [Node1]),
            %% Things happen while we are away.
            _ = call(Edge1, lariat_test_edge, open, [I]),
            await(fun() -> counter(App, link_losses) > Losses end),
            await_up(App, [Node1]),
            assert_exact(App, Edge1, Node1)
        end
     || I <- lists:seq(2, 6)
    ],
    ok = call(App, lariat, send, [1, "still here"]).

edge_killed_and_returns(#{nodes := Nodes, app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    _ = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    lariat_test_nodes:kill(Edge1),
    await(fun() -> call(App, lariat_router, count, []) =:= 0 end),
    %% Unknown, but perhaps on the edge that is away.
    ?assertEqual({error, noconnection}, call(App, lariat, send, [1, "x"])),
    ?assertEqual({error, noconnection}, call(App, lariat, publish, [1, "x"])),
    [Name, _] = string:split(atom_to_list(Node1), "@"),
    {Again, Node1} = lariat_test_nodes:start(Nodes, Name, ["-hidden"]),
    try
        ok = call(Again, lariat_test_edge, start, []),
        _ = call(Again, lariat_test_edge, open, [1]),
        await_up(App, [Node1, Node2]),
        assert_exact(App, Again, Node1),
        ok = call(App, lariat, send, [1, "x"]),
        await_received(Again, [{1, <<"x">>}])
    after
        peer:stop(Again)
    end.

resync_keeps_then_sweeps(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Pid = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    Epoch = call(Edge1, lariat_test_edge, epoch, []),
    %% The edge starts over, and forgot to tell of one connection.
    Forgotten = call(Edge1, erlang, self, []),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch, [{opened, Forgotten, 2, #{}}]]),
    await(fun() -> call(App, lariat_router, count, []) =:= 2 end),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch + 1, [{snapshot, 'begin'}]]),
    await(fun() -> state(App, Node1) =:= syncing end),
    ?assertEqual([Pid], call(App, lariat, connections, [1])),
    ?assertEqual(1, length(call(App, lariat, connections, [2]))),
    ok = call(Edge1, lariat_test_edge, resync, []),
    ok = call(Edge1, lariat_test_edge, resync, []),
    await_up(App, [Node1]),
    await(fun() -> call(App, lariat, connections, [2]) =:= [] end),
    assert_exact(App, Edge1, Node1).

stale_and_unknown_news_are_counted(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Epoch = call(Edge1, lariat_test_edge, epoch, []),
    Tell = fun(E, Events) -> ok = call(Edge1, lariat_test_edge, tell, [E, Events]) end,
    Self = call(Edge1, erlang, self, []),
    Tell(Epoch - 1, [{opened, Self, 1, #{}}, {opened, Self, 2, #{}}]),
    Tell(Epoch, [{received, Self, 1, <<"x">>}, what, {closed, Self, 3, client}]),
    Tell(Epoch, [{congested, Self, 3, 1000}, {drained, Self, 3}]),
    Tell(Epoch, [{overloaded, 5, 500}]),
    Tell(not_an_epoch, not_events),
    await(fun() -> counter(App, edge_overloaded_bytes) =:= 500 end),
    await(fun() -> counter(App, events_unknown) =:= 3 end),
    ?assertEqual(5, counter(App, edge_overloaded_messages)),
    ?assertEqual({1, 1}, {counter(App, edge_congested), counter(App, edge_drained)}),
    ?assertEqual(2, counter(App, events_stale)),
    ?assertEqual(1, counter(App, closed_unknown)),
    ?assertEqual(up, state(App, Node1)),
    ?assertEqual(0, call(App, lariat_router, count, [])).

refused_attach_is_tried_again(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    ok = call(Edge1, lariat_test_edge, refuse, [owners_limit]),
    Failures = counter(App, attach_failures),
    true = call(App, erlang, disconnect_node, [Node1]),
    await(fun() -> counter(App, attach_failures) > Failures + 1 end),
    ?assertEqual(up, state(App, Node2)),
    ok = call(Edge1, lariat_test_edge, refuse, [none]),
    await_up(App, [Node1]).

%% Repeats what it is told; of an end it tells the edge.
handle({init, #{path := Path}}) -> {reply, 200, #{<<"x">> => <<"y">>}, Path};
handle({in, _, {_, Text}}) -> {reply, Text};
handle({batch, _}) -> ok;
handle({closed, #{edge := Edge, id := Id}, Reason}) -> {lariat, Edge} ! {closed, Id, Reason}.

handlers_over_a_link(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    ?assertEqual(
        #{credit => true, handlers => [<<"h">>, <<"lariat_publish">>]},
        call(Edge1, lariat_test_edge, options, [])
    ),
    Request = #{kind => request, handler => <<"h">>, path => <<"/p">>},
    ok = call(Edge1, lariat_test_edge, news, [[{request, 3, Request}]]),
    await_received(Edge1, [{answer, 3, {reply, 200, [{<<"x">>, <<"y">>}], <<"/p">>}}]),
    ok = call(Edge1, lariat_test_edge, news, [[{batch, 4, <<"h">>, [<<"a">>, <<"b">>]}]]),
    await_received(Edge1, [{answer, 4, taken}]),
    %% Of an epoch that has passed: the edge has answered that itself.
    Epoch = call(Edge1, lariat_test_edge, epoch, []),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch - 1, [{request, 5, Request}]]),
    Pid = call(Edge1, lariat_test_edge, open, [7, <<"h">>]),
    ok = call(Edge1, lariat_test_edge, news, [[{received, Pid, 7, {text, <<"hello">>}}]]),
    await_received(Edge1, [{conn, Pid, <<"hello">>}]),
    ok = call(Edge1, lariat_test_edge, close, [Pid]),
    await_received(Edge1, [{closed, 7, client}]),
    ?assertEqual(0, call(App, lariat_handled, count, [])),
    ?assertEqual(1, counter(App, events_stale)).

handlers_outlive_a_link_loss(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Stays = call(Edge1, lariat_test_edge, open, [1, <<"h">>]),
    Leaves = call(Edge1, lariat_test_edge, open, [2, <<"h">>]),
    await(fun() -> call(App, lariat_handled, count, []) =:= 2 end),
    Losses = counter(App, link_losses),
    %% Not to be connected again before it has left.
    ok = call(Edge1, lariat_test_edge, refuse, [owners_limit]),
    true = call(App, erlang, disconnect_node, [Node1]),
    await(fun() -> counter(App, link_losses) > Losses end),
    ?assertEqual(2, call(App, lariat_handled, count, [])),
    ok = call(Edge1, lariat_test_edge, close, [Leaves]),
    ok = call(Edge1, lariat_test_edge, refuse, [none]),
    await_up(App, [Node1]),
    await_received(Edge1, [{closed, 2, noconnection}]),
    ok = call(Edge1, lariat_test_edge, news, [[{received, Stays, 1, {binary, <<"here">>}}]]),
    await_received(Edge1, [{conn, Stays, <<"here">>}]),
    %% Let go of: gone, for us.
    ok = call(App, lariat, detach, [Node1]),
    await_received(Edge1, [{closed, 1, noconnection}]).

link_crash_keeps_the_picture(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    Pid = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat, connections, [1]) =:= [Pid] end),
    Link = link_of(App, Node1),
    true = call(App, erlang, exit, [Link, kill]),
    ?assertEqual([Pid], call(App, lariat, connections, [1])),
    await(fun() -> is_pid(link_of(App, Node1)) andalso link_of(App, Node1) =/= Link end),
    await(fun() -> counter(App, attaches) =:= 3 end),
    await_up(App, [Node1]),
    assert_exact(App, Edge1, Node1).

detach_and_attach(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    _ = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    ok = call(App, lariat, detach, [Node1]),
    ?assertEqual({error, no_such_edge}, call(App, lariat, detach, [Node1])),
    ?assertEqual(0, call(App, lariat_router, count, [])),
    ?assertEqual([Node2], maps:keys(maps:get(edges, call(App, lariat, info, [])))),
    ok = call(App, lariat, attach, [Node1]),
    await_up(App, [Node1, Node2]),
    assert_exact(App, Edge1, Node1).

%% 80 bytes a message and its id, and a window of 250: three, and no more until they are back.
credit_bounds_what_is_outstanding(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    attach_with_credit(App, Edge1, Node1, 250),
    [call(Edge1, lariat_test_edge, open, [Id]) || Id <- [1, 2]],
    await(fun() -> call(App, lariat_router, count, []) =:= 2 end),
    ?assertEqual(
        [ok, ok, ok, {error, busy}], [call(App, lariat, send, [1, ""]) || _ <- lists:seq(1, 4)]
    ),
    await_received(Edge1, [{credited, {1, <<>>}} || _ <- lists:seq(1, 3)]),
    ?assertEqual(#{outstanding => 240, window => 250}, credit(App, Node1)),
    ?assertEqual(none, credit(App, Node2)),
    ?assertEqual(1, counter(App, sends_out_of_credit)),
    ?assertEqual(1, counter(App, sends_busy)),
    %% A resync that the edge begins changes nothing of it, and what it acks later counts.
    ok = call(Edge1, lariat_test_edge, resync, []),
    Epoch = call(Edge1, lariat_test_edge, epoch, []),
    await_up(App, [Node1]),
    ?assertEqual({error, busy}, call(App, lariat, send, [1, ""])),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch - 1, [{ack, 240}]]),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch, [{ack, 80}, {ack, 80}]]),
    await(fun() -> credit(App, Node1) =:= #{outstanding => 80, window => 250} end),
    %% Publishing is sending; one term to two ids; options make no difference.
    ok = call(App, lariat, subscribe, [2, 1]),
    ?assertEqual({ok, 2}, call(App, lariat, publish, [1, "abc"])),
    await_received(Edge1, [{credited, {[1, 2], <<"abc">>}}]),
    ?assertEqual(#{outstanding => 80 + 99, window => 250}, credit(App, Node1)),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch, [{ack, 179}]]),
    await(fun() -> credit(App, Node1) =:= #{outstanding => 0, window => 250} end),
    %% More than the window, alone.
    Large = binary:copy(<<0>>, 1000),
    ?assertEqual(ok, call(App, lariat, send, [1, Large, #{event => "e"}])),
    ?assertEqual({error, busy}, call(App, lariat, send, [1, ""])),
    %% What is answered goes without.
    ?assertEqual({ok, 1}, call(App, lariat, call, [1, "x"])).

credit_is_whole_after_each_attach(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    attach_with_credit(App, Edge1, Node1, 250),
    _ = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    Whole = #{outstanding => 0, window => 250},
    UseUp = fun() ->
        await(fun() -> credit(App, Node1) =:= Whole end),
        [ok = call(App, lariat, send, [1, ""]) || _ <- lists:seq(1, 3)],
        {error, busy} = call(App, lariat, send, [1, ""])
    end,
    UseUp(),
    %% The link is lost.
    Losses = counter(App, link_losses),
    true = call(App, erlang, disconnect_node, [Node1]),
    await(fun() -> counter(App, link_losses) > Losses end),
    await_up(App, [Node1]),
    UseUp(),
    %% Its process crashes; what the edge acks to the one before, it acks to nobody.
    Attaches = counter(App, attaches),
    true = call(App, erlang, exit, [link_of(App, Node1), kill]),
    await(fun() -> counter(App, attaches) > Attaches end),
    await_up(App, [Node1]),
    Epoch = call(Edge1, lariat_test_edge, epoch, []),
    ok = call(Edge1, lariat_test_edge, tell, [Epoch - 1, [{ack, 240}]]),
    UseUp(),
    %% An edge that grants none any more, and is not attached to for a while: plain again.
    ok = call(Edge1, lariat_test_edge, refuse, [owners_limit]),
    Failures = counter(App, attach_failures),
    true = call(App, erlang, exit, [link_of(App, Node1), kill]),
    await(fun() -> counter(App, attach_failures) > Failures end),
    _ = call(Edge1, lariat_test_edge, received, []),
    await(fun() -> call(App, lariat, send, [1, "plain"]) =:= ok end),
    await_received(Edge1, [{1, <<"plain">>}]).

lost_credit_is_noticed(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    ok = call(App, application, set_env, [lariat, credit_lost_ms, 50]),
    attach_with_credit(App, Edge1, Node1, 250),
    _ = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    ok = call(App, lariat, send, [1, ""]),
    await(fun() -> counter(App, credit_lost) =:= 80 end),
    await(fun() -> credit(App, Node1) =:= #{outstanding => 0, window => 250} end),
    await_up(App, [Node1]).

attach_with_credit(App, Edge, Node, Bytes) ->
    ok = call(Edge, lariat_test_edge, grant, [Bytes]),
    ok = call(App, lariat, detach, [Node]),
    ok = call(App, lariat, attach, [Node]),
    await_up(App, [Node]),
    await(fun() -> credit(App, Node) =:= #{outstanding => 0, window => Bytes} end).

credit(App, Node) ->
    #{edges := #{Node := #{credit := Credit}}} = call(App, lariat, info, []),
    Credit.

%% An edge that does not read: sends answer busy, calls and info answer in time.
stuck_edge_hangs_nobody(#{app := App, edges := [{Edge1, Node1}, {_, Node2}]}) ->
    await_up(App, [Node1, Node2]),
    _ = call(Edge1, lariat_test_edge, open, [1]),
    await(fun() -> call(App, lariat_router, count, []) =:= 1 end),
    OsPid = call(Edge1, os, getpid, []),
    _ = os:cmd("kill -STOP " ++ OsPid),
    try
        Message = binary:copy(<<0>>, 100000),
        %% Until both sockets' buffers are full for good.
        await(fun() ->
            Answers = [call(App, lariat, send, [1, Message]) || _ <- lists:seq(1, 200)],
            lists:usort(Answers) =:= [{error, busy}]
        end),
        ?assertEqual({error, busy}, call(App, lariat, call, [1, "x", 300])),
        ?assertMatch({error, _}, call(App, lariat, info, [Node1])),
        ?assertEqual(up, state(App, Node2)),
        ?assert(counter(App, sends_busy) > 200)
    after
        os:cmd("kill -CONT " ++ OsPid)
    end,
    await(fun() -> call(App, lariat, send, [1, "well again"]) =:= ok end).

await_up(App, Nodes) ->
    await(fun() -> [state(App, Node) || Node <- Nodes] =:= [up || _ <- Nodes] end).

state(App, Node) ->
    case call(App, lariat_picture, edge, [Node]) of
        {ok, #{state := State}} -> State;
        error -> none
    end.

await_received(Edge, Messages) ->
    await_list(Messages, fun() -> call(Edge, lariat_test_edge, received, []) end).

%% `More' answers what came since it was last called.
await_list(Expected, More) ->
    put(got, []),
    await(fun() ->
        put(got, get(got) ++ More()),
        length(get(got)) >= length(Expected) orelse get(got)
    end),
    ?assertEqual(Expected, get(got)).

assert_exact(App, Edge, Node) ->
    Held = lists:sort(call(Edge, lariat_test_edge, connections, [])),
    await(fun() -> lists:sort(call(App, lariat_router, picture, [Node])) =:= Held end).

counter(App, Name) ->
    maps:get(Name, maps:get(counters, call(App, lariat, info, []))).

link_of(App, Node) ->
    {_, Pid, _, _} = lists:keyfind(
        {link, Node}, 1, call(App, supervisor, which_children, [lariat_edge_sup])
    ),
    Pid.
