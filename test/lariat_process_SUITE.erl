%%% A connection's pid is a process as far as Erlang can tell: messages, monitors, links, exits, logins.
%%%
%%% Every case runs twice, over a link that Erlang dialled and over one that the edge dialled, and
%%% ends by proving that both sides are well. What a case does it does in one process on the
%%% Erlang node, as an application would; the clients are there, too.
-module(lariat_process_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    messages/1,
    stale_pids/1,
    monitors/1,
    reasons/1,
    links/1,
    a_connection_ends_with_its_process/1,
    exits/1,
    calls_to_a_pid/1,
    commands/1,
    a_lost_link_costs_no_connection/1,
    limits/1,
    order/1,
    logins/1,
    the_api/1,
    rounds/1
]).

-import(lariat_conn, [in/2, linked_to/1, open/2, raw/2, pid/2, pids/2, other/2, command/2]).
-import(lariat_conn, [down/2, down/3, next_down/0, answer/0, next/0, nothing/0, closed/2]).
-import(lariat_conn, [chunks/1, watched/2, dropped/2]).
-import(lariat_well, [well/2]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    [{group, erlang_dials}, {group, edge_dials}].

groups() ->
    Cases = [
        messages,
        stale_pids,
        monitors,
        reasons,
        links,
        a_connection_ends_with_its_process,
        exits,
        calls_to_a_pid,
        commands,
        a_lost_link_costs_no_connection,
        limits,
        order,
        logins,
        the_api
    ],
    [{erlang_dials, Cases ++ [rounds]}, {edge_dials, Cases}].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_group(erlang_dials, Config) ->
    [{args, []} | Config];
init_per_group(edge_dials, Config) ->
    [{args, ["--connect", "app@127.0.0.1"]} | Config].

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    #{dir := Dir} = Site = lariat_site:start(?config(priv_dir, Config)),
    File = filename:join(Dir, "lariat.toml"),
    ok = file:write_file(File, "[dist]\nwatches_max = 3000\n"),
    [{site, Site}, {config, ["--config", File]} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%% Everything that a connection may be told, byte for byte.
messages(Config) ->
    linked(Config, fun(#{http := Http, node := Node} = Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            ?assertEqual(Node, node(Pid)),
            Pid ! <<"binary">>,
            <<"binary">> = lariat_client:message(Stream),
            Pid ! ["io", [<<"list">>, $!]],
            <<"iolist!">> = lariat_client:message(Stream),
            {Other, OtherPid} = open(Edge, 1),
            OtherPid ! <<"one of two">>,
            <<"one of two">> = lariat_client:message(Other),
            lariat_client:nothing(Stream),
            Sse = raw(Http, 2),
            SsePid = pid(Node, 2),
            SsePid ! <<"a\nb">>,
            SsePid ! {event, "tick", <<"c">>},
            SsePid ! {event, tick_is_no_iodata, <<"c">>},
            SsePid ! {event, <<"tick">>, ["4", $2], "d"},
            SsePid ! close,
            ?assertEqual(
                <<"data: a\ndata: b\n\nevent: tick\ndata: c\n\nevent: tick\nid: 42\ndata: d\n\n">>,
                chunks(Sse)
            ),
            Pid ! {close, bye},
            closed = lariat_client:message(Stream),
            OtherPid ! close,
            closed = lariat_client:message(Other)
        end),
        ?assertEqual(1, dropped(Edge, <<"unknown_shape">>))
    end).

%% The slot is used again; what is meant for the old connection never reaches the new one.
stale_pids(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {First, Stale} = open(Edge, 1),
            Monitor = monitor(process, Stale),
            Stale = pid(Node, 1),
            lariat_client:close(First),
            client = down(Monitor, Stale),
            {Second, Pid} = open(Edge, 1),
            %% The same slot of the same shard; only the generation differs.
            ["<" ++ Number, Slot, Serial] = string:lexemes(pid_to_list(Pid), "."),
            ["<" ++ Number, Slot, OldSerial] = string:lexemes(pid_to_list(Stale), "."),
            ?assertNotEqual(OldSerial, Serial),
            Stale ! <<"stale">>,
            Stale ! {event, <<"stale">>, <<"stale">>},
            Stale ! close,
            Stale ! {close, stale},
            exit(Stale, kill),
            noproc = down(monitor(process, Stale), Stale),
            Pid ! <<"fresh">>,
            <<"fresh">> = lariat_client:message(Second),
            lariat_client:nothing(Second),
            %% Of an edge that was never there, and of none.
            noproc = down(monitor(process, other(Pid, 16#00ffff00)), other(Pid, 16#00ffff00))
        end),
        ?assertEqual(2, dropped(Edge, <<"gone">>))
    end).

monitors(Config) ->
    linked(Config, fun(Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            {Still, StillPid} = open(Edge, 2),
            Monitors = [monitor(process, Pid) || _ <- [1, 2, 3]],
            Untold = monitor(process, Pid),
            Other = monitor(process, StillPid),
            true = demonitor(Untold),
            Pid ! <<"sync">>,
            <<"sync">> = lariat_client:message(Stream),
            lariat_client:close(Stream),
            [client = down(Monitor, Pid) || Monitor <- Monitors],
            noproc = down(monitor(process, Pid), Pid),
            nothing(),
            StillPid ! <<"still">>,
            <<"still">> = lariat_client:message(Still),
            true = demonitor(Other, [flush])
        end),
        watched(Edge, 0)
    end).

%% DOWN says what the owner's `closed' says.
reasons(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        Long = lists:duplicate(2000, x),
        Ends = [
            {client, fun(Stream, _) -> lariat_client:close(Stream) end},
            {normal, fun(_, Pid) -> Pid ! close end},
            {{any, <<"term">>, [1, 2]}, fun(_, Pid) -> Pid ! {close, {any, <<"term">>, [1, 2]}} end},
            {reason_too_long, fun(_, Pid) -> Pid ! {close, Long} end},
            {kicked, fun(_, Pid) -> exit(Pid, kicked) end},
            {killed, fun(_, Pid) -> exit(Pid, kill) end},
            {bye, fun(#{id := Id}, _) -> command(Node, {close, Id, bye}) end},
            {protocol, fun(#{socket := Socket}, _) ->
                gen_tcp:send(Socket, binary:copy(<<"x">>, 10000)) end},
            {drain, fun(_, _) -> command(Node, {close_all, 1000}) end}
        ],
        in(App, fun() ->
            {ok, #{}} = command(Node, {attach, self(), #{}}),
            [
                begin
                    {Stream, Pid} = open(Edge, Id),
                    Monitor = monitor(process, Pid),
                    _ = pid(Node, Id),
                    End(Stream, Pid),
                    ?assertEqual(Reason, down(Monitor, Pid)),
                    ?assertEqual(Reason, closed(Node, Pid))
                end
             || {Id, {Reason, End}} <- lists:zip(lists:seq(1, length(Ends)), Ends)
            ],
            ok = command(Node, detach),
            %% A shard ends its drain in the turn after the last connection: two turns of each.
            _ = [pids(Node, Id) || _ <- [1, 2], Id <- lists:seq(1, 20)]
        end),
        watched(Edge, 0)
    end).

links(Config) ->
    linked(Config, fun(Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            %% Who does not trap exits ends with the connection.
            {Ends, Monitor} = spawn_monitor(fun() -> link(Pid), receive never -> ok end end),
            process_flag(trap_exit, true),
            link(Pid),
            link(Pid),
            {Unlinked, UnlinkedPid} = open(Edge, 2),
            [begin link(UnlinkedPid), unlink(UnlinkedPid) end || _ <- lists:seq(1, 50)],
            watched(Edge, 2),
            lariat_client:close(Stream),
            client = down(Monitor, Ends),
            {'EXIT', Pid, client} = next(),
            lariat_client:close(Unlinked),
            client = down(monitor(process, UnlinkedPid), UnlinkedPid, [client, noproc]),
            link(Pid),
            {'EXIT', Pid, noproc} = next(),
            %% A close in order is no failure: a linked process that does not trap exits lives on.
            {_, Orderly} = open(Edge, 3),
            Self = self(),
            Lives = spawn(fun() ->
                link(Orderly),
                Monitored = monitor(process, Orderly),
                Orderly ! close,
                Self ! {told, down(Monitored, Orderly)},
                receive stop -> ok end
            end),
            {told, normal} = next(),
            true = is_process_alive(Lives),
            Lives ! stop,
            nothing()
        end),
        watched(Edge, 0)
    end).

a_connection_ends_with_its_process(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {ok, #{}} = command(Node, {attach, self(), #{}}),
            [
                begin
                    {Stream, Pid} = open(Edge, Id),
                    spawn(fun() -> link(Pid), End() end),
                    closed = lariat_client:message(Stream),
                    ?assertEqual(Reason, closed(Node, Pid))
                end
             || {Id, Reason, End} <- [
                    {1, boom, fun() -> exit(boom) end},
                    {2, {shutdown, why}, fun() -> exit({shutdown, why}) end},
                    {3, killed, fun() -> exit(self(), kill), receive never -> ok end end}
                ]
            ],
            {Stream, Pid} = open(Edge, 4),
            {Normal, Monitor} = spawn_monitor(fun() -> link(Pid) end),
            normal = down(Monitor, Normal),
            {Gone, GoneMonitor} = spawn_monitor(fun() -> link(Pid), unlink(Pid), exit(boom) end),
            boom = down(GoneMonitor, Gone),
            Pid ! <<"held">>,
            <<"held">> = lariat_client:message(Stream),
            lariat_client:nothing(Stream),
            ok = command(Node, detach)
        end),
        watched(Edge, 0)
    end).

exits(Config) ->
    linked(Config, fun(Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            Monitor = monitor(process, Pid),
            exit(Pid, normal),
            Pid ! <<"alive">>,
            <<"alive">> = lariat_client:message(Stream),
            exit(Pid, kicked),
            closed = lariat_client:message(Stream),
            kicked = down(Monitor, Pid),
            exit(Pid, kicked),
            %% A kill waits for nobody: not for a client that does not read.
            {Lazy, LazyPid} = open(Edge, 2),
            Lazily = monitor(process, LazyPid),
            LazyPid ! binary:copy(<<"x">>, 16#2000000),
            LazyPid ! close,
            exit(LazyPid, kill),
            killed = down(Lazily, LazyPid),
            lariat_client:close(Lazy)
        end)
    end).

%% A connection answers no calls, and says so at once.
calls_to_a_pid(Config) ->
    linked(Config, fun(Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            {error, {bad_request, hello}} = gen_server:call(Pid, hello),
            {error, {bad_request, hello}} = gen_server:call(Pid, hello, infinity),
            ok = gen_server:cast(Pid, hello),
            ?assertError(_, io:format(Pid, "hello", [])),
            ?assertError(_, sys:get_state(Pid)),
            Leader = group_leader(),
            group_leader(Pid, self()),
            {error, enotsup} = io:get_line(""),
            group_leader(Leader, self()),
            Pid ! <<"well">>,
            <<"well">> = lariat_client:message(Stream)
        end),
        watched(Edge, 0)
    end).

%% Every command of `gen_server:call/2', by call, by cast, and with and without an alias.
commands(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            {ok, #{connections := 1, queued_bytes := 0}} = command(Node, {send, 1, <<"a">>}),
            {ok, #{connections := 1}} = command(Node, {send, [1, 9], <<"b">>, #{id => <<"7">>}}),
            {ok, #{connections := 0}} = command(Node, {send, [], <<"nobody">>}),
            ok = gen_server:cast({lariat, Node}, {send, 1, <<"c">>}),
            [{ok, [Pid]}] = [command(Node, {connections, 1})],
            [Text = lariat_client:message(Stream) || Text <- [<<"a">>, <<"b">>, <<"c">>]],
            {ok, []} = command(Node, {connections, 2}),
            {ok, #{connections := 1}} = command(Node, info),
            {ok, #{epoch := _}} = command(Node, {attach, self(), #{}}),
            ok = command(Node, detach),
            {[{Node, {ok, #{connections := 1}}}], []} =
                gen_server:multi_call([Node], lariat, {send, 1, <<"d">>}, ?DEADLINE_MS),
            <<"d">> = lariat_client:message(Stream),
            %% As before OTP 24: the tag of the call is a reference, no alias.
            Plain = monitor(process, {lariat, Node}),
            {lariat, Node} ! {'$gen_call', {self(), Plain}, {send, 1, <<"e">>}},
            {Plain, {ok, #{connections := 1}}} = answer(),
            true = demonitor(Plain, [flush]),
            <<"e">> = lariat_client:message(Stream),
            [
                ?assertMatch({error, {bad_request, _}}, command(Node, Bad))
             || Bad <- [unknown, {send, 1, atom}, {close_all, 0}, {send, 1}, [], #{}, <<>>]
            ],
            ?assertExit({noproc, _}, gen_server:call({nobody, Node}, info)),
            noproc = element(5, begin _ = monitor(process, {nobody, Node}), next_down() end),
            {[], [Node]} = gen_server:multi_call([Node], nobody, info, ?DEADLINE_MS),
            {ok, #{connections := 1}} = command(Node, {close, [1], bye}),
            closed = lariat_client:message(Stream)
        end),
        watched(Edge, 0)
    end).

%% Monitors and links vanish with the link between the nodes; the connection does not.
a_lost_link_costs_no_connection(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            process_flag(trap_exit, true),
            Monitor = monitor(process, Pid),
            link(Pid),
            watched(Edge, 2),
            true = erlang:disconnect_node(Node),
            noconnection = down(Monitor, Pid),
            {'EXIT', Pid, noconnection} = next(),
            watched(Edge, 0),
            linked_to(Node),
            Again = monitor(process, Pid),
            Pid ! <<"the same">>,
            <<"the same">> = lariat_client:message(Stream),
            lariat_client:close(Stream),
            client = down(Again, Pid),
            nothing()
        end),
        watched(Edge, 0)
    end).

%% One more than the limit is refused at once, and those that are there stay.
limits(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            process_flag(trap_exit, true),
            Monitors = [monitor(process, Pid) || _ <- lists:seq(1, 3000)],
            system_limit = down(monitor(process, Pid), Pid),
            link(Pid),
            {'EXIT', Pid, system_limit} = next(),
            true = demonitor(hd(Monitors)),
            link(Pid),
            Pid = pid(Node, 1),
            lariat_client:close(Stream),
            [client = down(Monitor, Pid) || Monitor <- tl(Monitors)],
            {'EXIT', Pid, client} = next(),
            nothing()
        end),
        ?assertEqual(2, lariat_site:metric(Edge, <<"lariat_dist_watches_refused_total">>)),
        watched(Edge, 0)
    end).

%% What one process sends to one connection takes effect in that order.
order(Config) ->
    linked(Config, fun(Edge, App) ->
        in(App, fun() ->
            [
                begin
                    {Stream, Pid} = open(Edge, Id),
                    Before = monitor(process, Pid),
                    Pid ! <<"last">>,
                    Pid ! {close, Id},
                    After = monitor(process, Pid),
                    Pid ! <<"too late">>,
                    <<"last">> = lariat_client:message(Stream),
                    closed = lariat_client:message(Stream),
                    Id = down(Before, Pid),
                    %% The link knows both monitors, and the shard tells it of one end.
                    noproc = down(After, Pid, [noproc, Id])
                end
             || Id <- lists:seq(1, 200)
            ]
        end),
        watched(Edge, 0)
    end).

%% To the router a connection's pid is a receiver like any process, be it of the same edge or of
%% another; and it is one no longer when it has closed.
logins(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        Other = lariat_site:edge(?config(site, Config), "other"),
        in(App, fun() ->
            attach(Node),
            {Own, OwnPid} = open(Edge, 1),
            {Far, FarPid} = open(Other, 2),
            ok = lariat_router:login(<<"alice">>, OwnPid),
            ok = lariat_router:login(<<"alice">>, FarPid),
            ok = lariat_router:login(<<"alice">>, self()),
            ?assertEqual(
                lists:sort([OwnPid, FarPid, self()]), lists:sort(lariat:connections(<<"alice">>))
            ),
            ok = lariat:send(<<"alice">>, <<"Hello">>),
            [<<"Hello">> = lariat_client:message(Stream) || Stream <- [Own, Far]],
            <<"Hello">> = next(),
            ok = lariat:send(<<"alice">>, <<"news">>, #{event => <<"e">>}),
            [<<"news">> = lariat_client:message(Stream) || Stream <- [Own, Far]],
            {event, <<"e">>, <<"news">>} = next(),
            lariat_client:close(Far),
            alone([OwnPid, self()]),
            %% One that is gone before it logs in is out at once.
            ok = lariat_router:login(<<"alice">>, FarPid),
            alone([OwnPid, self()]),
            {ok, 2} = lariat:close(<<"alice">>, bye),
            closed = lariat_client:message(Own),
            {close, bye} = next(),
            alone([self()]),
            ok = lariat:logout(self()),
            ok = lariat:detach(Node)
        end),
        well(App, Other)
    end).

%% To `lariat' a pid is a connection as soon as its edge is attached, and before that an id. The rest
%% is `lariat_conns_SUITE'.
the_api(Config) ->
    linked(Config, fun(#{node := Node} = Edge, App) ->
        in(App, fun() ->
            {Stream, Pid} = open(Edge, 1),
            ok = lariat:send(Pid, <<"nobody">>),
            attach(Node),
            ok = lariat:send(Pid, <<"for one">>),
            <<"for one">> = lariat_client:message(Stream),
            ok = lariat:detach(Node)
        end)
    end).

%% Many at once, again and again: every DOWN arrives once, and nothing stays behind.
rounds(Config) ->
    linked(Config, fun(Edge, App) ->
        Result = lariat_watches:rounds(Edge, App, #{connections => 500, rounds => 4}),
        ?assertMatch(#{downs := 2000, reasons := [client]}, Result)
    end).

%% A site with one link in the direction of the group; ends by proving that both sides are well.
linked(Config, Case) ->
    Site = ?config(site, Config),
    Args = ?config(config, Config) ++ ?config(args, Config),
    #{node := Node} = Edge = lariat_site:edge(Site, "lariat", #{args => Args}),
    App = lariat_site:erlang(Site, "app"),
    case ?config(args, Config) of
        [] -> pong = lariat_site:call(App, net_adm, ping, [Node]);
        _ -> in(App, fun() -> linked_to(Node) end)
    end,
    _ = Case(Edge, App),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_dist_unknown_controls_total">>)),
    ?assertEqual(0, lariat_site:metric(Edge,
        <<"lariat_links_down_total{reason=\"malformed\"}">>)),
    well(App, Edge).

attach(Node) ->
    ok = lariat:attach(Node),
    Up = fun() -> maps:get(state, maps:get(Node, maps:get(edges, lariat:info()))) =:= up end,
    lariat_site:await(Up, up).

alone(Pids) ->
    Sorted = lists:sort(Pids),
    lariat_site:await(
        fun() -> lists:sort(lariat:connections(<<"alice">>)) =:= Sorted end, {receivers, Pids}
    ).
