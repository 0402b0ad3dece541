%%% A real browser: headless Chromium, driven through ChromeDriver by WebDriver (W3C, 2018).
%%%
%%% Only what the suites need: open a page, run a script, wait inside the page for what a script
%%% promises. The answers are taken apart by patterns, as OTP 25 has no JSON of its own.
-module(lariat_browser).

-export([start/1, stop/1, open/2, eval/2, wait_text/3, screenshot/2]).

-export_type([browser/0]).

-type browser() :: #{driver := port(), url := string(), session := string()}.

%% Only a failing test waits this long; a first start of Chromium on a busy machine takes 10 s.
-define(DEADLINE_MS, 120000).
-define(SCRIPT_MS, "60000").

%% @doc A browser with an empty profile below the directory.
-spec start(file:filename()) -> browser().
start(Dir) ->
    {ok, _} = application:ensure_all_started(inets),
    Port = lariat_site:free_port(),
    Driver = open_port({spawn_executable, os:find_executable("chromedriver")}, [
        {args, ["--port=" ++ integer_to_list(Port)]}, binary, {line, 4096}, stderr_to_stdout
    ]),
    Url = "http://127.0.0.1:" ++ integer_to_list(Port),
    lariat_site:await(fun() -> is_ready(Url) end, chromedriver),
    Profile = filename:join(Dir, "chromium-profile"),
    Switches = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--window-size=1100,900", "--user-data-dir=" ++ Profile
    ],
    Args = lists:join(",", [quoted(Switch) || Switch <- Switches]),
    Body = [
        "{\"capabilities\":{\"alwaysMatch\":{\"goog:chromeOptions\":{\"args\":[", Args, "]}}}}"
    ],
    Answer = post(Url ++ "/session", Body),
    {match, [Session]} = re:run(Answer, "\"sessionId\":\"([^\"]+)\"", [{capture, [1], list}]),
    #{driver => Driver, url => Url ++ "/session/" ++ Session, session => Session}.

%% @doc Ends browser and driver.
-spec stop(browser()) -> ok.
stop(#{driver := Driver, url := Url}) ->
    _ = httpc:request(delete, {Url, []}, [{timeout, ?DEADLINE_MS}], []),
    case erlang:port_info(Driver, os_pid) of
        {os_pid, OsPid} -> _ = os:cmd("kill " ++ integer_to_list(OsPid)), ok;
        undefined -> ok
    end.

%% @doc Opens a page and waits until it has loaded.
-spec open(browser(), string()) -> ok.
open(#{url := Url}, Address) ->
    _ = post(Url ++ "/url", ["{\"url\":", quoted(Address), "}"]),
    ok.

%% @doc The value of a script's `return', as JSON.
-spec eval(browser(), iodata()) -> binary().
eval(#{url := Url}, Script) ->
    value(post(Url ++ "/execute/sync", ["{\"script\":", quoted(Script), ",\"args\":[]}"])).

%% @doc Waits inside the page until an element that the selector finds has this text, told by the
%% page's own changes.
-spec wait_text(browser(), string(), string()) -> ok.
wait_text(#{url := Url}, Selector, Text) ->
    Script = [
        "const [selector, text, done] = arguments;",
        "const there = () => [...document.querySelectorAll(selector)]"
        ".some((e) => e.textContent === text);",
        "if (there()) done(true);",
        "new MutationObserver(() => there() && done(true)).observe(document.body,"
        " {subtree: true, childList: true, characterData: true, attributes: true});"
    ],
    Args = [quoted(Selector), ",", quoted(Text)],
    _ = post(Url ++ "/timeouts", "{\"script\":" ?SCRIPT_MS "}"),
    <<"true">> = value(
        post(Url ++ "/execute/async", ["{\"script\":", quoted(Script), ",\"args\":[", Args, "]}"])
    ),
    ok.

%% @doc Writes what the browser shows to a PNG file.
-spec screenshot(browser(), file:filename()) -> ok.
screenshot(#{url := Url}, File) ->
    {ok, {{_, 200, _}, _, Answer}} =
        httpc:request(get, {Url ++ "/screenshot", []}, [{timeout, ?DEADLINE_MS}], []),
    {match, [Encoded]} = re:run(Answer, "\"value\":\"([^\"]+)\"", [{capture, [1], list}]),
    file:write_file(File, base64:decode(Encoded)).

is_ready(Url) ->
    case httpc:request(Url ++ "/status") of
        {ok, {{_, 200, _}, _, Body}} -> string:find(Body, "\"ready\":true") =/= nomatch;
        {error, _} -> false
    end.

post(Url, Body) ->
    Request = {Url, [], "application/json", iolist_to_binary(Body)},
    case httpc:request(post, Request, [{timeout, ?DEADLINE_MS}], [{body_format, binary}]) of
        {ok, {{_, 200, _}, _, Answer}} -> Answer;
        Other -> error({webdriver, Other})
    end.

value(Answer) ->
    {match, [Value]} = re:run(Answer, "^\\{\"value\":(.*)\\}$", [{capture, [1], binary}, dotall]),
    Value.

quoted(Text) ->
    Escaped = [
        case Char of
            $" -> "\\\"";
            $\\ -> "\\\\";
            $\n -> "\\n";
            _ -> Char
        end
     || Char <- unicode:characters_to_list(Text)
    ],
    [$", unicode:characters_to_binary(Escaped), $"].
