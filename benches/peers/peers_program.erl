%%% The servers' processes: on the CPU for servers, watched from /proc, ended with the bench.
%%%
%%% It knows none of them. CPU 0 is for servers, CPU 1 for the load generator and who sends; with PEERS_PIN=no
%%% in the environment everything is where the kernel puts it.
-module(peers_program).

-export([start/4, paths/0, scheduler_args/0, children/1]).
-export([is_pinned/0, server_cpus/0, to_server_cpu/1, server_command/0, client_command/0, client_cpus/0]).
-export([resident_bytes/1, cpu_us/1, shard_cpu_us/1]).

-define(DEADLINE_MS, 30000).

%% @doc Runs a program on the server CPU until the caller ends. Answers its id, and the first group
%% of a line that matches.
-spec start(file:filename(), [string()], [{string(), string()}], string() | none) ->
    {pos_integer(), binary() | none}.
start(Program, Args, Env, Ready) ->
    Owner = self(),
    {_, Started} = spawn_monitor(fun() ->
        Monitor = monitor(process, Owner),
        %% Should this VM crash, the kernel ends the program.
        Ends = [os:find_executable("setpriv"), "--pdeathsig", "TERM"],
        [First | More] = server_command() ++ Ends ++ [Program | Args],
        Port = open_port({spawn_executable, First}, [
            {args, More}, {env, Env},
            {line, 4096}, binary, exit_status, stderr_to_stdout
        ]),
        {os_pid, OsPid} = erlang:port_info(Port, os_pid),
        Owner ! {started, self(), OsPid, said(Port, Ready)},
        run(Port, Monitor, OsPid)
    end),
    receive
        {started, _, OsPid, Said} -> demonitor(Started, [flush]), {OsPid, Said};
        {'DOWN', Started, process, _, Reason} -> error({not_started, Program, Reason})
    after ?DEADLINE_MS -> error({not_started, Program})
    end.

said(_, none) ->
    none;
said(Port, Ready) ->
    receive
        {Port, {data, {eol, Line}}} ->
            case re:run(Line, Ready, [{capture, all_but_first, binary}]) of
                {match, [Group]} -> Group;
                nomatch -> said(Port, Ready)
            end;
        {Port, {exit_status, Status}} ->
            exit({ended_with, Status});
        {Port, _} ->
            said(Port, Ready)
    end.

run(Port, Monitor, OsPid) ->
    receive
        {Port, {exit_status, _}} -> ok;
        {Port, _} -> run(Port, Monitor, OsPid);
        {'DOWN', Monitor, process, _, _} ->
            os:cmd("kill -TERM " ++ integer_to_list(OsPid))
    end.

%% @doc Whether servers have a CPU, and all else the other.
-spec is_pinned() -> boolean().
is_pinned() ->
    os:getenv("PEERS_PIN", "yes") =/= "no".

%% @doc All threads of a process that runs already.
-spec to_server_cpu(pos_integer()) -> ok.
to_server_cpu(OsPid) ->
    _ = is_pinned() andalso os:cmd("taskset -a -c -p 0 " ++ integer_to_list(OsPid)),
    ok.

%% @doc What stands before a server's name.
-spec server_command() -> [string()].
server_command() ->
    on_cpu("0").

%% @doc What stands before the load generator's name.
-spec client_command() -> [string()].
client_command() ->
    on_cpu("1").

on_cpu(Cpu) ->
    case is_pinned() of
        true -> [os:find_executable("taskset"), "-c", Cpu];
        false -> []
    end.

%% @doc Arguments for a tool that starts the load generator itself.
-spec client_cpus() -> [string()].
client_cpus() ->
    case is_pinned() of
        true -> ["--client-cpus", "1"];
        false -> []
    end.

%% @doc Arguments for an Erlang node that runs a peer's code.
-spec paths() -> [string()].
paths() ->
    ["-pa", filename:dirname(code:which(?MODULE))].

%% @doc The CPUs that a server has: so many shards, or schedulers.
-spec server_cpus() -> pos_integer().
server_cpus() ->
    case is_pinned() of
        true -> 1;
        false -> erlang:system_info(logical_processors_available)
    end.

%% @doc Arguments for an Erlang node that has the server's CPUs, and shares them.
-spec scheduler_args() -> [string()].
scheduler_args() ->
    ["+S", lists:concat([server_cpus(), ":", server_cpus()]), "+sbwt", "none"].

-spec children(pos_integer()) -> [pos_integer()].
children(OsPid) ->
    Text = os:cmd("ps -o pid= --ppid " ++ integer_to_list(OsPid)),
    [list_to_integer(Child) || Child <- string:lexemes(Text, " \n")].

%% @doc What the processes keep resident, all together.
-spec resident_bytes([pos_integer()]) -> non_neg_integer().
resident_bytes(OsPids) ->
    lists:sum([resident(OsPid) || OsPid <- OsPids]).

resident(OsPid) ->
    {ok, Status} = file:read_file(lists:concat(["/proc/", OsPid, "/status"])),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, binary}]),
    binary_to_integer(Kb) * 1024.

%% @doc The CPU time they have used, in steps of 10 ms.
-spec cpu_us([pos_integer()]) -> non_neg_integer().
cpu_us(OsPids) ->
    lists:sum([cpu(OsPid) || OsPid <- OsPids]).

%% @doc The same of threads that are called `shard-N' alone: what writes, where the server is Lariat.
-spec shard_cpu_us([pos_integer()]) -> non_neg_integer().
shard_cpu_us(OsPids) ->
    Tasks = [Task || OsPid <- OsPids,
        Task <- filelib:wildcard(lists:concat(["/proc/", OsPid, "/task/*"])), is_shard(Task)],
    lists:sum([cpu_of(Task ++ "/stat") || Task <- Tasks]).

is_shard(Task) ->
    case file:read_file(Task ++ "/comm") of
        {ok, <<"shard-", _/binary>>} -> true;
        _ -> false
    end.

cpu(OsPid) ->
    cpu_of(lists:concat(["/proc/", OsPid, "/stat"])).

cpu_of(File) ->
    {ok, Stat} = file:read_file(File),
    [_, After] = binary:split(Stat, <<") ">>),
    Fields = binary:split(After, <<" ">>, [global]),
    (binary_to_integer(lists:nth(12, Fields)) + binary_to_integer(lists:nth(13, Fields))) * 10000.
