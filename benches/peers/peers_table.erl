%%% The table: what servers of held streams cost beside each other, and beside a bare loop of
%%% writes. `peers_text' writes it.
%%%
%%% In each round every server is started, measured and ended, one after the other, so that what
%%% else the machine does meets all of them. Each measurement is a run of the load generator that expects
%%% an exact number of messages: a server that loses one fails the bench.
%%%
%%% | measured | how |
%%% |---|---|
%%% | bytes a connection | resident memory with all connected, less that before, by N |
%%% | connects a second | N connections, 256 being opened at a time |
%%% | fan-out | a few messages to everybody; deliveries a second from the first to the last |
%%% | unicast | messages of 64 bytes to random ids as fast as they are taken; likewise |
%%% | "rested" | the same to clients that sleep for a millisecond after each look at what came |
%%% | latency | the same at 70 % of the first rate, from the sender's stamp to the client's read |
%%% | "at the rate" | the same at one rate for all of them |
%%%
%%% Before each of them but the first two every connection gets 20 messages that do not count, as the bare loop's
%%% connections have had theirs by then. The first 16 of a connection are acknowledged one by one, at
%%% once, and on loopback that is done where the message was sent: without a warm-up it is a third of
%%% what a server pays for a message. So are 16 after each silence of some 200 ms, so of 10,000 connections a
%%% slow server has more that are acknowledged like this, and pays for it.
%%%
%%% Why "rested": on one machine a server pays for waking its client, with an interrupt of the other
%%% CPU, whenever the client is faster than it, and then most of all: the slower a server, the
%%% more each of its writes costs. Where clients are other machines no server pays that.
%%%
%%% The ratios to the bare loop are to what it wrote right before and right after each flood, on the mean: what a machine
%%% that others use, too, makes of the same work differs by a fifth from one minute to the next. The row of the bare loop is
%%% its run at the beginning of the round.
%%%
%%% "CPU busy" is what the server had of its CPU while it was flooded. Much less than 1 means that it
%%% waited: for who sends, or for others on this machine. Then its CPU time for each message says more
%%% than its rate, and "by CPU" (the bare loop's CPU time by its own) more than "rate of bare".
%%%
%%% "shard us/msg" is what Lariat's shards have of "CPU us/msg". What a sender in the VM does on its own thread
%%% is not in it.
%%%
%%% Pinned, a server has one CPU and everybody else the other: that says what each takes of a core. With PEERS_PIN=no
%%% everybody has all CPUs, and a server is started for as many (shards, schedulers; nchan has one worker, because
%%% with more its publishing is slower): that says what one gets out of the machine. The bare loop is one thread in both.
%%% At a low rate pinning makes latency worse than it is where the kernel may choose: who is woken waits for
%%% the one CPU that it may have. PEERS_PIN=no with a small PEERS_RATE tells it: read "at the rate" then.
-module(peers_table).

-export([main/1]).

-include_lib("stdlib/include/assert.hrl").

-define(PEERS, [
    {<<"bare loop">>, limit},
    {<<"lariat node">>, peer_lariat},
    {<<"lariat NIF">>, peer_lariat_nif},
    {<<"lariat NIF direct">>, peer_lariat_nif_direct},
    {<<"C node">>, peer_event_node},
    {<<"nchan">>, peer_nchan},
    {<<"mochiweb">>, peer_mochiweb},
    {<<"mochiweb inside">>, peer_mochiweb_inside},
    {<<"cowboy">>, peer_cowboy},
    {<<"cowboy inside">>, peer_cowboy_inside},
    {<<"no server">>, peer_none}
]).

-define(FAN_OUT_ROUNDS, 20).
-define(WARM_UP_ROUNDS, 20).
-define(LOAD_PERCENT, 70).
-define(REST, "1ms").
-define(PACED_SECONDS, 4).
-define(LIMIT_SECONDS, 3).
%% Of the bare loop beside a flood.
-define(BESIDE_SECONDS, 1).
-define(MADE_MIN, 1000000).

%% The bare loop's tool writes for 12 seconds, and has its own limits for all that it waits for.
-define(LIMIT_MS, 300000).

%% @doc Arguments: connections, messages of unicast, rounds, the rate that is one for all, directory of the
%% peers, directory of what comes out, and the modules of the servers beside the bare loop, all without any.
-spec main([string()]) -> no_return().
main([Connections, Messages, Rounds, Rate, Peers, Out | Only]) ->
    Size = #{connections => list_to_integer(Connections), messages => list_to_integer(Messages),
        rate => list_to_integer(Rate), peers => Peers, out => Out},
    Servers = servers([list_to_existing_atom(Name) || Name <- Only]),
    Runs = lists:append([
        round(Round, Servers, Size) || Round <- lists:seq(1, list_to_integer(Rounds))
    ]),
    Text = peers_text:table([Name || {Name, _} <- Servers], Runs),
    File = filename:join(Out, "peers"),
    ok = file:write_file(File ++ ".json", peers_text:json(Size, Runs)),
    ok = file:write_file(File ++ ".txt", Text),
    io:format("~n~ts~nalso in ~ts.txt; each run in ~ts.json~n", [Text, File, File]),
    halt(0).

servers([]) -> ?PEERS;
servers(Only) -> [Server || {_, Peer} = Server <- ?PEERS, lists:member(Peer, [limit | Only])].

round(Round, Servers, Size) ->
    [{Round, Name, measured(Round, Name, Peer, Size)} || {Name, Peer} <- Servers].

%% A run so small that no step of CPU time was counted says nothing.
of_cpu(Bare, Us) when Us > 0 -> Bare / Us;
of_cpu(_, _) -> 0.

%% Each in a process of its own: with it ends what it started.
measured(Round, Name, Peer, Size) ->
    io:format("==> round ~b, ~ts~n", [Round, Name]),
    {Pid, Monitor} = spawn_monitor(fun() -> exit({measured, measure(Peer, Size)}) end),
    receive
        {'DOWN', Monitor, process, Pid, {measured, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error({Name, Reason})
    end.

measure(limit, Size) ->
    #{<<"accept">> := Accept, <<"fan_out">> := FanOut, <<"unicast">> := Unicast,
        <<"paced">> := Paced, <<"at_the_rate">> := AtTheRate} = limit("0s", ?LIMIT_SECONDS, Size),
    #{<<"unicast">> := Rested} = limit(?REST, ?LIMIT_SECONDS, Size),
    Each = fun(#{<<"cpu_us_each">> := Us}) -> Us end,
    Rate = fun(#{<<"per_second">> := PerSecond}) -> PerSecond end,
    {ok, maps:merge(maps:merge(latencies(Paced), at_the_rate(AtTheRate)), #{
        connects_per_second => Rate(Accept), cpu_us_per_connection => Each(Accept),
        fan_out_per_second => Rate(FanOut), unicast_per_second => Rate(Unicast),
        cpu_us_per_message => Each(Unicast),
        rested_per_second => Rate(Rested), rested_cpu_us_per_message => Each(Rested),
        server_busy => Each(Unicast) * Rate(Unicast) / 1.0e6
    })};
measure(peer_none, #{connections := Connections, messages := Messages, peers := Peers}) ->
    Site = lariat_site:start(filename:dirname(Peers)),
    %% As who sends inside a server.
    Args = peers_program:scheduler_args() ++ peers_program:paths(),
    #{os_pid := OsPid} = Sender = lariat_site:plain_erlang(Site, "none", Args),
    ok = peers_program:to_server_cpu(OsPid),
    %% CPU time comes in steps of 10 ms.
    Count = max(Messages, ?MADE_MIN),
    Before = peers_program:cpu_us([OsPid]),
    Began = erlang:monotonic_time(microsecond),
    ok = sent(#{sender => Sender, sends => peer_none, target => none}, flood, [Connections, Count]),
    Us = erlang:monotonic_time(microsecond) - Began,
    Cpu = peers_program:cpu_us([OsPid]) - Before,
    lariat_site:stop(Site),
    {ok, #{unicast_per_second => Count / Us * 1.0e6, cpu_us_per_message => Cpu / Count, server_busy => Cpu / Us}};
measure(Peer, #{connections := Connections, peers := Peers} = Size) ->
    Site = lariat_site:start(filename:dirname(Peers)),
    Result =
        case Peer:start(Site, Size) of
            {ok, Started} ->
                Rest = Started#{connections => Connections},
                {ok, maps:merge(maps:with([version], Started), numbers(Rest, Size))};
            {absent, Why} ->
                {absent, list_to_binary(Why)}
        end,
    lariat_site:stop(Site),
    Result.

%% What the bare loop's tool reports, its clients resting so long.
limit(Rest, ForSeconds, #{connections := Connections, rate := Rate, out := Out}) ->
    File = filename:join(Out, "limit.json"),
    [Program | Args] = peers_program:server_command() ++ [lariat_site:tools(), "limit", "--connections",
        integer_to_list(Connections), "--seconds", integer_to_list(ForSeconds), "--load-percent", integer_to_list(?LOAD_PERCENT),
        "--client-rest", Rest, "--rate", integer_to_list(Rate), "--json", File | peers_program:client_cpus()],
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, binary]),
    receive
        {Port, {exit_status, Status}} -> ?assertEqual(0, Status)
    after ?LIMIT_MS ->
        {os_pid, OsPid} = erlang:port_info(Port, os_pid),
        _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid)),
        error({waited_in_vain_for, "lariat-tools limit", ?LIMIT_MS})
    end,
    {ok, Line} = file:read_file(File),
    lariat_load:read(Line).

numbers(#{all_url := AllUrl, os_pids := OsPids, connections := N} = Peer, Size) ->
    #{messages := Messages, rate := OneForAll} = Size,
    %% Connections and fan-out. Messages to all are there for this one only: some servers take them elsewhere.
    Before = peers_program:resident_bytes(OsPids),
    CpuBefore = peers_program:cpu_us(OsPids),
    All = load(Peer, AllUrl, N * ?FAN_OUT_ROUNDS, N * ?WARM_UP_ROUNDS),
    #{<<"open">> := N, <<"seconds">> := Seconds} = lariat_load:heard(All, <<"connected">>),
    known(Peer, N),
    Bytes = peers_program:resident_bytes(OsPids) - Before,
    CpuConnected = peers_program:cpu_us(OsPids),
    ok = sent(Peer, all, [N, ?WARM_UP_ROUNDS]),
    lariat_load:heard(All, <<"warm">>),
    ok = sent(Peer, all, [N, ?FAN_OUT_ROUNDS]),
    #{<<"messages_per_second">> := FanOut} = reported(All),
    known(Peer, 0),
    %% Unicast, as fast as it goes.
    #{per_second := Unicast, cpu_us := CpuFlood, seconds := Receiving, shard_us := ShardFlood,
        bare_per_second := Bare, bare_us := BareUs} = flood_beside(Peer, "0s", Size),
    #{per_second := Rested, cpu_us := CpuRested, shard_us := ShardRested,
        bare_per_second := RestedBare, bare_us := RestedBareUs} = flood_beside(Peer, ?REST, Size),
    %% And at its share.
    Paced = paced(Peer, trunc(Unicast * ?LOAD_PERCENT / 100)),
    known(Peer, 0),
    AtTheRate = paced(Peer, OneForAll),
    maps:merge(maps:merge(latencies(Paced), at_the_rate(AtTheRate)), #{
        bytes_per_connection => Bytes / N,
        connects_per_second => N / Seconds,
        cpu_us_per_connection => (CpuConnected - CpuBefore) / N,
        fan_out_per_second => FanOut,
        unicast_per_second => Unicast,
        cpu_us_per_message => CpuFlood / Messages,
        rested_per_second => Rested,
        rested_cpu_us_per_message => CpuRested / Messages,
        shard_us_per_message => ShardFlood / Messages,
        rested_shard_us_per_message => ShardRested / Messages,
        rate_of_bare_loop => Unicast / Bare,
        cpu_of_bare_loop => of_cpu(BareUs, CpuFlood / Messages),
        rested_rate_of_bare_loop => Rested / RestedBare,
        rested_cpu_of_bare_loop => of_cpu(RestedBareUs, CpuRested / Messages),
        rested_shard_of_bare_loop => of_cpu(RestedBareUs, ShardRested / Messages),
        server_busy => CpuFlood / 1.0e6 / Receiving
    }).

%% A flood to clients that rest so long, and what the bare loop wrote before and after it.
flood_beside(Peer, Rest, #{messages := Messages} = Size) ->
    Bare = fun() -> maps:get(<<"unicast">>, limit(Rest, ?BESIDE_SECONDS, Size)) end,
    Before = Bare(),
    Flood = flood(Peer, Messages, Rest),
    After = Bare(),
    Mean = fun(Key) -> (maps:get(Key, Before) + maps:get(Key, After)) / 2 end,
    Flood#{bare_per_second => Mean(<<"per_second">>), bare_us => Mean(<<"cpu_us_each">>)}.

flood(#{os_pids := OsPids, connections := N, args := Args} = Peer, Messages, Rest) ->
    Load = warmed(Peer#{args := ["--rest", Rest | Args]}, Messages),
    Before = peers_program:cpu_us(OsPids),
    ShardBefore = peers_program:shard_cpu_us(OsPids),
    ok = sent(Peer, flood, [N, Messages]),
    lariat_load:heard(Load, <<"expected">>),
    Cpu = peers_program:cpu_us(OsPids) - Before,
    Shard = peers_program:shard_cpu_us(OsPids) - ShardBefore,
    #{<<"messages_per_second">> := PerSecond, <<"receiving_seconds">> := Seconds} = reported(Load),
    known(Peer, 0),
    #{per_second => PerSecond, cpu_us => Cpu, shard_us => Shard, seconds => Seconds}.

paced(#{connections := N} = Peer, Rate) ->
    Load = warmed(Peer, Rate * ?PACED_SECONDS),
    ok = sent(Peer, paced, [N, Rate * ?PACED_SECONDS, Rate]),
    reported(Load).

%% Connected, and each has had its first messages.
warmed(#{url := Url, connections := N} = Peer, Messages) ->
    Load = load(Peer, Url, Messages, N * ?WARM_UP_ROUNDS),
    lariat_load:heard(Load, <<"connected">>),
    known(Peer, N),
    ok = sent(Peer, each, [N, ?WARM_UP_ROUNDS]),
    lariat_load:heard(Load, <<"warm">>),
    Load.

load(#{args := Args, connections := N}, Url, Measured, WarmUp) ->
    lariat_load:start(peers_program:client_command(), Url, ["--connections", integer_to_list(N),
        "--reset", "--warm-up", integer_to_list(WarmUp), "--expect", integer_to_list(WarmUp + Measured),
        "--timeout", "120s" | Args]).

reported(Load) ->
    #{<<"ok">> := Ok} = Report = lariat_load:heard(Load, <<"report">>),
    Ok orelse error({messages_lost, Report}),
    Report.

known(#{knows := Knows}, Count) ->
    true = lariat_site:await(fun() -> Knows(Count) end, {known, Count}).

sent(#{sender := #{peer := Node}, sends := Sends, target := Target}, Function, Args) ->
    peer:call(Node, peers_sender, Function, [Sends, Target | Args], 120000).

latencies(Said) ->
    maps:from_list([
        {Key, maps:get(atom_to_binary(Key), Said)}
     || Key <- [latency_us_p50, latency_us_p99, latency_us_p999, latency_us_max]
    ]).

at_the_rate(#{<<"latency_us_p50">> := P50, <<"latency_us_p99">> := P99}) ->
    #{at_the_rate_us_p50 => P50, at_the_rate_us_p99 => P99}.
