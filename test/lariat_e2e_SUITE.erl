%%% A message from Erlang reaches a client, and what may go wrong on the way goes wrong alone.
%%%
%%% Real Erlang nodes, the real program, raw clients. Each case has a site of its own, and ends
%%% by proving that both sides are still well.
-module(lariat_e2e_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    plain_erlang_sends/1,
    ids_and_shapes/1,
    one_message_to_many/1,
    calls_and_refusals/1,
    unknown_shapes_are_counted/1,
    subscriptions_survive_a_restart/1,
    edge_dials_erlang/1,
    killed_erlang_node/1,
    killed_edge/1,
    supervised_edge/1,
    several_erlang_nodes/1,
    wrong_cookie/1,
    malformed_frame/1,
    no_connection_no_hang/1,
    graceful_stop/1,
    exit_codes/1,
    real_input/1
]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [attached/3, up/2, seen/2]).
-import(lariat_well, [well/2]).

all() ->
    [
        plain_erlang_sends,
        ids_and_shapes,
        one_message_to_many,
        calls_and_refusals,
        unknown_shapes_are_counted,
        subscriptions_survive_a_restart,
        edge_dials_erlang,
        killed_erlang_node,
        killed_edge,
        supervised_edge,
        several_erlang_nodes,
        wrong_cookie,
        malformed_frame,
        no_connection_no_hang,
        graceful_stop,
        exit_codes,
        real_input
    ].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_testcase(_Case, Config) ->
    [{site, lariat_site:start(?config(priv_dir, Config))} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%% An Erlang node that has never heard of Lariat says hello.
plain_erlang_sends(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    Chunked = lariat_client:open(Http, 123, chunked),
    Sse = lariat_client:open(Http, 123, sse),
    {123, <<"Hello">>} = call(App, erlang, send, [{any, Node}, {123, <<"Hello">>}]),
    <<"Hello">> = lariat_client:message(Chunked),
    <<"Hello">> = lariat_client:message(Sse),
    pong = call(App, net_adm, ping, [Node]),
    [Node] = call(App, erlang, nodes, [hidden]),
    [] = call(App, erlang, nodes, []),
    well(App, Edge).

%% Ids of every kind, messages of every kind of iodata.
ids_and_shapes(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    Send = fun(Term) -> Term = call(App, erlang, send, [{any, Node}, Term]) end,
    Ids = [0, 1, 255, 256, 1 bsl 31, 1 bsl 40, (1 bsl 63) - 1, <<"alice">>, <<0, 255, $/>>],
    Streams = [{Id, lariat_client:open(Http, Id, chunked)} || Id <- Ids],
    [Send({Id, term_to_binary(Id)}) || Id <- Ids],
    [?assertEqual(Id, binary_to_term(lariat_client:message(Stream))) || {Id, Stream} <- Streams],
    {_, One} = lists:keyfind(1, 1, Streams),
    {_, Other} = lists:keyfind(256, 1, Streams),
    [
        begin
            Send({1, Iodata}),
            ?assertEqual(iolist_to_binary(Iodata), lariat_client:message(One))
        end
     || Iodata <- ["abc", [<<"a">>, $b, ["c", [<<"d">>]] | <<"e">>], [1, 2, 3], [300 rem 256]]
    ],
    Send({[1], <<"one">>}),
    Send({[], <<"nobody">>}),
    Send({[256, 1], <<"both">>}),
    <<"one">> = lariat_client:message(One),
    <<"both">> = lariat_client:message(One),
    <<"both">> = lariat_client:message(Other),
    well(App, Edge).

%% 10,000 ids in one term: the connected ones get it, once each.
one_message_to_many(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    Streams = [lariat_client:open(Http, Id, chunked) || Id <- lists:seq(100, 10000, 100)],
    _ = call(App, erlang, send, [{any, Node}, {lists:seq(1, 10000), <<"all">>}]),
    [<<"all">> = lariat_client:message(Stream) || Stream <- Streams],
    {ok, #{connections := 100}} =
        call(App, gen_server, call, [{lariat, Node}, {send, lists:seq(1, 10000), <<"2">>}]),
    [<<"2">> = lariat_client:message(Stream) || Stream <- Streams],
    well(App, Edge).

%% Every command answers; whatever else is tried answers too, at once.
calls_and_refusals(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    Stream = lariat_client:open(Http, 7, sse),
    Ask = fun(Request) -> call(App, gen_server, call, [{lariat, Node}, Request]) end,
    {ok, [Conn]} = await(
        fun() ->
            case Ask({connections, 7}) of
                {ok, []} -> false;
                Found -> Found
            end
        end,
        connection
    ),
    ?assertEqual(Node, node(Conn)),
    {ok, #{connections := 1, queued_bytes := 0}} = Ask({send, 7, <<"x">>}),
    <<"x">> = lariat_client:message(Stream),
    {ok, #{connections := 1}} = Ask({send, [7, 8], "y", #{event => <<"e">>, id => <<"1">>}}),
    <<"y">> = lariat_client:message(Stream),
    {ok, #{connections := 1, shards := 2, version := Version}} = Ask(info),
    ?assert(is_binary(Version)),
    {error, {bad_request, _}} = Ask(what_is_this),
    {error, {bad_request, _}} = Ask({send, 7, not_iodata}),
    ok = Ask(detach),
    {ok, #{connections := 1}} = Ask({close, 7, bye}),
    closed = lariat_client:message(Stream),
    %% What a shell user might try.
    {badrpc, _} = call(App, rpc, call, [Node, erlang, node, []]),
    {'EXIT', {noproc, _}} = tried(App, "gen_server:call({other, '~s'}, x)", [Node]),
    {'EXIT', {{erpc, notsup}, _}} = tried(App, "erpc:call('~s', erlang, node, [])", [Node]),
    {error, notsup} = tried(
        App,
        "R = erlang:spawn_request('~s', erlang, node, []), "
        "receive {spawn_reply, R, E, W} -> {E, W} end",
        [Node]
    ),
    {down, noproc} = tried(
        App,
        "M = monitor(process, {other, '~s'}), receive {'DOWN', M, _, _, W} -> {down, W} end",
        [Node]
    ),
    well(App, Edge).

%% What is no command is counted and logged, not each time, and costs nobody anything.
unknown_shapes_are_counted(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    Stream = lariat_client:open(Http, 1, chunked),
    Strange = [hello, {1, 2, 3}, {1, not_iodata}, #{a => b}, {1, [300]}, {1, self()}, fun() -> 1 end],
    Sent = [Term || _ <- lists:seq(1, 100), Term <- Strange],
    [call(App, erlang, send, [{any, Node}, Term]) || Term <- Sent],
    call(App, erlang, send, [{any, Node}, {1, <<"after">>}]),
    <<"after">> = lariat_client:message(Stream),
    Counted = <<"lariat_messages_dropped_total{reason=\"unknown_shape\"}">>,
    ?assertEqual(length(Sent), lariat_site:metric(Edge, Counted)),
    Lines = [Line || Line <- lariat_site:log(Edge), binary:match(Line, <<"shape">>) =/= nomatch],
    ?assert(length(Lines) >= 1),
    ?assert(length(Lines) < 20),
    well(App, Edge).

subscriptions_survive_a_restart(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    First = attached(Site, "app", [Node]),
    ok = call(First, lariat, subscribe, [<<"bob">>, <<"alice">>]),
    ok = call(First, application, stop, [lariat]),
    stopped = call(First, mnesia, stop, []),
    ok = lariat_site:kill(First),
    Stream = lariat_client:open(Http, <<"bob">>, chunked),
    Second = attached(Site, "app", [Node]),
    [<<"bob">>] = call(Second, lariat, subscribers, [<<"alice">>]),
    seen(Second, 1),
    {ok, 1} = call(Second, lariat, publish, [<<"alice">>, <<"still">>]),
    <<"still">> = lariat_client:message(Stream),
    well(Second, Edge).

%% The other direction: the edge dials, and dials again.
edge_dials_erlang(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} =
        Edge = lariat_site:edge(Site, "lariat", #{args => ["--connect", "app@127.0.0.1"]}),
    Stream = lariat_client:open(Http, 1, chunked),
    Linked = fun(App) -> fun() -> lists:member(Node, call(App, erlang, nodes, [hidden])) end end,
    First = lariat_site:plain_erlang(Site, "app"),
    await(Linked(First), link),
    lariat_site:kill(First),
    Second = lariat_site:plain_erlang(Site, "app"),
    await(Linked(Second), link),
    ok = call(Second, erlang, send, [{any, Node}, {1, <<"dialled">>}, [noconnect]]),
    <<"dialled">> = lariat_client:message(Stream),
    well(Second, Edge).

%% kill -9 of the Erlang node: no stream closes, and the picture that returns is exact.
killed_erlang_node(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    First = attached(Site, "app", [Node]),
    Streams = [{Id, lariat_client:open(Http, Id, sse)} || Id <- lists:seq(1, 200)],
    seen(First, 200),
    lariat_site:kill(First),
    %% Meanwhile some leave and others come.
    {Leaving, Staying} = lists:split(50, Streams),
    [lariat_client:close(Stream) || {_, Stream} <- Leaving],
    Coming = [{Id, lariat_client:open(Http, Id, chunked)} || Id <- lists:seq(201, 230)],
    Second = attached(Site, "app", [Node]),
    seen(Second, 180),
    same_picture(Second, Node, lists:seq(1, 230)),
    [ok = call(Second, lariat, send, [Id, integer_to_binary(Id)]) || {Id, _} <- Staying ++ Coming],
    [
        ?assertEqual(integer_to_binary(Id), lariat_client:message(Stream))
     || {Id, Stream} <- Staying ++ Coming
    ],
    well(Second, Edge).

%% kill -9 of the edge: Erlang forgets its connections, and attaches again when it is back.
killed_edge(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = First = lariat_site:edge(Site, "lariat"),
    App = attached(Site, "app", [Node]),
    _Streams = [lariat_client:open(Http, Id, chunked) || Id <- lists:seq(1, 20)],
    seen(App, 20),
    lariat_site:kill(First),
    seen(App, 0),
    {error, noconnection} = call(App, lariat, send, [1, <<"nobody there">>]),
    #{http := NewHttp} = Second = lariat_site:edge(Site, "lariat"),
    up(App, Node),
    Stream = lariat_client:open(NewHttp, 1, chunked),
    seen(App, 1),
    ok = call(App, lariat, send, [1, <<"back">>]),
    <<"back">> = lariat_client:message(Stream),
    same_picture(App, Node, lists:seq(1, 20)),
    well(App, Second).

%% The application runs the program itself, and runs it again.
supervised_edge(Config) ->
    #{epmd_port := EpmdPort} = Site = ?config(site, Config),
    Http = lariat_site:free_port(),
    Node = 'lariat@127.0.0.1',
    App = attached(Site, "app", [
        #{
            node => Node,
            command => lariat_site:program(),
            args => [
                "--http", "127.0.0.1:" ++ integer_to_list(Http), "--admin", "127.0.0.1:0"
            ],
            env => [{"ERL_EPMD_PORT", integer_to_list(EpmdPort)}]
        }
    ]),
    {ok, #{}} = call(App, lariat, info, [Node]),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    [Before] = os_pids(App),
    os:cmd("kill -9 " ++ integer_to_list(Before)),
    await(fun() -> case os_pids(App) of [Pid] -> Pid =/= Before; _ -> false end end, restart),
    {error, closed} = gen_tcp:recv(maps:get(socket, Stream), 0, 60000),
    up(App, Node),
    Again = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    ok = call(App, lariat, send, [1, <<"risen">>]),
    <<"risen">> = lariat_client:message(Again),
    %% The program does not outlive its VM, however that ends.
    [After] = os_pids(App),
    lariat_site:kill(App),
    await(fun() -> not filelib:is_dir("/proc/" ++ integer_to_list(After)) end, end_of_program).

several_erlang_nodes(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    Apps = [attached(Site, Name, [Node]) || Name <- ["one", "two", "three"]],
    Stream = lariat_client:open(Http, 1, chunked),
    [seen(App, 1) || App <- Apps],
    [
        begin
            ok = call(App, lariat, send, [1, <<"Hello">>]),
            <<"Hello">> = lariat_client:message(Stream)
        end
     || App <- Apps
    ],
    [First | Rest] = Apps,
    lariat_site:kill(First),
    [well(App, Edge) || App <- Rest].

%% Refused, with a clear line on both sides.
wrong_cookie(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    Good = lariat_site:plain_erlang(Site, "good"),
    Bad = lariat_site:plain_erlang(Site#{cookie := "wrong"}, "bad"),
    pang = call(Bad, net_adm, ping, [Node]),
    _ = lariat_site:await_log(Edge, "(?i)cookie.*bad@127.0.0.1|bad@127.0.0.1.*cookie"),
    ?assert(lariat_site:metric(Edge, <<"lariat_handshakes_failed_total{reason=\"cookie\"}">>) >= 1),
    %% The other direction: we dial with a wrong cookie.
    Stranger = lariat_site:edge(Site, "stranger", #{
        cookie => "wrong", args => ["--connect", "good@127.0.0.1"]
    }),
    _ = lariat_site:await_log(Stranger, "(?i)cookie.*good@127.0.0.1|good@127.0.0.1.*cookie"),
    Stream = lariat_client:open(Http, 1, chunked),
    _ = call(Good, erlang, send, [{any, Node}, {1, <<"fine">>}]),
    <<"fine">> = lariat_client:message(Stream),
    well(Good, Edge).

%% A peer that knows the cookie and then sends nonsense loses its link; nobody else does.
malformed_frame(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node, dist := Dist} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:plain_erlang(Site, "app"),
    pong = call(App, net_adm, ping, [Node]),
    Stream = lariat_client:open(Http, 1, chunked),
    [
        begin
            Socket = lariat_peer:connect(Dist, Evil, maps:get(cookie, Site)),
            ok = gen_tcp:send(Socket, Bytes),
            ?assertEqual({error, closed}, lariat_peer:drain(Socket))
        end
     %% Each a peer of its own: the end of a link is seen before its name is free again.
     || {Evil, Bytes} <- [
            {'evil1@127.0.0.1', <<5:32, "hello">>},
            {'evil2@127.0.0.1', <<16#ffffffff:32, 0>>},
            {'evil3@127.0.0.1', <<4:32, 112, 131, 104, 255>>},
            {'evil4@127.0.0.1', <<8:32, 112, 131, 108, 16#ffffffff:32, 0>>}
        ]
    ],
    _ = call(App, erlang, send, [{any, Node}, {1, <<"unmoved">>}]),
    <<"unmoved">> = lariat_client:message(Stream),
    [Node] = call(App, erlang, nodes, [hidden]),
    well(App, Edge).

%% Without an edge nothing hangs and nothing is lost silently.
no_connection_no_hang(Config) ->
    Site = ?config(site, Config),
    Node = 'lariat@127.0.0.1',
    App = lariat_site:erlang(Site, "app", [Node]),
    {error, noconnection} = call(App, lariat, send, [1, <<"Hello">>]),
    {error, noconnection} = call(App, lariat, call, [1, <<"Hello">>]),
    {error, noconnection} = call(App, lariat, info, [Node]),
    Edge = lariat_site:edge(Site, "lariat"),
    up(App, Node),
    well(App, Edge).

%% SIGTERM: every stream ends in order, Erlang is told, exit status 0.
graceful_stop(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = attached(Site, "app", [Node]),
    Streams = [lariat_client:open(Http, Id, chunked) || Id <- lists:seq(1, 50)],
    seen(App, 50),
    0 = lariat_site:terminate(Edge),
    [closed = lariat_client:message(Stream) || Stream <- Streams],
    seen(App, 0),
    Again = lariat_site:edge(Site, "lariat"),
    up(App, Node),
    well(App, Again).

exit_codes(Config) ->
    #{dir := Dir} = ?config(site, Config),
    File = filename:join(Dir, "lariat.toml"),
    ok = file:write_file(File, "[http]\nhead_timeout = \"soon\"\n"),
    {78, Wrong} = program(["check", File]),
    [?assertMatch({match, _}, re:run(Wrong, Part))
     || Part <- ["lariat.toml", "http.head_timeout", "soon", "10s|25s", "line 2"]],
    ok = file:write_file(File, "name = \"lariat@127.0.0.1\"\n[http]\nhead_timeout = \"2s\"\n"),
    {0, _} = program(["check", File]),
    {64, _} = program(["node", "--nonsense"]),
    {64, _} = program([]),
    {0, Help} = program(["node", "--help"]),
    ?assertMatch({match, _}, re:run(Help, "--connect")),
    {0, _} = program(["--version"]),
    {0, Ample} = program(["doctor", "--connections", "1"]),
    ?assertMatch({match, _}, re:run(Ample, "Nothing falls short")),
    {1, Short} = program(["doctor", "--connections", "4000000000", "--config", File]),
    ?assertMatch({match, _}, re:run(Short, "LimitNOFILE=4")),
    {78, _} = program(["node", "--name", "nohost"]),
    {78, _} = program(["node", "--cookie-file", filename:join(Dir, "missing")]),
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    {69, InUse} = program(["node", "--no-epmd", "--http", "127.0.0.1:" ++ integer_to_list(Port)]),
    ?assertMatch({match, _}, re:run(InUse, "--http")).

%% The friends graph at a size for every day: the number of deliveries is the number computed.
real_input(Config) ->
    lariat_friends:run(?config(site, Config), #{
        users => 2000, edges => 15, connected => 1000, publishes => 2000
    }).

%% What the router believes is what the edge says, connection by connection.
same_picture(App, Node, Ids) ->
    Edge = lists:append([
        begin
            {ok, Conns} = call(App, gen_server, call, [{lariat, Node}, {connections, Id}]),
            [{Conn, Id} || Conn <- Conns]
        end
     || Id <- Ids
    ]),
    ?assertEqual(lists:sort(Edge), lists:sort(call(App, lariat_picture, picture, [Node]))).

%% Evaluates Erlang on a node, as a shell user would, in a process of its own; an exit is a value.
tried(App, Format, Args) ->
    Text = lists:flatten(io_lib:format("catch begin " ++ Format ++ " end.", Args)),
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = call(App, erl_eval, exprs, [Exprs, []]),
    Value.

%% The programs that a node's ports run.
os_pids(App) ->
    Ports = call(App, erlang, ports, []),
    Infos = [{call(App, erlang, port_info, [P, os_pid]), call(App, erlang, port_info, [P, name])}
             || P <- Ports],
    [Pid || {{os_pid, Pid}, {name, Name}} <- Infos, is_integer(Pid),
            filename:basename(Name) =:= "lariat"].

program(Args) ->
    Port = open_port({spawn_executable, lariat_site:program()}, [
        {args, Args}, exit_status, stderr_to_stdout, binary,
        {env, [{"LARIAT_COOKIE", "x"}]}
    ]),
    output(Port, []).

output(Port, Read) ->
    receive
        {Port, {data, Data}} -> output(Port, [Data | Read]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(lists:reverse(Read))}
    after 60000 -> error(still_running)
    end.
