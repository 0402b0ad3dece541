%%% What a shell user may try on the hidden node, and what OTP does unasked: each answered in time.
%%%
%%% Every case runs twice, over a link that Erlang dialled and over one that the edge dialled; each
%%% call runs in a process of its own with a bound on its time, and each case ends by proving that
%%% the link is the same and both sides are well. Left to other suites: pids of connections as
%%% processes, fragments, TLS, credit, and what no Erlang would send (`test/dist_erl.rs').
-module(lariat_interop_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    connect_and_ping/1,
    calls/1,
    casts/1,
    multi_calls/1,
    unknown_names/1,
    monitors/1,
    remote_calls/1,
    spawns/1,
    links/1,
    exits/1,
    group_leaders/1,
    stale_and_foreign_pids/1,
    other_servers/1,
    distant_ticks/1,
    silent_erlang/1,
    silent_edge/1,
    stalled_clients/1,
    hidden_semantics/1,
    node_down/1
]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_scene, [
    in_site/2, in_site/3, made/2, tick_args/0, well/2, held/4, stale/2,
    value/1, is/4, tried/3, bounded/3, relinked/2
]).

all() ->
    [{group, erlang_dials}, {group, edge_dials}].

groups() ->
    Quick = [
        connect_and_ping,
        calls,
        casts,
        multi_calls,
        unknown_names,
        monitors,
        remote_calls,
        spawns,
        links,
        exits,
        group_leaders,
        stale_and_foreign_pids,
        other_servers,
        hidden_semantics,
        node_down
    ],
    Slow = [distant_ticks, silent_erlang, silent_edge, stalled_clients],
    [{Name, [], Quick ++ Slow} || Name <- [erlang_dials, edge_dials]].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_group(Group, Config) ->
    [{direction, Group} | Config].

end_per_group(_Group, Config) ->
    Config.

init_per_testcase(_Case, Config) ->
    [{site, lariat_site:start(?config(priv_dir, Config))} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%%--------------------------------------------------------------------------------------------------
%% Every row of what comes unasked

connect_and_ping(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        is(App, true, "net_kernel:connect_node(N)", Node),
        is(App, pong, "net_adm:ping(N)", Node),
        %% Twice: the second must not disconnect what the first made.
        is(App, pong, "net_adm:ping(N)", Node),
        is(App, [Node], "nodes(hidden)", Node)
    end).

calls(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Sent = {ok, #{connections => 0, queued_bytes => 0}},
        is(App, Sent, "gen_server:call(L, {send, 1, <<\"m\">>})", Node),
        is(App, Sent, "gen_server:call(L, {send, 1, <<\"m\">>}, infinity)", Node),
        is(App, Sent, "gen_server:call(L, {send, [], <<\"m\">>, #{event => <<\"e\">>}})", Node),
        is(App, {ok, #{connections => 0}}, "gen_server:call(L, {close, [1, x], why})", Node),
        is(App, {ok, #{connections => 0}}, "gen_server:call(L, {close_all, 10})", Node),
        is(App, {ok, []}, "gen_server:call(L, {connections, 1})", Node),
        is(App, true, "{ok, #{connections := 0}} = gen_server:call(L, info), true", Node),
        is(App, true,
            "{ok, #{epoch := E}} = gen_server:call(L, {attach, self(), #{}}), is_integer(E)", Node),
        is(App, ok, "gen_server:call(L, detach)", Node),
        [
            is(App, {error, {bad_request, value(Bad)}}, ["gen_server:call(L, ", Bad, ")"], Node)
         || Bad <- ["hello", "{send, 1}", "{send, 1, atom}", "{close_all, 0}", "[]", "{}", "#{}",
                    "{attach, me, #{}}", "{connections, [1]}", "1.5", "\"text\"", "{1, <<\"m\">>}"]
        ],
        is(App, {error, {bad_request, unknown}},
            "gen_server:call(L, {hello, binary:copy(<<\"x\">>, 1000)})", Node),
        %% Requests that are collected later, and the other kinds of `gen'.
        is(App, {reply, Sent},
            "gen_server:receive_response(gen_server:send_request(L, {send, 1, <<>>}), 20000)", Node),
        is(App, Sent, "gen_statem:call(L, {send, 1, <<>>})", Node),
        is(App, Sent, "gen_statem:call(L, {send, 1, <<>>}, {dirty_timeout, 20000})", Node)
    end).

casts(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http}) ->
        Stream = held(App, Node, Http, 1),
        is(App, ok, "gen_server:cast(L, {send, 1, <<\"cast\">>})", Node),
        <<"cast">> = lariat_client:message(Stream),
        is(App, abcast, "gen_server:abcast([N], lariat, {send, 1, <<\"abcast\">>})", Node),
        <<"abcast">> = lariat_client:message(Stream),
        is(App, abcast, "rpc:abcast([N], any, {1, <<\"rpc\">>})", Node),
        <<"rpc">> = lariat_client:message(Stream),
        is(App, abcast, "rpc:sbcast([N], any, {1, <<\"x\">>}), abcast", Node),
        is(App, ok, "gen_server:cast(L, nonsense)", Node),
        is(App, ok, "gen_server:cast({other, N}, {send, 1, <<\"no\">>})", Node),
        is(App, ok, "gen_event:notify(L, news)", Node),
        is(App, ok, "gen_statem:cast(L, {send, 1, <<\"statem\">>})", Node),
        <<"statem">> = lariat_client:message(Stream)
    end).

multi_calls(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Good = {Node, {ok, []}},
        Ask = "gen_server:multi_call([N], lariat, {connections, 1}",
        is(App, {[Good], []}, [Ask, ")"], Node),
        is(App, {[Good], []}, [Ask, ", 20000)"], Node),
        is(App, {[], [Node]}, "gen_server:multi_call([N], other, info)", Node),
        is(App, {[], [Node]}, "gen_server:multi_call([N], other, info, 20000)", Node)
    end).

unknown_names(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        [
            ?assertMatch({exit, {noproc, _}}, tried(App, Text, Node))
         || Text <- [
                "gen_server:call({other, N}, x)",
                "gen_server:call({other, N}, x, infinity)",
                "gen_server:call({rex, N}, {call, erlang, node, [], group_leader()}, infinity)",
                "gen_server:call({global_name_server, N}, x, infinity)"
            ]
        ],
        ?assertMatch({exit, _}, tried(App, "gen_event:call({other, N}, h, x)", Node)),
        is(App, ok, "{other, N} ! nonsense, ok", Node)
    end).

monitors(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Down = fun(What) ->
            ["R = monitor(process, ", What, "), receive {'DOWN', R, process, Obj, Why} -> "
             "{Obj, Why} end"]
        end,
        is(App, {{other, Node}, noproc}, Down("{other, N}"), Node),
        is(App, {{'with ä', Node}, noproc}, Down("{'with \\x{e4}', N}"), Node),
        %% The node's own names live as long as the link, and a demonitor is taken.
        is(App, alive,
            "R = monitor(process, L), pong = net_adm:ping(N), "
            "receive {'DOWN', R, _, _, W} -> W after 0 -> true = demonitor(R, [flush]), alive end",
            Node),
        is(App, true, "R = monitor(process, {other, N}), demonitor(R, [flush])", Node),
        is(App, {{other, Node}, noproc},
            "A = monitor(process, {other, N}, [{alias, reply_demonitor}]), "
            "receive {'DOWN', A, process, Obj, Why} -> {Obj, Why} end", Node),
        %% Thousands at a time: each answered once.
        is(App, 2000,
            "Rs = [monitor(process, {other, N}) || _ <- lists:seq(1, 2000)], "
            "length([receive {'DOWN', R, _, _, noproc} -> R end || R <- Rs])", Node),
        is(App, 2000,
            "Rs = [monitor(process, L) || _ <- lists:seq(1, 2000)], "
            "length([true = demonitor(R, [flush, info]) || R <- Rs])", Node)
    end).

remote_calls(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Bad = {badrpc, notsup},
        is(App, Bad, "rpc:call(N, erlang, node, [])", Node),
        is(App, Bad, "rpc:call(N, erlang, node, [], 20000)", Node),
        ?assertMatch({value, {badrpc, {'EXIT', {noproc, _}}}},
            tried(App, "rpc:block_call(N, erlang, node, [])", Node)),
        is(App, true, "rpc:cast(N, erlang, node, [])", Node),
        is(App, {[Bad], []}, "rpc:multicall([N], erlang, node, [])", Node),
        is(App, {[Bad], []}, "rpc:multicall([N], erlang, node, [], 20000)", Node),
        is(App, Bad, "rpc:yield(rpc:async_call(N, erlang, node, []))", Node),
        ?assertEqual({error, {erpc, notsup}}, tried(App, "erpc:call(N, erlang, node, [])", Node)),
        ?assertEqual({error, {erpc, notsup}}, tried(App, "erpc:call(N, fun() -> 1 end)", Node)),
        ?assertEqual({error, {erpc, notsup}},
            tried(App, "erpc:call(N, erlang, node, [], 20000)", Node)),
        is(App, [{error, {erpc, notsup}}], "erpc:multicall([N], erlang, node, [])", Node),
        is(App, ok, "erpc:cast(N, erlang, node, [])", Node),
        ?assertEqual({error, {erpc, notsup}},
            tried(App, "erpc:receive_response(erpc:send_request(N, erlang, node, []))", Node)),
        %% Arguments of every encoding: none of them is looked at.
        [
            is(App, Bad, ["rpc:call(N, lists, seq, ", Args, ")"], Node)
         || Args <- ["[1, 2]", "[1000, -1]", "[fun() -> ok end]", "[make_ref(), self()]",
                     "[binary:copy(<<\"x\">>, 100000)]", "[lists:seq(1, 10000)]"]
        ]
    end).

spawns(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Reply = ", receive {spawn_reply, R, E, W} -> {E, W} end",
        is(App, {error, notsup}, ["R = spawn_request(N, erlang, node, [])", Reply], Node),
        is(App, {error, notsup}, ["R = spawn_request(N, lists, seq, [1, 2], [link])", Reply], Node),
        is(App, {error, notsup},
            ["R = spawn_request(N, lists, seq, [1, 2], [{reply_tag, spawn_reply}])", Reply], Node),
        is(App, true, "is_pid(spawn(N, erlang, node, []))", Node),
        is(App, notsup,
            "process_flag(trap_exit, true), P = spawn_link(N, lists, seq, [1, 2]), "
            "receive {'EXIT', P, W} -> W end", Node),
        ?assertEqual({error, notsup},
            tried(App, "spawn_monitor(N, lists, seq, [1, 2])", Node)),
        is(App, notsup,
            "{P, R} = spawn_opt(N, lists, seq, [1, 2], [monitor]), "
            "receive {'DOWN', R, _, P, W} -> W end", Node)
    end).

%%--------------------------------------------------------------------------------------------------
%% Every row of the control messages that a real `erl' can produce

%% Links to pids of the node that are nobody's end as links to the dead do, and unlinking is
%% acknowledged: otherwise the second link would wait for the first one's end.
links(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Exit = ", receive {'EXIT', P, W} -> W end",
        Trap = "process_flag(trap_exit, true), ",
        Stale = [Trap, "P = binary_to_term(", stale(App, Node), "), "],
        is(App, noproc, [Stale, "link(P)", Exit], Node),
        is(App, noproc, [Stale, "link(P), unlink(P), link(P)", Exit], Node),
        is(App, true, [Stale, "link(P), unlink(P)"], Node),
        is(App, 500,
            [Stale, "length([begin link(P), unlink(P), link(P)", Exit, " end"
             " || _ <- lists:seq(1, 500)])"], Node)
    end).

exits(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Stale = ["P = binary_to_term(", stale(App, Node), "), "],
        [
            is(App, true, [Stale, "exit(P, ", Reason, ")"], Node)
         || Reason <- ["normal", "kill", "{shutdown, [1, 2, 3]}", "make_ref()",
                       "binary:copy(<<\"x\">>, 100000)"]
        ],
        %% A process that is linked to us ends: its exit signal has nobody to end.
        is(App, down,
            ["{C, M} = spawn_monitor(fun() -> ", Stale, "process_flag(trap_exit, true), link(P), "
             "exit({bye, [1]}) end), receive {'DOWN', M, _, C, {bye, [1]}} -> down end"], Node)
    end).

group_leaders(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Stale = ["P = binary_to_term(", stale(App, Node), "), "],
        %% The group leader of a process of Erlang is a pid of ours.
        is(App, {error, enotsup},
            [Stale, "P ! {io_request, self(), ref, {put_chars, latin1, \"x\"}}, "
             "receive {io_reply, ref, Answer} -> Answer end"], Node),
        is(App, {error, terminated},
            [Stale, "group_leader(P, self()), io:request(P, {put_chars, latin1, \"x\"})"], Node),
        ?assertMatch({error, _},
            tried(App, [Stale, "group_leader(P, self()), io:put_chars(\"hello\")"], Node)),
        %% And the other way round: `GROUP_LEADER' to a pid of ours, as to a dead one.
        ?assertMatch({_, _}, tried(App, [Stale, "group_leader(self(), P)"], Node))
    end).

stale_and_foreign_pids(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Stale = ["P = binary_to_term(", stale(App, Node), "), "],
        is(App, ok, [Stale, "P ! hello, ok"], Node),
        is(App, ok, [Stale, "P ! {1, <<\"m\">>}, ok"], Node),
        is(App, noproc,
            [Stale, "R = monitor(process, P), receive {'DOWN', R, _, P, W} -> W end"], Node),
        ?assertMatch({exit, {noproc, _}},
            tried(App, [Stale, "gen_server:call(P, x, infinity)"], Node)),
        is(App, false, [Stale, "rpc:pinfo(P) =/= {badrpc, notsup}"], Node)
    end).

%% What tools try on any node they see.
other_servers(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Refused = fun(Text) ->
            ?assertMatch({_, _}, tried(App, Text, Node), Text)
        end,
        [
            Refused(Text)
         || Text <- [
                "sys:get_state(L, 20000)",
                "sys:get_status(L, infinity)",
                "sys:suspend(L)",
                "sys:trace(L, true)",
                "gen_event:which_handlers(L)",
                "gen_event:sync_notify(L, x)",
                "supervisor:which_children(L)",
                "application_controller:get_loaded(N)",
                "gen_server:stop(L, normal, 20000)",
                "proc_lib:stop(L, normal, 20000)",
                "code:get_object_code(N)",
                "net_adm:ping(N)",
                "net_kernel:get_state()",
                "global:sync()",
                "global:whereis_name(x)",
                "pg:start_link()",
                "erlang:monitor_node(N, true)",
                "auth:is_auth(N)",
                "c:nl(lists)",
                "disk_log:inc_wrap_file({a, N})",
                "file:open(\"x\", [{raw, N}])"
            ]
        ],
        is(App, [Node], "nodes(hidden)", Node)
    end).

%%--------------------------------------------------------------------------------------------------
%% Time

%% Nothing but ticks for two tick times: the link stays, on both sides.
distant_ticks(Config) ->
    in_site(Config, tick_args(), fun(App, #{node := Node} = Edge) ->
        Before = lariat_site:metric(Edge, <<"lariat_dist_frames_received_total">>),
        Enough = fun() ->
            lariat_site:metric(Edge, <<"lariat_dist_frames_received_total">>) >= Before + 8
        end,
        await(Enough, ticks),
        is(App, [Node], "nodes(hidden)", Node)
    end).

%% Erlang falls silent: the edge ends the link, and a new one is made.
silent_erlang(Config) ->
    #{app := App, edge := #{node := Node} = Edge} = made(Config, tick_args()),
    #{os_pid := OsPid} = App,
    Down = <<"lariat_links_down_total{reason=\"tick_timeout\"}">>,
    _ = os:cmd("kill -STOP " ++ integer_to_list(OsPid)),
    await(fun() -> lariat_site:metric(Edge, Down) =:= 1 end, tick_timeout),
    _ = os:cmd("kill -CONT " ++ integer_to_list(OsPid)),
    relinked(App, Node),
    well(App, Edge).

%% The edge falls silent: Erlang notices, which ends a call without a timeout, and a new link follows.
silent_edge(Config) ->
    #{app := App, edge := #{node := Node, os_pid := OsPid} = Edge} = made(Config, tick_args()),
    _ = os:cmd("kill -STOP " ++ integer_to_list(OsPid)),
    Ask = "try gen_server:call(L, info, infinity) catch exit:{W, _} -> W end",
    {value, Result} = call(App, lariat_scene, bounded, [Ask, #{node => Node, ms => 50000}]),
    _ = os:cmd("kill -CONT " ++ integer_to_list(OsPid)),
    ?assertEqual({nodedown, Node}, Result),
    relinked(App, Node),
    well(App, Edge).

%% Clients that do not read cost themselves, never the reader of the link: no process that sends
%% is ever suspended.
stalled_clients(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http} = Edge) ->
        Stalled = [held(App, Node, Http, Id) || Id <- lists:seq(1, 20)],
        Reading = held(App, Node, Http, <<"reading">>),
        [
            ?assertEqual(
                #{suspended => 0}, call(App, lariat_scene, flood, [Node, lists:seq(1, 20), 16])
            )
         || _ <- lists:seq(1, 125)
        ],
        is(App, ok, "{any, N} ! {<<\"reading\">>, <<\"through\">>}, ok", Node),
        <<"through">> = lariat_client:message(Reading),
        Full = <<"lariat_closed_total{reason=\"outbox_full\"}">>,
        await(fun() -> lariat_site:metric(Edge, Full) =:= 20 end, stalled_clients_to_be_closed),
        [lariat_client:close(Stream) || Stream <- Stalled]
    end).

%%--------------------------------------------------------------------------------------------------
%% A node that is hidden, and one that is gone

hidden_semantics(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        is(App, [], "nodes()", Node),
        is(App, [], "nodes(visible)", Node),
        is(App, [Node], "nodes(hidden)", Node),
        is(App, [Node], "nodes(connected)", Node),
        is(App, true, "lists:member(N, nodes(known))", Node),
        is(App, [], "global:registered_names()", Node),
        is(App, ok, "global:sync()", Node),
        is(App, yes, "global:register_name(here, self())", Node),
        is(App, {ok, [Node]}, "{ok, [X || {X, _} <- element(2, net_kernel:nodes_info()), X =:= N]}",
            Node)
    end).

%% Gone is said at once, and so is gone for good.
node_down(Config) ->
    #{app := App, edge := #{node := Node} = Edge} = made(Config, #{}),
    %% One that waits for an answer when the node goes: it does not wait longer.
    true = call(App, erlang, apply, [lariat_scene, waiting, [Node]]),
    pong = bounded(App, "net_adm:ping(N)", Node),
    lariat_site:kill(Edge),
    await(fun() -> call(App, erlang, nodes, [hidden]) =:= [] end, nodedown),
    noconnection = call(App, lariat_scene, waited, []),
    is(App, pang, "net_adm:ping(N)", Node),
    is(App, ok, "{any, N} ! {1, <<\"lost\">>}, ok", Node),
    %% `ok' while the dial that the send before began is pending.
    Unsent = "erlang:send({any, N}, {1, <<\"lost\">>}, [noconnect])",
    await(fun() -> tried(App, Unsent, Node) =:= {value, noconnect} end, noconnect),
    ?assertEqual({exit, {nodedown, Node}}, begin
        {exit, {Why, _}} = tried(App, "gen_server:call(L, info, infinity)", Node),
        {exit, Why}
    end),
    is(App, noconnection,
        "R = monitor(process, L), receive {'DOWN', R, process, _, W} -> W end", Node),
    is(App, {badrpc, nodedown}, "rpc:call(N, erlang, node, [])", Node).
