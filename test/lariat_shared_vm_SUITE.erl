%%% What the rest of a VM notices of an edge in it, and what clients can do to it: nothing.
%%%
%%% One Erlang node with the application and an edge in its VM, raw clients outside. Threads, processes,
%%% atoms, tables and binaries are counted before and after. The life of the edge itself is
%%% `lariat_nif_SUITE'.
-module(lariat_shared_vm_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    hostile_requests/1,
    what_clients_say_is_no_atom/1,
    many_senders_at_once/1,
    a_full_queue_is_busy/1,
    messages_pin_nothing_in_erlang/1,
    what_clients_say_pins_nothing/1,
    it_stops_with_the_application/1
]).
%% Called on the node.
-export([handle/1, sends/3, floods/2, pins/3, binary_bytes/0, watched_schedules/0]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [seen/2]).
-import(lariat_well, [well/2]).

all() ->
    [
        hostile_requests,
        what_clients_say_is_no_atom,
        many_senders_at_once,
        a_full_queue_is_busy,
        messages_pin_nothing_in_erlang,
        what_clients_say_pins_nothing,
        it_stops_with_the_application
    ].

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) ->
    lariat_pair:init_case([{edge, nif} | Config]).

end_per_testcase(_Case, Config) ->
    lariat_pair:end_case(Config).

%% What is said comes back: requests as terms, messages as they are.
handle({init, #{kind := request} = Request}) ->
    {reply, 200, [], term_to_binary(Request)};
handle({init, #{kind := websocket} = Request}) ->
    {accept, lariat_request:id(Request), #{}};
handle({in, #{id := keeper}, _}) ->
    ok;
%% How much of the VM's memory each of these binaries holds.
handle({in, _, {text, <<"pins ", Rest/binary>>}}) ->
    {reply, integer_to_binary(binary:referenced_byte_size(Rest))};
handle({in, _, Data}) ->
    {reply, Data};
handle({closed, _, _}) ->
    ok.

%% All that nobody should send, twice: what the first round has loaded and opened stays, the second one
%% leaves nothing.
hostile_requests(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, ["path = \"/ask\"\nkind = \"request\"\nhandler = \"nobody\"\n"]),
    Witness = lariat_client:open(Http, 99, chunked),
    seen(App, 1),
    Round = fun() ->
        Offences = [lariat_malformed:offence(Http, Row) || Row <- lariat_malformed:rows()],
        ?assertEqual([], [Offence || Offence <- Offences, Offence =/= none]),
        seen(App, 1)
    end,
    ok = call(App, ?MODULE, watched_schedules, []),
    _ = Round(),
    Before = call(App, lariat_vm, occupied, []),
    _ = Round(),
    ?assertEqual(ok, call(App, lariat_vm, settled, [Before])),
    ok = call(App, lariat, send, [99, <<"unmoved">>]),
    <<"unmoved">> = lariat_client:message(Witness),
    ct:pal("schedules of more than 10 ms: ~0p~n", [
        [Line || Line <- lariat_site:log(App), binary:match(Line, <<"long_schedule">>) =/= nomatch]
    ]),
    well(App, Edge).

%% For information: what the VM calls long goes into the node's log.
watched_schedules() ->
    Pid = spawn(fun() -> watching() end),
    _ = erlang:system_monitor(Pid, [{long_schedule, 10}]),
    ok.

watching() ->
    receive
        {monitor, PidOrPort, long_schedule, Info} ->
            logger:notice("long_schedule ~0p ~0p", [PidOrPort, Info]),
            watching()
    end.

%% Methods, fields, queries, ids, messages, reasons: all of them new, none an atom.
what_clients_say_is_no_atom(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [
        "path = \"/api/{what}\"\nkind = \"request\"\nhandler = \"h\"\n",
        "path = \"/ws/{id}\"\nkind = \"websocket\"\naccess = \"ask\"\nhandler = \"h\"\n"
    ]),
    Round = fun(New) ->
        {200, _, Body} = lariat_client:request(Http, [
            [string:uppercase(New), " /api/", New, "?", New, "=", New, " HTTP/1.1\r\nHost: ", New],
            ["\r\n", New, ": ", New, "\r\nConnection: close\r\n\r\n"]
        ]),
        #{bindings := #{<<"what">> := New}} = binary_to_term(Body),
        Socket = lariat_websocket:open(Http, ["/ws/", New]),
        ok = lariat_websocket:say(Socket, {text, New}),
        {text, New} = lariat_websocket:hear(Socket),
        ok = lariat_websocket:close(Socket),
        lariat_client:close(lariat_client:open(Http, New, sse)),
        seen(App, 0)
    end,
    New = fun(N) -> <<"new", (integer_to_binary(N))/binary, (integer_to_binary(rand:uniform(1 bsl 60), 36))/binary>> end,
    _ = [Round(string:lowercase(New(N))) || N <- lists:seq(1, 5)],
    Before = call(App, erlang, system_info, [atom_count]),
    _ = [Round(string:lowercase(New(N))) || N <- lists:seq(6, 55)],
    ?assertEqual(Before, call(App, erlang, system_info, [atom_count])),
    well(App, Edge).

%% 64 processes, each in its order, to one connection and to all.
many_senders_at_once(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, []),
    Ids = lists:seq(1, 8),
    Streams = [lariat_client:open(Http, Id, chunked) || Id <- Ids],
    seen(App, length(Ids)),
    Counts = call(App, ?MODULE, sends, [64, 200, Ids]),
    ct:pal("busy answers of 64 senders: ~b~n", [lists:sum(Counts)]),
    [
        begin
            Heard = [binary_to_term(lariat_client:message(Stream)) || _ <- lists:seq(1, 64 * 200)],
            [
                ?assertEqual(lists:seq(1, 200), [N || {From, N} <- Heard, From =:= Sender])
             || Sender <- lists:seq(1, 64)
            ]
        end
     || Stream <- Streams
    ],
    well(App, Edge).

%% On the node: half of the messages to all at once, half to each of them. How often each was told busy.
sends(Senders, Count, Ids) ->
    Each = fun(Sender) ->
        Busy = [
            begin
                Message = term_to_binary({Sender, N}),
                case N rem 2 of
                    0 -> until_taken(Ids, Message, 0);
                    1 -> lists:sum([until_taken(Id, Message, 0) || Id <- Ids])
                end
            end
         || N <- lists:seq(1, Count)
        ],
        exit({busy, lists:sum(Busy)})
    end,
    Monitors = [spawn_monitor(fun() -> Each(Sender) end) || Sender <- lists:seq(1, Senders)],
    [
        receive {'DOWN', Monitor, process, Pid, {busy, Busy}} -> Busy end
     || {Pid, Monitor} <- Monitors
    ].

until_taken(Ids, Message, Busy) ->
    case lariat:send(Ids, Message) of
        ok -> Busy;
        {error, busy} -> erlang:yield(), until_taken(Ids, Message, Busy + 1)
    end.

%% Nothing that was taken is lost, and what was not is told at once.
a_full_queue_is_busy(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{
        http => "queue_bytes_max = \"64 KiB\"\nheartbeat = \"off\"\n",
        more => "[outbox]\nmessages_max = 10000000\nbytes_max = \"1 GiB\"\ntotal_bytes_max = \"2 GiB\"\n"
    }),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    {Taken, Busy} = call(App, ?MODULE, floods, [8, 4000]),
    ct:pal("taken ~b, busy ~b~n", [Taken, Busy]),
    ?assert(Busy > 0, "the queue is full at times"),
    Message = binary:copy(<<"x">>, 4000),
    [Message = lariat_client:message(Stream) || _ <- lists:seq(1, Taken)],
    lariat_client:nothing(Stream),
    Dropped = <<"lariat_messages_dropped_total{reason=\"shard_queue_full\"}">>,
    ?assertEqual(0, lariat_pair:metric(Edge, Dropped)),
    well(App, Edge).

%% On the node: so many processes send until one of them was told busy, and a little longer.
floods(Senders, Bytes) ->
    Message = binary:copy(<<"x">>, Bytes),
    Told = atomics:new(1, []),
    Each = fun() -> exit(flooding(Message, Told, 0, 0)) end,
    Monitors = [spawn_monitor(Each) || _ <- lists:seq(1, Senders)],
    {Taken, Busy} = lists:unzip([
        receive {'DOWN', Monitor, process, Pid, {flooded, Taken, Busy}} -> {Taken, Busy} end
     || {Pid, Monitor} <- Monitors
    ]),
    {lists:sum(Taken), lists:sum(Busy)}.

%% 20,000 in all is more than any machine writes while it is sent.
flooding(Message, Told, Taken, Busy) ->
    case Taken > 20000 orelse atomics:get(Told, 1) > 100 of
        true ->
            {flooded, Taken, Busy};
        false ->
            case lariat:send(1, Message) of
                ok ->
                    flooding(Message, Told, Taken + 1, Busy);
                {error, busy} ->
                    ok = atomics:add(Told, 1, 1),
                    flooding(Message, Told, Taken, Busy + 1)
            end
    end.

%% A piece of a large binary is sent to a client that does not read: while it waits there, the large one
%% is free to go.
messages_pin_nothing_in_erlang(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{
        more => "[outbox]\nbytes_max = \"64 MiB\"\nmessages_max = 100000\n"
    }),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    Large = 8 * 1024 * 1024,
    Filling = binary:copy(<<"x">>, 1 bsl 18),
    Filled = fill(App, Edge, Filling, 0),
    Before = call(App, ?MODULE, binary_bytes, []),
    Pieces = 20,
    [] = call(App, ?MODULE, pins, [Pieces, Large, 100]),
    %% All the large ones together would be 160 MiB; what waits is less than one of them.
    Small = fun() -> call(App, ?MODULE, binary_bytes, []) - Before < Large end,
    await(Small, {freed, Before}),
    [Filling = lariat_client:message(Stream) || _ <- lists:seq(1, Filled)],
    Piece = binary:copy(<<"y">>, 100),
    [Piece = lariat_client:message(Stream) || _ <- lists:seq(1, Pieces)],
    well(App, Edge).

%% Until something waits for the client: sockets have taken what they take.
fill(App, Edge, Message, Sent) ->
    {ok, 1} = call(App, lariat, call, [1, Message]),
    case lariat_pair:metric(Edge, <<"lariat_congested_connections">>) of
        0 -> fill(App, Edge, Message, Sent + 1);
        _ -> Sent + 1
    end.

%% On the node: sends a piece of each of so many large binaries. What the sender still refers to.
pins(Count, Large, Bytes) ->
    ok = pieces(Count, Large, Bytes),
    true = erlang:garbage_collect(),
    {binary, Binaries} = process_info(self(), binary),
    [Binary || {_, Size, _} = Binary <- Binaries, Size >= Large].

pieces(0, _, _) ->
    ok;
pieces(Count, Large, Bytes) ->
    Whole = binary:copy(<<"y">>, Large),
    ok = lariat:send(1, binary:part(Whole, Count, Bytes)),
    pieces(Count - 1, Large, Bytes).

%% On the node: bytes of all binaries that are not on a heap of a process.
binary_bytes() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    erlang:memory(binary).

%% What handlers get are binaries of their own size, however much came with them.
what_clients_say_pins_nothing(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [
        "path = \"/ws/{id}\"\nkind = \"websocket\"\nhandler = \"h\"\n"
    ]),
    Socket = lariat_websocket:open(Http, "/ws/1"),
    seen(App, 1),
    Rest = binary:copy(<<"z">>, 100),
    %% In one breath, so that they may come in one read and one batch.
    _ = [ok = lariat_websocket:say(Socket, {text, ["pins ", Rest]}) || _ <- lists:seq(1, 200)],
    Pinned = [
        begin
            {text, Bytes} = lariat_websocket:hear(Socket),
            binary_to_integer(Bytes)
        end
     || _ <- lists:seq(1, 200)
    ],
    ct:pal("bytes that messages of 105 refer to: at most ~b~n", [lists:max(Pinned)]),
    ?assert(lists:max(Pinned) =< 65536),
    well(App, Edge).

%% In order for its connections; what it occupied is there again.
it_stops_with_the_application(Config) ->
    {#{http := Http}, App} = Pair = pair(Config, []),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    ok = call(App, application, stop, [lariat]),
    closed = lariat_client:message(Stream),
    Before = call(App, lariat_vm, occupied, []),
    {#{http := Next} = Edge, App} = lariat_pair:started_again(Pair),
    Other = lariat_client:open(Next, 1, chunked),
    seen(App, 1),
    ok = call(App, application, stop, [lariat]),
    closed = lariat_client:message(Other),
    ?assertEqual(ok, call(App, lariat_vm, settled, [Before])),
    {Again, App} = lariat_pair:started_again({Edge, App}),
    well(App, Again).

pair(Config, Routes) ->
    lariat_pair:start(Config, #{
        routes => Routes ++ ["path = \"/stream/{id}\"\n"],
        environment => [{handlers, [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}]}]
    }).
