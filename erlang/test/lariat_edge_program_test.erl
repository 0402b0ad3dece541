%%% Running a program: what it is told, that it is restarted, and that it cannot outlive us.
%%%
%%% The program here is a shell script that does as `lariat node' does where its input and its
%%% end are concerned.
-module(lariat_edge_program_test).

-include_lib("eunit/include/eunit.hrl").

-import(lariat_test_nodes, [call/4, await/1]).

nodes_test_() ->
    {timeout, 1800,
        {setup, fun lariat_test_nodes:setup/0, fun lariat_test_nodes:cleanup/1, fun(Nodes) ->
            [
                {atom_to_list(Name), {timeout, 600, fun() -> run(Name, Case, Nodes) end}}
             || {Name, Case} <- [
                    {is_told_what_it_needs, fun is_told_what_it_needs/1},
                    {is_started_again, fun is_started_again/1},
                    {a_program_that_is_not_there, fun a_program_that_is_not_there/1},
                    {is_asked_to_stop, fun is_asked_to_stop/1},
                    {ends_with_the_vm, fun ends_with_the_vm/1}
                ]
            ]
        end}}.

run(Name, Case, Nodes) ->
    Dir = filename:join(lariat_test_nodes:dir(Nodes), atom_to_list(Name)),
    ok = filelib:ensure_path(Dir),
    {App, Node} = lariat_test_nodes:start(Nodes, atom_to_list(Name), []),
    ok = lariat_test_nodes:start_app(App, []),
    try
        Case(#{app => App, node => Node, dir => Dir})
    after
        lariat_test_nodes:stop(App)
    end.

is_told_what_it_needs(#{app := App, node := Node, dir := Dir}) ->
    start(App, Dir, #{args => ["--shards", <<"2">>], env => [{"MORE", "more"}]}),
    [Line] = await_lines(Dir, "started", 1),
    Cookie = atom_to_list(call(App, erlang, get_cookie, [])),
    ?assertEqual(
        lists:flatten([
            "node --name program@127.0.0.1 --connect ", atom_to_list(Node),
            " --shards 2 --stop-on-stdin-eof cookie=", Cookie, " more=more"
        ]),
        Line
    ).

is_started_again(#{app := App, dir := Dir}) ->
    start(App, Dir, #{}),
    [First] = await_lines(Dir, "pid", 1),
    _ = os:cmd("kill -KILL " ++ First),
    [First, Second] = await_lines(Dir, "pid", 2),
    _ = os:cmd("kill -KILL " ++ Second),
    _ = await_lines(Dir, "pid", 3),
    ?assertEqual(2, exits(App)).

a_program_that_is_not_there(#{app := App, dir := Dir}) ->
    start(App, Dir, #{command => filename:join(Dir, "no_such_program")}),
    await(fun() -> exits(App) >= 2 end),
    ?assert(is_pid(call(App, erlang, whereis, [lariat_edge_sup]))),
    ok = call(App, lariat, detach, ['program@127.0.0.1']).

is_asked_to_stop(#{app := App, dir := Dir}) ->
    start(App, Dir, #{}),
    [OsPid] = await_lines(Dir, "pid", 1),
    ok = call(App, lariat, detach, ['program@127.0.0.1']),
    ?assertEqual(["term"], await_lines(Dir, "ended", 1)),
    await(fun() -> not is_running(OsPid) end),
    ?assertEqual(0, exits(App)).

ends_with_the_vm(#{app := App, dir := Dir}) ->
    start(App, Dir, #{}),
    [OsPid] = await_lines(Dir, "pid", 1),
    lariat_test_nodes:kill(App),
    ?assertEqual(["eof"], await_lines(Dir, "ended", 1)),
    await(fun() -> not is_running(OsPid) end).

start(App, Dir, More) ->
    Script = filename:join(Dir, "program.sh"),
    %% `read' runs in the shell itself, so the trap runs as soon as the signal comes.
    ok = file:write_file(Script, [
        "#!/bin/sh\ncd ", Dir, "\n",
        "echo $* cookie=$LARIAT_COOKIE more=$MORE >> started\n",
        "echo $$ >> pid\n",
        "trap 'echo term >> ended; exit 0' TERM\n",
        "echo WARN a line for the log\n",
        "while read line; do :; done\n",
        "echo eof >> ended\n"
    ]),
    ok = file:change_mode(Script, 8#755),
    Config = maps:merge(#{node => 'program@127.0.0.1', command => Script}, More),
    ok = call(App, lariat, attach, [Config]).

await_lines(Dir, File, N) ->
    await(fun() -> length(lines(Dir, File)) >= N end),
    lines(Dir, File).

lines(Dir, File) ->
    case file:read_file(filename:join(Dir, File)) of
        {ok, Bytes} -> string:lexemes(binary_to_list(Bytes), "\n");
        {error, enoent} -> []
    end.

exits(App) ->
    maps:get(program_exits, call(App, lariat_counters, all, [])).

is_running(OsPid) ->
    os:cmd("kill -0 " ++ OsPid ++ " 2>&1") =:= "".
