%%% Runs the Rust program of an edge as an operating system process, and keeps it running.
%%%
%%% It speaks no protocol with the program: that is the business of `lariat_link'. It never gives
%%% up: a program that ends is started again after a growing, jittered pause, so neither a bad
%%% binary nor a taken port brings the supervisor down.
%%%
%%% The program cannot outlive us. It reads its standard input, which is our pipe, and stops at
%%% its end (`--stop-on-stdin-eof'); the pipe ends however the VM ends, kill -9 included. On an
%%% orderly stop it gets SIGTERM first, and time to say goodbye to its connections.
%%%
%%% Its arguments are `node --name NODE --connect OUR-NODE', those configured, and
%%% `--stop-on-stdin-eof'. The cookie goes by the environment (`LARIAT_COOKIE'), where `ps' does
%%% not show it. What it writes becomes log lines of ours.
-module(lariat_edge_program).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/1, arguments/1]).
%% gen_server.
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% A first restart that is hardly noticed; a last one that does not fill the log.
-define(PAUSE_MS, {200, 30000}).

%% A program that ran this long was well: its next failure is a first one.
-define(WELL_MS, 60000).

%% A graceful stop closes every connection; then SIGKILL. Below the supervisor's own patience.
-define(STOP_MS, 10000).

%% Longer lines are logged in pieces.
-define(LINE_BYTES_MAX, 4096).

-record(program, {
    config :: #{node := node(), command := file:name_all(), _ => _},
    port = none :: none | port(),
    attempt = 0 :: non_neg_integer(),
    started_ms = 0 :: integer()
}).

%% @doc Starts the program, soon.
-spec start_link(#{node := node(), command := file:name_all(), _ => _}) -> gen_server:start_ret().
start_link(Config) ->
    gen_server:start_link(?MODULE, Config, []).

%% @doc What the program is told.
-spec arguments(#{node := node(), _ => _}) -> [string() | binary()].
arguments(#{node := Node} = Config) ->
    ["node", "--name", atom_to_list(Node), "--connect", atom_to_list(node())] ++
        maps:get(args, Config, []) ++ ["--stop-on-stdin-eof"].

%% @private
-spec init(#{node := node(), command := file:name_all(), _ => _}) ->
    {ok, #program{}, {continue, run}}.
init(#{node := Node} = Config) ->
    process_flag(trap_exit, true),
    logger:update_process_metadata(#{edge => Node}),
    {ok, #program{config = Config}, {continue, run}}.

%% @private
-spec handle_continue(run, #program{}) -> {noreply, #program{}}.
handle_continue(run, Program) ->
    {noreply, run(Program)}.

%% @private
-spec handle_call(term(), gen_server:from(), #program{}) ->
    {reply, {error, bad_request}, #program{}}.
handle_call(_Request, _From, Program) ->
    {reply, {error, bad_request}, Program}.

%% @private
-spec handle_cast(term(), #program{}) -> {noreply, #program{}}.
handle_cast(_Stray, Program) ->
    lariat_counters:add(strays, 1),
    {noreply, Program}.

%% @private
-spec handle_info(term(), #program{}) -> {noreply, #program{}} | {stop, term(), #program{}}.
handle_info({Port, {data, {_EolOrNot, Line}}}, #program{port = Port} = Program) ->
    ?LOG(level(Line), "~ts", [Line]),
    {noreply, Program};
handle_info({Port, {exit_status, Status}}, #program{port = Port} = Program) ->
    {noreply, ended({exit_status, Status}, Program)};
handle_info(run, #program{port = none} = Program) ->
    {noreply, run(Program)};
handle_info({'EXIT', Port, _}, Program) when is_port(Port) ->
    %% exit_status has told us already.
    {noreply, Program};
handle_info({'EXIT', _, Reason}, Program) ->
    {stop, Reason, Program};
handle_info(_Stray, Program) ->
    lariat_counters:add(strays, 1),
    {noreply, Program}.

%% @private
-spec terminate(term(), #program{}) -> ok.
terminate(_Reason, #program{port = none}) ->
    ok;
terminate(_Reason, #program{port = Port}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, OsPid} ->
            signal("TERM", OsPid),
            await_exit(Port, OsPid);
        undefined ->
            ok
    end.

-spec run(#program{}) -> #program{}.
run(#program{config = #{node := Node, command := Command} = Config} = Program) ->
    Options = [
        {args, arguments(Config)},
        {env, [{"LARIAT_COOKIE", atom_to_list(erlang:get_cookie())} | maps:get(env, Config, [])]},
        {line, ?LINE_BYTES_MAX},
        binary,
        exit_status,
        stderr_to_stdout,
        use_stdio,
        hide
        | [{cd, Cd} || #{cd := Cd} <- [Config]]
    ],
    Started = Program#program{started_ms = now_ms()},
    try open_port({spawn_executable, executable(Command)}, Options) of
        Port ->
            ?LOG_NOTICE("program of edge ~ts started: ~ts", [Node, Command]),
            Started#program{port = Port}
    catch
        error:Reason -> ended({cannot_start, Command, Reason}, Started)
    end.

%% A bare name is looked for in PATH, as a shell would.
-spec executable(file:name_all()) -> file:name_all().
executable(Command) ->
    case filename:pathtype(Command) =:= relative andalso filename:split(Command) of
        [Name] ->
            case os:find_executable(unicode:characters_to_list(Name)) of
                false -> Command;
                Found -> Found
            end;
        _ ->
            filename:absname(Command)
    end.

-spec ended(term(), #program{}) -> #program{}.
ended(Reason, #program{config = Config, attempt = Attempt, started_ms = Since} = Program) ->
    #{node := Node} = Config,
    lariat_counters:add(program_exits, 1),
    Failures =
        case now_ms() - Since >= ?WELL_MS of
            true -> 0;
            false -> Attempt
        end,
    PauseMs = lariat_backoff:delay_ms(Failures, ?PAUSE_MS, rand:uniform()),
    ?LOG_ERROR("program of edge ~ts ended: ~0p; starting it again in ~b ms", [
        Node, Reason, PauseMs
    ]),
    _ = erlang:send_after(PauseMs, self(), run),
    Program#program{port = none, attempt = Failures + 1}.

-spec await_exit(port(), non_neg_integer()) -> ok.
await_exit(Port, OsPid) ->
    Killer = erlang:start_timer(?STOP_MS, self(), kill),
    drain(Port, OsPid, Killer).

-spec drain(port(), non_neg_integer(), reference()) -> ok.
drain(Port, OsPid, Killer) ->
    receive
        {Port, {exit_status, _}} ->
            _ = erlang:cancel_timer(Killer),
            ok;
        {Port, {data, {_, Line}}} ->
            ?LOG(level(Line), "~ts", [Line]),
            drain(Port, OsPid, Killer);
        {timeout, Killer, kill} ->
            ?LOG_WARNING("program did not stop within ~b ms: killing it", [?STOP_MS]),
            signal("KILL", OsPid),
            ok
    end.

-spec signal(string(), non_neg_integer()) -> ok.
signal(Name, OsPid) ->
    _ = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.

%% The level that the program gave its line, in either of its formats, near the beginning.
-spec level(binary()) -> logger:level().
level(Line) ->
    Head = binary:part(Line, 0, min(80, byte_size(Line))),
    case binary:match(Head, [<<"ERROR">>, <<"WARN">>, <<"DEBUG">>, <<"TRACE">>]) of
        {At, _} ->
            case binary:at(Head, At) of
                $E -> error;
                $W -> warning;
                _ -> debug
            end;
        nomatch ->
            info
    end.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
