%%% Credit end to end: who honours it loses nothing, who does not is dropped, told and counted.
%%%
%%% Real Erlang nodes, the real program with small queues, clients that count. Producers run at
%%% full speed in processes of their own; nothing here waits but for what is bound to happen.
-module(lariat_credit_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    honoured_credit_loses_nothing/1,
    a_flood_beside_it_takes_nothing_from_it/1,
    ignored_credit_is_told_and_counted/1,
    stalled_clients_suspend_nobody/1,
    credit_is_whole_after_every_loss/1,
    credit_is_whole_after_the_edge_is_killed/1,
    credit_is_whole_after_erlang_is_killed/1
]).
%% Called on the nodes.
-export([produce/3, produced/1, watch/0, watched/1, flood/4, go_on/2, enough/1]).

-import(lariat_attached, [attached/3, up/2, seen/2, counters/1]).
-import(lariat_site, [call/4, await/2]).

%% A window of 32 KiB: some 180 messages of 100 bytes, so that full speed runs into it. No
%% heartbeats: clients count bytes.
-define(SMALL, "[http]\nqueue_bytes_max = \"256 KiB\"\nheartbeat = \"off\"\n" ?PATIENT).

%% Outboxes that clients on a busy machine cannot fill: slow readers are not the matter here.
-define(PATIENT, "[outbox]\nmessages_max = 10000000\n"
                 "bytes_max = \"1 GiB\"\ntotal_bytes_max = \"2 GiB\"\n").

all() ->
    [
        honoured_credit_loses_nothing,
        a_flood_beside_it_takes_nothing_from_it,
        ignored_credit_is_told_and_counted,
        stalled_clients_suspend_nobody,
        credit_is_whole_after_every_loss,
        credit_is_whole_after_the_edge_is_killed,
        credit_is_whole_after_erlang_is_killed
    ].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_testcase(_Case, Config) ->
    [{site, lariat_site:start(?config(priv_dir, Config))} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%% Two nodes with three producers each, at full speed: to one id, to many, by subscription.
honoured_credit_loses_nothing(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = small_edge(Site),
    Apps = [attached(Site, Name, [Node]) || Name <- ["one", "two"]],
    Clients = 100,
    {One, Many, Published} = {4000, 100, 20},
    Each = One + Many * Clients + Published * 10,
    Load = load(Http, Clients, Each * 3 * length(Apps)),
    [seen(App, Clients) || App <- Apps],
    [
        ok = call(App, lariat, add_subscriptions, [[{Id, 1} || Id <- lists:seq(2, 10)]])
     || App <- Apps
    ],
    Watchers = [call(App, ?MODULE, watch, []) || App <- Apps],
    Work = {One, Many, Published},
    Runs = [{App, call(App, ?MODULE, produce, [3, Work, Clients])} || App <- Apps],
    Busy = [finished(App, Run) || {App, Run} <- Runs],
    ?assertEqual(0, received_all(Load)),
    io:format("busy answers: ~0p~n", [Busy]),
    [?assert(Answers > 0, "full speed runs into the window") || Answers <- Busy],
    ?assertEqual(0, lariat_site:metric(Edge, shard_queue_full())),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_credit_exceeded_total">>)),
    [whole(App, Node) || App <- Apps],
    [
        ?assertEqual([], call(App, ?MODULE, watched, [Watcher]))
     || {App, Watcher} <- lists:zip(Apps, Watchers)
    ],
    [
        begin
            Counters = counters(App),
            %% Every busy answer was for want of credit, or the link's.
            ?assert(maps:get(sends_out_of_credit, Counters) > 0),
            ?assertEqual(0, maps:get(edge_overloaded_messages, Counters))
        end
     || App <- Apps
    ],
    well(hd(Apps), Edge).

%% A queue that others keep full has room for what is on credit.
a_flood_beside_it_takes_nothing_from_it(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = small_edge(Site),
    App = attached(Site, "app", [Node]),
    Rude = lariat_site:plain_erlang(Site, "rude", paths()),
    Clients = 20,
    {One, Many} = {3000, 100},
    Load = load(Http, Clients, (One + Many * Clients) * 2),
    %% The flood is for others: writing to them is what takes the shards longer than reading the
    %% link takes its reader.
    Others = lists:seq(1001, 1050),
    _ = [counting(Http, Id) || Id <- Others],
    seen(App, Clients + 50),
    Flood = call(Rude, ?MODULE, go_on, [Node, {Others, binary:copy(<<"x">>, 100)}]),
    await(fun() -> lariat_site:metric(Edge, shard_queue_full()) > 0 end, overflow),
    Run = call(App, ?MODULE, produce, [2, {One, Many, 0}, Clients]),
    _ = finished(App, Run),
    ?assertEqual(0, received_all(Load)),
    true = call(Rude, ?MODULE, enough, [Flood]),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_credit_exceeded_total">>)),
    whole(App, Node),
    well(App, Edge).

%% Sent to another name there is no credit: what does not fit is dropped, and every one of them
%% told and counted.
ignored_credit_is_told_and_counted(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = small_edge(Site),
    App = attached(Site, "app", [Node]),
    Clients = 50,
    Ids = lists:seq(1, Clients),
    Counting = [counting(Http, Id) || Id <- Ids],
    seen(App, Clients),
    {Terms, Bytes} = {2000, 4000},
    ok = call(App, ?MODULE, flood, [Node, Ids, Terms, Bytes]),
    Sent = Terms * Clients,
    Delivered = fun() -> lariat_site:metric(Edge, <<"lariat_messages_delivered_total">>) end,
    Dropped = fun() -> lariat_site:metric(Edge, shard_queue_full()) end,
    await(fun() -> Delivered() + Dropped() =:= Sent end, every_message),
    ?assert(Dropped() > 0, "the queue overflows"),
    io:format("sent ~b, delivered ~b, dropped ~b~n", [Sent, Delivered(), Dropped()]),
    %% What is called delivered has arrived.
    ?assertEqual(Delivered(), lists:sum(counted(Counting, Bytes, Delivered()))),
    OverloadedBytes = lariat_site:metric(Edge, <<"lariat_overloaded_bytes_total">>),
    await(
        fun() ->
            #{edge_overloaded_messages := M, edge_overloaded_bytes := B} = counters(App),
            {M, B} =:= {Dropped(), OverloadedBytes}
        end,
        overloaded_events
    ),
    whole(App, Node),
    well(App, Edge).

%% Clients that do not read cost themselves, never a sender: neither one that honours credit nor
%% one that has never heard of it.
stalled_clients_suspend_nobody(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} =
        Edge = lariat_site:edge(Site, "lariat", #{args => config(Site, ?PATIENT)}),
    App = attached(Site, "app", [Node]),
    Stalled = [lariat_client:open(Http, 1, chunked) || _ <- lists:seq(1, 5)],
    seen(App, 5),
    Watcher = call(App, ?MODULE, watch, []),
    %% 16 MiB for each client: far more than sockets hold, so that all of them are congested.
    [
        begin
            ok = call(App, ?MODULE, flood, [Node, 1, 16, 16384]),
            %% Answered only when all before it has been read from the link.
            {ok, #{}} = call(App, lariat, info, [Node])
        end
     || _ <- lists:seq(1, 64)
    ],
    await(
        fun() -> lariat_site:metric(Edge, <<"lariat_congested_connections">>) =:= 5 end, congestion
    ),
    Run = call(App, ?MODULE, produce, [4, {2000, 0, 0}, 1]),
    _ = finished(App, Run),
    ?assertEqual([], call(App, ?MODULE, watched, [Watcher])),
    ?assertEqual(5, lariat_site:metric(Edge, <<"lariat_congested_connections">>)),
    Delivered = fun() -> lariat_site:metric(Edge, <<"lariat_messages_delivered_total">>) end,
    await(fun() -> Delivered() =:= (64 * 16 + 4 * 2000) * 5 end, every_message),
    whole(App, Node),
    [lariat_client:close(Stream) || Stream <- Stalled],
    well(App, Edge).

%% Producers at full speed while the process that hears of credit is killed, and the link cut,
%% again and again: afterwards both sides agree that nothing is outstanding.
credit_is_whole_after_every_loss(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = small_edge(Site),
    App = attached(Site, "app", [Node]),
    Counting = [counting(Http, Id) || Id <- lists:seq(1, 10)],
    seen(App, 10),
    Producers = [call(App, ?MODULE, go_on, [lariat, Id]) || Id <- lists:seq(1, 4)],
    [
        begin
            Attaches = maps:get(attaches, counters(App)),
            Credited = maps:get(messages_sent, counters(App)),
            case Round rem 2 of
                0 -> true = call(App, erlang, disconnect_node, [Node]);
                1 -> true = call(App, erlang, exit, [link_of(App, Node), kill])
            end,
            await(fun() -> maps:get(attaches, counters(App)) > Attaches end, attached),
            up(App, Node),
            seen(App, 10),
            await(fun() -> maps:get(messages_sent, counters(App)) > Credited + 1000 end, traffic)
        end
     || Round <- lists:seq(1, 10)
    ],
    [true = call(App, ?MODULE, enough, [Producer]) || Producer <- Producers],
    whole(App, Node),
    ?assertEqual(0, maps:get(credit_lost, counters(App))),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_credit_exceeded_total">>)),
    [Pid ! stop || Pid <- Counting],
    well(App, Edge).

credit_is_whole_after_the_edge_is_killed(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = First = small_edge(Site),
    App = attached(Site, "app", [Node]),
    _ = counting(Http, 1),
    seen(App, 1),
    Producers = [call(App, ?MODULE, go_on, [lariat, 1]) || _ <- lists:seq(1, 4)],
    await(fun() -> maps:get(sends_out_of_credit, counters(App)) > 100 end, full_speed),
    lariat_site:kill(First),
    await(fun() -> credit(App, Node) =:= none end, nothing_to_take),
    #{http := NewHttp} = Second = small_edge(Site),
    up(App, Node),
    _ = counting(NewHttp, 1),
    seen(App, 1),
    Before = maps:get(messages_sent, counters(App)),
    await(fun() -> maps:get(messages_sent, counters(App)) > Before + 1000 end, traffic),
    [true = call(App, ?MODULE, enough, [Producer]) || Producer <- Producers],
    whole(App, Node),
    well(App, Second).

credit_is_whole_after_erlang_is_killed(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = small_edge(Site),
    First = attached(Site, "app", [Node]),
    _ = counting(Http, 1),
    seen(First, 1),
    _ = [call(First, ?MODULE, go_on, [lariat, 1]) || _ <- lists:seq(1, 4)],
    await(fun() -> maps:get(sends_out_of_credit, counters(First)) > 100 end, full_speed),
    lariat_site:kill(First),
    Second = attached(Site, "app", [Node]),
    seen(Second, 1),
    whole(Second, Node),
    Run = call(Second, ?MODULE, produce, [4, {1000, 0, 0}, 1]),
    ?assert(finished(Second, Run) > 0),
    whole(Second, Node),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_credit_exceeded_total">>)),
    well(Second, Edge).

%% On a node: producers at full speed, that try again when busy. Each sends `One' messages to one
%% of `Clients' ids, `Many' to all of them, and publishes `Published' to the subscribers of 1.
produce(Producers, {One, Many, Published}, Clients) ->
    Work = fun() ->
        Payload = binary:copy(<<"x">>, 100),
        All = lists:seq(1, Clients),
        Busy = [
            until_taken(fun() -> lariat:send(N rem Clients + 1, Payload) end, 0)
         || N <- lists:seq(1, One)
        ] ++ [
            until_taken(fun() -> lariat:send(All, Payload, #{event => "e"}) end, 0)
         || _ <- lists:seq(1, Many)
        ] ++ [
            until_taken(fun() -> lariat:publish(1, Payload) end, 0)
         || _ <- lists:seq(1, Published)
        ],
        exit({busy, lists:sum(Busy)})
    end,
    spawn(fun() ->
        Monitors = [spawn_monitor(Work) || _ <- lists:seq(1, Producers)],
        Busy = [
            receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end
         || {Pid, Monitor} <- Monitors
        ],
        receive {how_was_it, From} -> From ! {self(), Busy} end
    end).

until_taken(Send, Busy) ->
    case Send() of
        ok -> Busy;
        {ok, _} -> Busy;
        {error, busy} -> erlang:yield(), until_taken(Send, Busy + 1)
    end.

%% On a node: how often producers were told busy, once they are through.
produced(Run) ->
    Run ! {how_was_it, self()},
    receive {Run, Reasons} -> lists:sum(lists:map(fun busy/1, Reasons)) end.

%% A producer that crashed has another reason, and fails the test.
busy({busy, Answers}) -> Answers.

%% On a node: collects processes that the VM suspends because a link is full.
watch() ->
    Watcher = spawn(fun() -> watching([]) end),
    undefined = erlang:system_monitor(Watcher, [busy_dist_port]),
    Watcher.

watching(Seen) ->
    receive
        {monitor, _, busy_dist_port, _} = Suspended -> watching([Suspended | Seen]);
        {seen, From} -> From ! {self(), Seen}
    end.

watched(Watcher) ->
    Watcher ! {seen, self()},
    receive {Watcher, Seen} -> Seen end.

%% On a node: as much as the link takes, to a name that knows no credit. A link that is full is
%% waited for, as `!' does.
flood(Node, Ids, Terms, Bytes) ->
    Payload = binary:copy(<<"x">>, Bytes),
    _ = [{any, Node} ! {Ids, Payload} || _ <- lists:seq(1, Terms)],
    ok.

%% On a node: sends and sends until it is enough. With lariat:send/2 whatever it answers, or past
%% all credit.
go_on(lariat, Id) ->
    spawn(fun() -> going(fun() -> _ = lariat:send(Id, binary:copy(<<"x">>, 100)) end) end);
go_on(Node, Term) ->
    spawn(fun() -> going(fun() -> {any, Node} ! Term end) end).

going(Send) ->
    _ = Send(),
    receive
        {enough, From} -> From ! {self(), enough}
    after 0 -> going(Send)
    end.

enough(Pid) ->
    Pid ! {enough, self()},
    receive {Pid, enough} -> true end.

small_edge(Site) ->
    lariat_site:edge(Site, "lariat", #{args => config(Site, ?SMALL)}).

config(#{dir := Dir}, Text) ->
    File = filename:join(Dir, "lariat.toml"),
    ok = file:write_file(File, Text),
    ["--config", File].

paths() ->
    ["-pa", filename:dirname(code:which(?MODULE))].

credit(App, Node) ->
    #{edges := #{Node := #{credit := Credit}}} = call(App, lariat, info, []),
    Credit.

%% Nothing is outstanding.
whole(App, Node) ->
    await(fun() -> maps:get(outstanding, credit(App, Node)) =:= 0 end, credit),
    io:format("~0p~n", [credit(App, Node)]).

link_of(App, Node) ->
    Children = call(App, supervisor, which_children, [lariat_edge_sup]),
    {_, Pid, _, _} = lists:keyfind({link, Node}, 1, Children),
    Pid.

%% A call may take as long as the producers do.
finished(#{peer := Peer}, Run) ->
    peer:call(Peer, ?MODULE, produced, [Run], 120000).

shard_queue_full() ->
    <<"lariat_messages_dropped_total{reason=\"shard_queue_full\"}">>.

%% A client that reads all the time; asked, it says how many bytes came after the head.
counting(Http, Id) ->
    spawn_link(fun() ->
        #{socket := Socket} = lariat_client:open(Http, Id, chunked),
        ok = inet:setopts(Socket, [{packet, raw}, {active, true}]),
        counting_bytes(Socket, 0)
    end).

counting_bytes(Socket, Bytes) ->
    receive
        {tcp, Socket, Data} -> counting_bytes(Socket, Bytes + byte_size(Data));
        {tcp_closed, Socket} -> counting_bytes(Socket, Bytes);
        {bytes, From} -> From ! {self(), Bytes}, counting_bytes(Socket, Bytes);
        stop -> ok
    end.

%% Messages of `Bytes' bytes that each has received, once there are `Total' in all.
counted(Counting, Bytes, Total) ->
    Chunk = Bytes + length(integer_to_list(Bytes, 16)) + 4,
    Counts = fun() ->
        [
            begin
                Pid ! {bytes, self()},
                receive {Pid, Received} -> Received / Chunk end
            end
         || Pid <- Counting
        ]
    end,
    Whole = fun() -> lists:sum(Counts()) == Total andalso [trunc(N) || N <- Counts()] end,
    await(Whole, {counted, Total}).

%% The load generator, on a process of its own.
load(Http, Clients, Total) ->
    Owner = self(),
    Load = spawn_link(fun() ->
        Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
        Port = open_port({spawn_executable, lariat_site:tools()}, [
            {args, ["load", "--url", Url, "--connections", integer_to_list(Clients),
                "--ids", "1-" ++ integer_to_list(Clients), "--expect", integer_to_list(Total),
                "--timeout", "150s"]},
            exit_status, binary, {line, 65536}
        ]),
        loading(Port, Owner)
    end),
    receive {Load, connected} -> Load after 60000 -> error(not_connected) end.

loading(Port, Owner) ->
    receive
        {Port, {data, {_, <<"{\"event\":\"connected\"", _/binary>>}}} ->
            Owner ! {self(), connected},
            loading(Port, Owner);
        {Port, {data, {_, Line}}} ->
            io:format("~ts~n", [Line]),
            loading(Port, Owner);
        {Port, {exit_status, Status}} ->
            Owner ! {self(), ended, Status}
    end.

%% Exactly the expected number, and not one more.
received_all(Load) ->
    receive {Load, ended, Status} -> Status after 160000 -> error(no_report) end.

%% Both sides are still well.
well(App, #{http := Http, node := Node, admin := Admin} = Edge) ->
    pong = call(App, net_adm, ping, [Node]),
    Stream = lariat_client:open(Http, <<"witness">>, chunked),
    Reached = fun() -> call(App, lariat, call, [<<"witness">>, <<"well">>]) =:= {ok, 1} end,
    await(Reached, witness),
    <<"well">> = lariat_client:message(Stream),
    {200, _, <<"ok\n">>} = lariat_client:get(Admin, "/healthz"),
    Log = lariat_site:log(Edge),
    ?assertEqual([], [Line || Line <- Log, binary:match(Line, <<"panicked">>) =/= nomatch]),
    lariat_client:close(Stream).
