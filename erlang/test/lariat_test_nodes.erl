%%% Nodes for tests: an EPMD of their own, a Mnesia directory of their own, and no trace after.
%%%
%%% Tests talk to them over their standard input and output, so that the node that runs the
%%% tests need not be distributed and takes no part in what is tested.
-module(lariat_test_nodes).

-export([make_dir/0, setup/0, cleanup/1, dir/1]).
-export([start/3, start_app/2, stop/1, kill/1, call/4, await/1]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

-record(nodes, {dir, epmd_port, cookie}).

%% A directory of the test's own.
make_dir() ->
    Dir = filename:join(tmp(), "lariat-test-" ++ unique()),
    ok = filelib:ensure_path(Dir),
    Dir.

setup() ->
    Port = free_port(),
    %% Before any node: one that starts it itself may ask it for its name before it listens.
    _ = os:cmd("epmd -daemon -relaxed_command_check -address 127.0.0.1 -port " ++
        integer_to_list(Port)),
    await(fun() -> listens(Port) end),
    #nodes{dir = make_dir(), epmd_port = Port, cookie = "c" ++ unique()}.

cleanup(#nodes{dir = Dir, epmd_port = Port}) ->
    _ = os:cmd("epmd -port " ++ integer_to_list(Port) ++ " -kill"),
    ok = file:del_dir_r(Dir).

%% One node; the same name again gives the same node name and the same Mnesia directory.
start(#nodes{dir = Dir, epmd_port = Port, cookie = Cookie}, Name, Args) ->
    {ok, Peer, Node} = peer:start(#{
        name => Name,
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        wait_boot => ?DEADLINE_MS,
        env => [{"ERL_EPMD_PORT", integer_to_list(Port)}],
        args =>
            ["-start_epmd", "false", "-setcookie", Cookie] ++
            ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"] ++
            ["-kernel", "logger_level", "critical"] ++
            ["-mnesia", "dir", "\"" ++ filename:join(Dir, Name) ++ "\""] ++
            lists:append([["-pa", Path] || Path <- code:get_path(), is_ours(Path)]) ++ Args
    }),
    {Peer, Node}.

start_app(Peer, Edges) ->
    ok = call(Peer, application, set_env, [lariat, edges, Edges]),
    {ok, _} = call(Peer, application, ensure_all_started, [lariat]),
    ok.

%% Also when the test has killed it.
stop(Peer) ->
    try
        peer:stop(Peer)
    catch
        exit:_ -> ok
    end.

%% As kill -9 does, because it is that.
kill(Peer) ->
    OsPid = call(Peer, os, getpid, []),
    Monitor = erlang:monitor(process, Peer),
    unlink(Peer),
    _ = os:cmd("kill -KILL " ++ OsPid),
    receive
        {'DOWN', Monitor, process, Peer, _} -> ok
    end.

call(Peer, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, ?DEADLINE_MS).

dir(#nodes{dir = Dir}) -> Dir.

%% Waits until it is true; the deadline only fails.
await(IsTrue) -> await(IsTrue, erlang:monotonic_time(millisecond) + ?DEADLINE_MS).

await(IsTrue, Deadline) ->
    case IsTrue() of
        true ->
            ok;
        Other ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never_true, Other}),
            receive
            after 5 -> await(IsTrue, Deadline)
            end
    end.

unique() ->
    integer_to_list(erlang:unique_integer([positive])) ++ "-" ++ os:getpid().

is_ours(Path) -> string:find(Path, "lariat") =/= nomatch.

%% Below those that outgoing connections are given: one of theirs may be taken before it is used.
free_port() ->
    Port = 10000 + rand:uniform(20000),
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}]) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            Port;
        {error, _} ->
            free_port()
    end.

listens(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

tmp() ->
    case os:getenv("TMPDIR") of
        false -> "/tmp";
        Dir -> Dir
    end.
