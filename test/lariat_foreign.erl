%%% Clients of other languages, and browsers, as processes of the suites.
%%%
%%% It starts and ends them and hands on the lines that they print; what those mean the suites know.
-module(lariat_foreign).

-export([installed/0, file/1, run/2, browser/3, stop/1]).

-type running() :: port().

%% Only a failing test waits this long.
-define(DEADLINE_MS, 120000).

%% @doc Has the libraries of the clients installed, unless they are.
-spec installed() -> ok.
installed() ->
    Script = filename:join(lariat_site:root(), "scripts/clients"),
    Port = open_port({spawn_executable, Script}, [
        exit_status, binary, stderr_to_stdout, {line, 4096}
    ]),
    ended(Port, []).

ended(Port, Said) ->
    receive
        {Port, {exit_status, 0}} -> ok;
        {Port, {exit_status, Status}} -> error({not_installed, Status, lists:reverse(Said)});
        {Port, {data, {_, Line}}} -> ended(Port, [Line | Said])
    end.

%% @doc One of the clients' files.
-spec file(string()) -> file:filename().
file(Name) ->
    filename:join([directory(), Name]).

%% They lie where their libraries are: Node looks for those from the file's directory upwards.
directory() ->
    filename:join(lariat_site:root(), "run/clients").

%% @doc Starts a client; the function answers the words of all its lines when it has ended.
-spec run(string(), [string()]) -> fun(() -> [[binary()]]).
run(Program, Args) ->
    Path = filename:join(directory(), "python"),
    Port = open_port({spawn_executable, os:find_executable(Program)}, [
        {args, Args}, {env, [{"PYTHONPATH", Path}]}, {line, 1 bsl 20}, binary, exit_status,
        stderr_to_stdout
    ]),
    fun() -> lines(Port, []) end.

lines(Port, Lines) ->
    receive
        {Port, {data, {eol, Line}}} -> lines(Port, [binary:split(Line, <<" ">>, [global]) | Lines]);
        {Port, {exit_status, 0}} -> lists:reverse(Lines);
        {Port, {exit_status, Status}} -> error({ended_with, Status, lists:reverse(Lines)})
    after ?DEADLINE_MS -> error({not_ended, lists:reverse(Lines)})
    end.

%% @doc A browser without a window that shows this page, with a profile of its own.
-spec browser(chromium | firefox, file:filename(), string()) -> running().
browser(chromium, Dir, Page) ->
    Profile = filename:join(Dir, "chromium"),
    start("chromium", [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--remote-debugging-port=0", "--user-data-dir=" ++ Profile, Page
    ]);
browser(firefox, Dir, Page) ->
    Profile = filename:join(Dir, "firefox"),
    ok = filelib:ensure_dir(filename:join(Profile, "x")),
    Prefs = [
        ["user_pref(\"", Name, "\", ", Value, ");\n"]
     || {Name, Value} <- [
            {"app.normandy.enabled", "false"},
            {"datareporting.policy.dataSubmissionEnabled", "false"},
            {"network.captive-portal-service.enabled", "false"},
            {"network.connectivity-service.enabled", "false"},
            {"toolkit.telemetry.reportingpolicy.firstRun", "false"},
            {"browser.aboutwelcome.enabled", "false"},
            {"browser.shell.checkDefaultBrowser", "false"}
        ]
    ],
    ok = file:write_file(filename:join(Profile, "user.js"), Prefs),
    start("firefox-esr", ["--headless", "--no-remote", "--profile", Profile, Page]).

%% It ends with the suite's node, too, however that ends.
start(Program, Args) ->
    Ends = ["--pdeathsig", "KILL", os:find_executable(Program)],
    open_port({spawn_executable, os:find_executable("setpriv")}, [
        {args, Ends ++ Args}, {line, 4096}, binary, exit_status, stderr_to_stdout
    ]).

%% @doc Ends it.
-spec stop(running()) -> ok.
stop(Port) ->
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    _ = os:cmd("kill -TERM " ++ integer_to_list(OsPid)),
    gone(Port).

gone(Port) ->
    receive
        {Port, {exit_status, _}} -> ok;
        {Port, _} -> gone(Port)
    after ?DEADLINE_MS -> error(still_running)
    end.
