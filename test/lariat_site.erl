%%% A whole site on loopback for the suites: EPMD, hidden nodes (the real program), Erlang nodes.
%%%
%%% Everything is real and everything is ours: an EPMD of the site's own on a free port, a cookie
%%% and a directory of its own. What a site starts it also ends, by process id. It asserts nothing;
%%% it only waits for what is bound to happen, and fails when that does not happen in time.
-module(lariat_site).

-export([start/1, start_alone/1, stop/1]).
-export([edge/2, edge/3, erlang/2, erlang/3, erlang/4, plain_erlang/2, plain_erlang/3]).
-export([run/3, kill/1, terminate/1, ended/1, await_log/2, log/1]).
-export([call/4, await/2, root/0, program/0, tools/0, metric/2, value/2, memory_kb/2, free_port/0]).

-export_type([site/0, edge/0, erlang/0]).

-type site() :: #{dir := file:filename(), epmd_port => inet:port_number(), _ => _}.
-type edge() :: #{node := node(), runner := pid(), os_pid := pos_integer(), _ => _}.
-type erlang() :: #{node := node(), peer := pid(), os_pid := pos_integer(), log => file:filename()}.

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% @doc A site with its EPMD, in a directory of its own below the suite's private one.
-spec start(file:filename()) -> site().
start(PrivDir) ->
    Port = free_port(),
    Epmd = run(epmd(), ["-port", integer_to_list(Port), "-address", "127.0.0.1"], []),
    await(fun() -> connects(Port) end, epmd),
    (start_alone(PrivDir))#{epmd_port => Port, cookie => "site-cookie", epmd => Epmd}.

%% @doc A site without an EPMD: its Erlang nodes are not distributed, and it can have no edge beside them.
-spec start_alone(file:filename()) -> site().
start_alone(PrivDir) ->
    Name = "site" ++ integer_to_list(erlang:unique_integer([positive])),
    Dir = filename:join(PrivDir, Name),
    %% What an earlier run left there, Mnesia's tables above all, is not ours.
    _ = file:del_dir_r(Dir),
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    #{dir => Dir}.

%% @doc Ends the EPMD; nodes are ended by those who started them, or by the end of their owner.
-spec stop(site()) -> ok.
stop(#{epmd := #{os_pid := OsPid}}) ->
    signal("KILL", OsPid);
stop(#{}) ->
    ok.

%% @doc A hidden node `Name@127.0.0.1', listening on ports of its own.
-spec edge(site(), string()) -> edge().
edge(Site, Name) ->
    edge(Site, Name, #{}).

%% @doc The same with more arguments, another cookie, another number of shards, or a port for HTTP.
-spec edge(site(), string(), Options) -> edge() when
    Options :: #{
        args => [string()], cookie => string(), shards => pos_integer(), http => inet:port_number()
    }.
edge(#{epmd_port := Port, cookie := Cookie} = Site, Name, Options) ->
    Node = Name ++ "@127.0.0.1",
    Http = "127.0.0.1:" ++ integer_to_list(maps:get(http, Options, 0)),
    Args =
        ["node", "--name", Node, "--http", Http, "--admin", "127.0.0.1:0"] ++
            ["--shards", integer_to_list(maps:get(shards, Options, 2)), "--log-format", "json", "--stop-on-stdin-eof"] ++
            maps:get(args, Options, []),
    Env = [
        {"ERL_EPMD_PORT", integer_to_list(Port)},
        {"LARIAT_COOKIE", maps:get(cookie, Options, Cookie)}
    ],
    Edge = (run(program(), Args, Env))#{node => list_to_atom(Node), site => Site},
    Edge#{
        http => await_log(Edge, "\"listener\":\"http\".*\"address\":\"127.0.0.1:([0-9]+)\""),
        admin => await_log(Edge, "\"listener\":\"admin\".*\"address\":\"127.0.0.1:([0-9]+)\""),
        dist => await_log(Edge, "\"listener\":\"dist\".*\"address\":\"127.0.0.1:([0-9]+)\"")
    }.

%% @doc An Erlang node with the application `lariat' started, its subscriptions on disc.
-spec erlang(site(), string()) -> erlang().
erlang(Site, Name) ->
    erlang(Site, Name, []).

%% @doc The same, attached to these edges.
-spec erlang(site(), string(), [term()]) -> erlang().
erlang(Site, Name, Edges) ->
    erlang(Site, Name, Edges, []).

%% @doc The same with more of the application's environment.
-spec erlang(site(), string(), [term()], [{atom(), term()}]) -> erlang().
erlang(#{dir := Dir} = Site, Name, Edges, Environment) ->
    Mnesia = filename:join(Dir, "mnesia-" ++ Name),
    %% The application, and what suites call on the node.
    Paths = [filename:dirname(code:which(Module)) || Module <- [lariat, ?MODULE]],
    Args = ["-pa" | Paths] ++ ["-mnesia", "dir", "\"" ++ Mnesia ++ "\""],
    #{peer := Peer} = Erlang = plain_erlang(Site, Name, Args),
    Log = filename:join(Dir, Name ++ ".log"),
    Handler = #{config => #{file => Log}},
    ok = peer:call(Peer, logger, add_handler, [log_of_site, logger_std_h, Handler]),
    ok = peer:call(Peer, application, load, [lariat]),
    [
        ok = peer:call(Peer, application, set_env, [lariat, Key, Value])
     || {Key, Value} <- [{edges, Edges} | Environment]
    ],
    {ok, _} = peer:call(Peer, application, ensure_all_started, [lariat], ?DEADLINE_MS),
    Erlang#{log => Log}.

%% @doc An Erlang node with none of our code.
-spec plain_erlang(site(), string()) -> erlang().
plain_erlang(Site, Name) ->
    plain_erlang(Site, Name, []).

%% @doc The same with more arguments for `erl'.
-spec plain_erlang(site(), string(), [string()]) -> erlang().
plain_erlang(Site, Name, Args) ->
    {ok, Peer, Node} = peer:start(maps:merge(
        #{connection => standard_io, wait_boot => ?DEADLINE_MS, args => Args},
        distributed(Site, Name, Args)
    )),
    OsPid = list_to_integer(peer:call(Peer, os, getpid, [])),
    _ = keep(self(), Peer),
    #{node => Node, peer => Peer, os_pid => OsPid}.

distributed(#{epmd_port := Port, cookie := Cookie}, Name, Args) ->
    #{
        name => Name,
        host => "127.0.0.1",
        longnames => true,
        args => ["-start_epmd", "false", "-setcookie", Cookie] ++
            ["-kernel", "inet_dist_use_interface", "{127,0,0,1}" | Args],
        env => [{"ERL_EPMD_PORT", integer_to_list(Port)}]
    };
distributed(#{}, _, _) ->
    #{}.

%% The node lives as long as the test case. Not by a link: the node may be killed, and the end of
%% a case is no crash of the node.
keep(Owner, Peer) ->
    spawn(fun() ->
        Monitor = monitor(process, Owner),
        receive
            {'DOWN', Monitor, process, _, _} ->
                try peer:stop(Peer) catch exit:_ -> already_killed end
        end
    end).

%% @doc A call into an Erlang node of the site.
-spec call(erlang(), module(), atom(), [term()]) -> term().
call(#{peer := Peer}, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, ?DEADLINE_MS).

%% @doc Ends a node of either kind at once, and waits until it has ended.
-spec kill(edge() | erlang()) -> ok.
kill(Node) ->
    signal("KILL", maps:get(os_pid, Node)),
    _ = ended(Node),
    forgotten(Node).

%% @doc Asks a hidden node to stop, and answers its exit status.
-spec terminate(edge()) -> non_neg_integer().
terminate(#{os_pid := OsPid} = Edge) ->
    signal("TERM", OsPid),
    Status = ended(Edge),
    ok = forgotten(Edge),
    Status.

%% EPMD may hear of a new node before the end of the old one, and refuse the name: the program starts
%% fast enough for that, Erlang does not.
forgotten(#{site := #{epmd_port := Port}, node := Node}) ->
    [Name, _] = string:split(atom_to_list(Node), "@"),
    true = await(fun() -> not is_known(Port, Name) end, {forgotten, Node}),
    ok;
forgotten(#{}) ->
    ok.

is_known(Port, Name) ->
    case names(Port) of
        {ok, Answer} -> string:find(Answer, "name " ++ Name ++ " at port") =/= nomatch;
        {error, _} -> false
    end.

%% As `epmd -names' asks: the answer ends with the connection.
names(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]) of
        {ok, Socket} ->
            ok = gen_tcp:send(Socket, <<1:16, $n>>),
            {ok, read_all(Socket, <<>>)};
        {error, _} = Error ->
            Error
    end.

read_all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, Data} -> read_all(Socket, <<Read/binary, Data/binary>>);
        {error, closed} -> Read
    end.

%% @doc Waits until a node has ended; answers the exit status of a program.
-spec ended(edge() | erlang()) -> non_neg_integer() | noproc.
ended(#{runner := Runner}) ->
    Runner ! {ended, self()},
    receive
        {Runner, ended, Status} -> Status
    after ?DEADLINE_MS -> error(still_running)
    end;
ended(#{peer := Peer}) ->
    Monitor = monitor(process, Peer),
    receive
        {'DOWN', Monitor, process, Peer, _} -> noproc
    after ?DEADLINE_MS -> error(still_running)
    end.

%% @doc Waits until a line of the program's log matches; answers the first group, a number as
%% such, or the line.
-spec await_log(edge(), iodata()) -> integer() | binary().
await_log(#{runner := Runner}, Regexp) ->
    Runner ! {await, self(), Regexp},
    receive
        {Runner, line, Found} ->
            try binary_to_integer(Found) catch error:badarg -> Found end;
        {Runner, never, Log} ->
            error({ended_without, Regexp, Log})
    after ?DEADLINE_MS -> error({not_logged, Regexp, log(#{runner => Runner})})
    end.

%% @doc All lines so far, of a program or of an Erlang node with the application.
-spec log(#{runner := pid(), _ => _} | erlang()) -> [binary()].
log(#{runner := Runner}) ->
    Runner ! {log, self()},
    receive
        {Runner, log, Lines} -> Lines
    end;
log(#{log := File} = Erlang) ->
    ok = call(Erlang, logger_std_h, filesync, [log_of_site]),
    {ok, Text} = file:read_file(File),
    binary:split(Text, <<"\n">>, [global, trim]).

%% @doc Waits until the function answers other than `false'. For what sends no event of its own.
-spec await(fun(() -> Result), term()) -> Result.
await(Fun, What) ->
    await(Fun, What, erlang:monotonic_time(millisecond) + ?DEADLINE_MS).

await(Fun, What, Until) ->
    case Fun() of
        false ->
            erlang:monotonic_time(millisecond) < Until orelse error({waited_in_vain_for, What}),
            erlang:yield(),
            receive after 20 -> await(Fun, What, Until) end;
        Result ->
            Result
    end.

%% @doc Kilobytes of memory of an edge's program, of a kind that `/proc/PID/status' knows.
-spec memory_kb(binary(), edge()) -> non_neg_integer().
memory_kb(Kind, #{os_pid := OsPid}) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kb]} = re:run(Status, [Kind, ":\\s+([0-9]+)"], [{capture, [1], binary}]),
    binary_to_integer(Kb).

%% @doc The value of a metric, `<<"lariat_...">>' with its labels as the text has them.
-spec metric(edge(), binary()) -> number().
metric(#{admin := Port}, Name) ->
    {200, _, Body} = lariat_client:get(Port, "/metrics"),
    value(Body, Name).

%% @doc The same out of the text.
-spec value(binary(), binary()) -> number().
value(Text, Name) ->
    [Value] = [V || Line <- binary:split(Text, <<"\n">>, [global]),
                    [N, V] <- [binary:split(Line, <<" ">>)], N =:= Name],
    binary_to_integer(Value).

%% @doc The root of the repository.
-spec root() -> file:filename().
root() ->
    root(filename:dirname(filename:absname(code:which(?MODULE)))).

root(Dir) ->
    case {filelib:is_regular(filename:join(Dir, "Cargo.lock")), filename:dirname(Dir)} of
        {true, _} -> Dir;
        {false, Dir} -> error({not_in_the_repository, code:which(?MODULE)});
        {false, Parent} -> root(Parent)
    end.

%% @doc The program under test: LARIAT_PROGRAM, or the debug build.
-spec program() -> file:filename().
program() -> built("LARIAT_PROGRAM", "lariat").

%% @doc The load generator.
-spec tools() -> file:filename().
tools() -> built("LARIAT_TOOLS", "lariat-tools").

built(Variable, Name) ->
    Path =
        case os:getenv(Variable) of
            false -> filename:join([root(), "target", "debug", Name]);
            Said -> Said
        end,
    filelib:is_regular(Path) orelse error({not_built, Path, "run cargo build --workspace"}),
    Path.

%% @doc A port that nobody listens on, and that no outgoing connection is given (Linux takes those
%% from 32768 on), so that it stays free until it is used.
-spec free_port() -> inet:port_number().
free_port() ->
    Port = 10000 + rand:uniform(20000),
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}]) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            Port;
        {error, _} ->
            free_port()
    end.

epmd() ->
    [Found | _] = [Path || Path <- [os:find_executable("epmd"),
        filename:join([code:root_dir(), "bin", "epmd"]) |
        filelib:wildcard(filename:join([code:root_dir(), "erts-*", "bin", "epmd"]))],
        Path =/= false, filelib:is_regular(Path)],
    Found.

connects(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

signal(Name, OsPid) ->
    _ = os:cmd(io_lib:format("kill -~s ~b", [Name, OsPid])),
    ok.

%% @doc A program and a process that keeps what it says. It lives as long as the test case.
-spec run(file:filename(), [string()], [{string(), string()}]) ->
    #{runner := pid(), os_pid := pos_integer()}.
run(Program, Args, Env) ->
    Owner = self(),
    Runner = spawn(fun() -> run(Owner, Program, Args, Env) end),
    receive
        {Runner, os_pid, OsPid} -> #{runner => Runner, os_pid => OsPid}
    after ?DEADLINE_MS -> error({not_started, Program})
    end.

run(Owner, Program, Args, Env) ->
    Monitor = monitor(process, Owner),
    Port = open_port({spawn_executable, Program}, [
        {args, Args}, {env, Env}, {line, 65536}, binary, exit_status, stderr_to_stdout
    ]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    Owner ! {self(), os_pid, OsPid},
    running(#{port => Port, os_pid => OsPid, owner => Monitor, lines => [], waiting => []}).

running(#{port := Port, lines := Lines, waiting := Waiting, owner := Monitor} = State) ->
    receive
        {Port, {data, {_, Line}}} ->
            Still = [Wait || {Pid, Regexp} = Wait <- Waiting, not told(Pid, Regexp, Line)],
            running(State#{lines := [Line | Lines], waiting := Still});
        {Port, {exit_status, Status}} ->
            _ = [Pid ! {self(), never, lists:reverse(Lines)} || {Pid, _} <- Waiting],
            over(Status, Lines);
        {await, Pid, Regexp} ->
            case lists:any(fun(Line) -> told(Pid, Regexp, Line) end, lists:reverse(Lines)) of
                true -> running(State);
                false -> running(State#{waiting := [{Pid, Regexp} | Waiting]})
            end;
        {log, Pid} ->
            Pid ! {self(), log, lists:reverse(Lines)},
            running(State);
        {'DOWN', Monitor, process, _, _} ->
            signal("KILL", maps:get(os_pid, State))
    end.

over(Status, Lines) ->
    receive
        {ended, Pid} -> Pid ! {self(), ended, Status};
        {log, Pid} -> Pid ! {self(), log, lists:reverse(Lines)};
        {await, Pid, _} -> Pid ! {self(), never, lists:reverse(Lines)};
        {'DOWN', _, process, _, _} -> exit(normal)
    end,
    over(Status, Lines).

told(Pid, Regexp, Line) ->
    case re:run(Line, Regexp, [{capture, all, binary}]) of
        {match, [_, Group | _]} -> Pid ! {self(), line, Group}, true;
        {match, [Whole]} -> Pid ! {self(), line, Whole}, true;
        nomatch -> false
    end.
