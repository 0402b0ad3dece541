%%% What a call of the NIF library takes of the scheduler that it runs on.
%%%
%%% An edge in this VM. What is for nobody ends in the shards' queues, or with nobody found; what is for a stream
%%% ends behind the write to its socket, unless its shard has just woken. Each kind of call is made often, each call
%%% is timed by itself, and the queues are empty before a round begins. Calls are so far apart that nobody takes them for
%%% those of a process that does nothing but send, whose messages others write.
%%% The functions are called as the library has them, on a normal and on a dirty scheduler, whatever
%%% `lariat_nif' would choose: its limits are from here. It judges nothing.
%%%
%%% A call that takes longer than a millisecond by the clock may have worked as long, or its thread has lost its core
%%% meanwhile. So the largest calls are measured by the CPU time of the normal schedulers, too, as the kernel says it
%%% (schedstat): that has some microseconds more in it than the call, never less.
-module(lariat_nif_cost).

-export([main/0]).

-define(ROUNDS, 20).
%% Calls of a round: as many as fit the queues, and not more than this.
-define(CALLS_MAX, 500).
-define(QUEUE_BYTES, 32_000_000).
%% Between two calls.
-define(APART_NS, 30_000).
%% Calls whose CPU time is read: each takes more than a millisecond to measure.
-define(CPU_CALLS, 2_000).
%% Ids that have so many streams.
-define(ONE, 1).
-define(SIXTEEN, 16).

main() ->
    nif = load(),
    %% Room for all that is noted: collecting it is not to be part of a call.
    {Pid, Monitor} = spawn_opt(fun run/0, [monitor, {min_heap_size, 20_000_000}]),
    receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end.

run() ->
    {ok, Edge} = lariat_nif:start(#{
        name => cost,
        %% Nothing is to be refused: senders have a 32nd of it.
        config => #{http => #{
            listener => [#{address => <<"127.0.0.1:0">>}], queue_bytes_max => <<"32 GiB">>
        }}
    }),
    read_streams(Edge, [{?ONE, 1}, {?SIXTEEN, 16}]),
    io:format("~-44s ~10s ~10s ~10s ~10s~n", ["us a call", "median", "p99", "most", "over 1 ms"]),
    [measure(Edge, Name, Bytes, Call) || {Name, Bytes, Call} <- cases(Edge)],
    io:format("~nThe largest that lariat_nif takes to a normal scheduler~n"),
    Watcher = spawn_link(fun() -> count(0) end),
    _ = erlang:system_monitor(Watcher, [{long_schedule, 1}]),
    Calls = lists:sum([measure(Edge, Name, Bytes, Call) || {Name, Bytes, Call} <- largest(Edge)]),
    Watcher ! {self(), report},
    receive {long, Count} -> io:format("longer than 1 ms by erlang:system_monitor: ~b of ~b~n", [Count, Calls]) end,
    io:format("~nThe same by the CPU time of the schedulers~n"),
    Threads = scheduler_threads(),
    _ = [measure_cpu(Edge, Threads, Name, Call) || {Name, _, Call} <- largest(Edge)],
    lariat_nif:stop(Edge).

%% What the kernel says of each normal scheduler; its threads have had two names.
scheduler_threads() ->
    Tasks = filelib:wildcard("/proc/self/task/*"),
    Of = fun(Task) ->
        {ok, Name} = file:read_file(Task ++ "/comm"),
        {ok, Stat} = file:open(Task ++ "/schedstat", [read, raw, binary]),
        {re:run(Name, "^([0-9]+_scheduler|erts_sched_[0-9]+)$") =/= nomatch, Stat}
    end,
    [_ | _] = [Stat || {true, Stat} <- lists:map(Of, Tasks)].

measure_cpu(Edge, Threads, Name, Call) ->
    drained(Edge),
    Times = [cpu_time(Threads, Call) || _ <- lists:seq(1, ?CPU_CALLS)],
    forget(),
    row(Name, lists:sort(Times)).

cpu_time(Threads, Call) ->
    Before = cpu_ns(Threads),
    _ = time(Call),
    cpu_ns(Threads) - Before.

%% Of a thread that sleeps: what one that runs has had since its last tick is not in it.
cpu_ns(Threads) ->
    receive after 1 -> ok end,
    lists:sum([begin
        {ok, Text} = file:pread(Thread, 0, 64),
        [Ns | _] = binary:split(Text, <<" ">>),
        binary_to_integer(Ns)
    end || Thread <- Threads]).

%% With all functions, the library's own among them.
load() ->
    {ok, {_, [{compile_info, Info}]}} = beam_lib:chunks(code:which(lariat_nif), [compile_info]),
    {ok, lariat_nif, Code} = compile:file(proplists:get_value(source, Info), [binary, export_all, nowarn_export_all]),
    File = code:which(lariat_nif),
    _ = code:purge(lariat_nif),
    {module, lariat_nif} = code:load_binary(lariat_nif, File, Code),
    nif.

cases(Edge) ->
    Payload = fun(Bytes) -> binary:copy(<<"x">>, Bytes) end,
    Send = fun(Name, Term) ->
        Bytes = erlang:external_size(Term),
        [
            {"send " ++ Name, Bytes, fun() -> lariat_nif:send_nif(Edge, Term) end},
            {"  the same, dirty", Bytes, fun() -> lariat_nif:send_dirty_nif(Edge, Term) end}
        ]
    end,
    Ids = fun(Count) -> lists:seq(1_000_000, 1_000_000 + Count - 1) end,
    Small = Payload(100),
    Conn = {lariat_conn, cost, 1, 1},
    lists:append([
        [{"nothing: heard", 0, fun() -> lariat_nif:heard_nif(Edge, 1) end}],
        Send("1 id, 100 B", {123, Small}),
        Send("1 id of a stream, 100 B", {?ONE, Small}),
        Send("1 id of a stream, 4 KiB", {?ONE, Payload(4096)}),
        Send("1 id of a stream, 16 KiB", {?ONE, Payload(16384)}),
        Send("1 id of 16 streams, 100 B", {?SIXTEEN, Small}),
        Send("1 id, 4 KiB", {123, Payload(4096)}),
        Send("1 id, 64 KiB", {123, Payload(65536)}),
        Send("1 id, 128 KiB", {123, Payload(131072)}),
        Send("1 id, 256 KiB", {123, Payload(262144)}),
        Send("1 id, 1 MiB", {123, Payload(1048576)}),
        Send("1 binary id, 100 B", {<<"alice">>, Small}),
        Send("100 ids, 100 B", {Ids(100), Small}),
        Send("1,000 ids, 100 B", {Ids(1000), Small}),
        Send("10,000 ids, 100 B", {Ids(10000), Small}),
        Send("100,000 ids, 100 B", {Ids(100000), Small}),
        Send("1,000 binary ids, 100 B", {[integer_to_binary(Id) || Id <- Ids(1000)], Small}),
        Send("1,000 ids that are tuples, 100 B", {[{user, Id} || Id <- Ids(1000)], Small}),
        Send("1 id, list of 64 x 1 KiB", {123, lists:duplicate(64, Payload(1024))}),
        Send("1 id, string of 64 Ki characters", {123, binary_to_list(Payload(65536))}),
        Send("1 id, 100 B, with options", {123, Small, #{event => <<"tick">>}}),
        Send("1 id, 64 KiB, with options", {123, Payload(65536), #{event => <<"tick">>}}),
        [
            {"signal 100 B", 100, fun() -> lariat_nif:signal_nif(Edge, Conn, Small) end},
            {"signal {event, ..}, 100 B", 100, fun() -> lariat_nif:signal_nif(Edge, Conn, {event, <<"e">>, Small}) end},
            {"cast an answer of 100 B", 100, fun() -> lariat_nif:cast_nif(Edge, {answer, 1, {reply, 200, #{}, Small}}) end},
            {"cast an answer of 64 KiB", 65536, fun() -> lariat_nif:cast_nif(Edge, {answer, 1, {reply, 200, #{}, Payload(65536)}}) end},
            {"request info, without the answer", 100, fun() -> lariat_nif:request_nif(Edge, tag, info) end},
            {"info, with the answer", 100, fun() -> lariat_nif:info(Edge) end},
            {"metrics", 0, fun() -> lariat_nif:metrics_nif(Edge) end}
        ]
    ]).

%% By its functions, as everybody calls them: each of these is just below a limit.
largest(Edge) ->
    Small = binary:copy(<<"x">>, 100),
    Terms = [
        {"send 1 id of 16 streams, 16 KiB", {?SIXTEEN, binary:copy(<<"x">>, 16384)}},
        {"send 1 id, 128 KiB", {123, binary:copy(<<"x">>, 131072)}},
        {"send 3,200 ids, 100 B", {lists:seq(1_000_000, 1_003_199), Small}},
        {"send 700 binary ids, 100 B", {[<<"user ", (integer_to_binary(Id))/binary>> || Id <- lists:seq(1_000_000, 1_000_699)], Small}},
        {"send 900 ids that are tuples, 100 B", {[{user, Id} || Id <- lists:seq(1_000_000, 1_000_899)], Small}},
        {"send 1 id, string of 16,000 characters", {123, lists:duplicate(16000, $x)}},
        {"send 1 id, 16,000 B with options", {123, binary:copy(<<"x">>, 16000), #{event => <<"tick">>}}}
    ],
    Answer = {answer, 1, {reply, 200, #{}, binary:copy(<<"x">>, 16000)}},
    [{Name, erlang:external_size(Term), fun() -> lariat_nif:send(Edge, Term) end} || {Name, Term} <- Terms] ++
        [{"cast an answer of 16,000 B", 16000, fun() -> lariat_nif:cast(Edge, Answer) end}].

measure(Edge, Name, Bytes, Call) ->
    Calls = min(?CALLS_MAX, max(2, ?QUEUE_BYTES div (Bytes + 300))),
    Round = fun() ->
        drained(Edge),
        Times = [apart(Call) || _ <- lists:seq(1, Calls)],
        forget(),
        Times
    end,
    _ = Round(),
    Times = lists:append([Round() || _ <- lists:seq(1, ?ROUNDS)]),
    row(Name, lists:sort(Times)),
    length(Times).

row(Name, Times) ->
    Of = fun(Part) -> lists:nth(max(1, ceil(length(Times) * Part)), Times) / 1000 end,
    Over = length([Time || Time <- Times, Time > 1_000_000]),
    io:format("~-44s ~10.2f ~10.2f ~10.2f ~10b~n", [Name, Of(0.5), Of(0.99), Of(1), Over]).

%% Opens so many streams for each id, and has them read until this process ends.
read_streams(Edge, Ids) ->
    {ok, #{http_addresses := [Address]}} = lariat_nif:info(Edge),
    [_, Port] = string:split(Address, ":", trailing),
    Open = fun(Id) ->
        Options = [binary, {active, false}, {recbuf, 1 bsl 20}],
        {ok, Socket} = gen_tcp:connect("127.0.0.1", binary_to_integer(Port), Options),
        ok = gen_tcp:send(Socket, io_lib:format("GET /stream/~b HTTP/1.1\r\nhost: here\r\n\r\n", [Id])),
        {ok, <<"HTTP/1.1 200", _/binary>>} = gen_tcp:recv(Socket, 0),
        ok = inet:setopts(Socket, [{active, true}])
    end,
    Measuring = self(),
    Reader = spawn_link(fun() ->
        _ = [Open(Id) || {Id, Count} <- Ids, _ <- lists:seq(1, Count)],
        Measuring ! {self(), opened},
        read()
    end),
    receive {Reader, opened} -> ok end.

read() ->
    receive {tcp, _, _} -> read() end.

apart(Call) ->
    pass(erlang:monotonic_time(nanosecond) + ?APART_NS),
    time(Call).

%% A time slice of its own for each, so that what `erlang:system_monitor' calls long is one call.
time(Call) ->
    erlang:yield(),
    Start = erlang:monotonic_time(nanosecond),
    Answer = Call(),
    Time = erlang:monotonic_time(nanosecond) - Start,
    case Answer of
        {error, Why} -> error({refused, Why});
        _ -> Time
    end.

pass(Until) ->
    case erlang:monotonic_time(nanosecond) < Until of
        true -> pass(Until);
        false -> ok
    end.

%% What a call before this has left in the queues would be part of it: the allocator's locks, and busy.
drained(Edge) ->
    case lariat_nif:info(Edge) of
        {ok, #{shard_queue_bytes := 0}} -> ok;
        _ -> drained(Edge)
    end.

forget() ->
    receive _ -> forget() after 0 -> ok end.

count(Long) ->
    receive
        {monitor, _, long_schedule, _} -> count(Long + 1);
        {From, report} -> From ! {long, Long}
    end.
