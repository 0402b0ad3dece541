%%% The examples, each with its routes as they are, in a real browser.
-module(lariat_examples_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([chat/1, feed/1, live/1]).

-import(lariat_site, [call/4, await/2]).

all() ->
    [chat, feed, live].

suite() ->
    [{timetrap, {minutes, 10}}].

%% The case's name is the example's. This one is an application of Mix, with its edge in the same VM.
init_per_testcase(live, Config) ->
    Dir = ?config(priv_dir, Config),
    Example = filename:join([lariat_site:root(), "examples", "live"]),
    %% Elixir is the system's, and goes with the system's Erlang.
    Path = [Of || Of <- string:lexemes(os:getenv("PATH"), ":"), string:find(Of, "/_otp/") =:= nomatch],
    Env = [
        {"PATH", lists:flatten(lists:join(":", Path))},
        {"HTTP_PORT", "0"},
        {"LIVE_DIR", filename:join(Dir, "mnesia-live")}
    ],
    Args = ["-C", Example, "mix", "run", "--no-halt"],
    Program = lariat_site:run(os:find_executable("env"), Args, Env),
    Http = lariat_site:await_log(Program, "the feed is at http://127.0.0.1:([0-9]+)/"),
    [{edge, Program#{http => Http}}, {browser, lariat_browser:start(Dir)} | Config];
init_per_testcase(Case, Config) ->
    Dir = ?config(priv_dir, Config),
    Site = lariat_site:start(Dir),
    Name = atom_to_list(Case),
    Example = filename:join([lariat_site:root(), "examples", Name]),
    Args = ["--config", filename:join(Example, "lariat.toml")],
    #{node := Node} = Edge = lariat_site:edge(Site, "lariat", #{args => Args}),
    {ok, Case} = compile:file(filename:join(Example, Name), [{outdir, Dir}, return_errors]),
    {ok, _} = file:copy(
        filename:join(Example, Name ++ ".html"), filename:join(Dir, Name ++ ".html")
    ),
    App = lariat_site:plain_erlang(Site, "app", [
        "-pa", filename:dirname(code:which(lariat)), "-pa", Dir,
        "-mnesia", "dir", "\"" ++ filename:join(Dir, "mnesia-" ++ Name) ++ "\""
    ]),
    [
        ok = call(App, application, set_env, [lariat, Key, Value])
     || {Key, Value} <- [{edge, Node}, {handlers, [{list_to_binary(Name), Case, []}]}]
    ],
    {ok, _} = call(App, application, ensure_all_started, [lariat]),
    lariat_attached:up(App, Node),
    [{site, Site}, {edge, Edge}, {app, App}, {browser, lariat_browser:start(Dir)} | Config].

end_per_testcase(live, Config) ->
    lariat_browser:stop(?config(browser, Config)),
    lariat_site:kill(?config(edge, Config));
end_per_testcase(_Case, Config) ->
    lariat_browser:stop(?config(browser, Config)),
    lariat_site:stop(?config(site, Config)).

%% Alice on the page, Bob beside it.
chat(Config) ->
    {App, Browser, #{http := Http} = Edge} = parts(Config),
    Bob = lariat_websocket:open(Http, "/chat/lobby/bob"),
    ok = lariat_browser:open(Browser, page(Http, "lobby/alice")),
    ok = lariat_browser:wait_text(Browser, "#status", "connected"),
    {text, <<"alice\nis here">>} = lariat_websocket:hear(Bob),
    ok = lariat_websocket:say(Bob, {text, <<"hello <b>alice</b>">>}),
    {text, <<"bob\nhello <b>alice</b>">>} = lariat_websocket:hear(Bob),
    ok = lariat_browser:wait_text(Browser, "#said li", "bob: hello <b>alice</b>"),
    _ = lariat_browser:eval(Browser, typed("text", "hello bob", "say")),
    {text, <<"alice\nhello bob">>} = lariat_websocket:hear(Bob),
    ok = lariat_browser:wait_text(Browser, "#said li", "alice: hello bob"),
    %% Another room hears nothing of it; a name that would forge lines is refused.
    {400, _, _} = lariat_websocket:refused(Http, "/chat/lobby/a%0Ab", ""),
    ok = lariat_websocket:close(Bob),
    ok = lariat_browser:wait_text(Browser, "#said li", "bob: has left"),
    await(fun() -> length(call(App, lariat, subscribers, [{room, <<"lobby">>}])) =:= 1 end, left),
    unharmed(Edge).

%% Alice follows Bob and reads what he posts.
feed(Config) ->
    {App, Browser, #{http := Http} = Edge} = parts(Config),
    ok = lariat_browser:open(Browser, page(Http, "alice")),
    ok = lariat_browser:wait_text(Browser, "#status", "connected"),
    await(fun() -> call(App, lariat, connections, [<<"alice">>]) =/= [] end, seen),
    {200, _, <<"{\"reached\":0}">>} = post(Http, "/post/bob", "nobody reads this"),
    _ = lariat_browser:eval(Browser, typed("whom", "bob", "follow")),
    ok = lariat_browser:wait_text(Browser, "#status", "done: bob"),
    [<<"alice">>] = call(App, lariat, subscribers, [<<"bob">>]),
    {200, _, <<"{\"reached\":1}">>} = post(Http, "/post/bob", "breakfast\nwith eggs"),
    ok = lariat_browser:wait_text(Browser, "#posts li", "bobbreakfast\nwith eggs"),
    _ = lariat_browser:eval(Browser, typed("text", "mine", "post")),
    ok = lariat_browser:wait_text(Browser, "#posts li", "alicemine"),
    {405, _, _} = lariat_client:get(Http, "/post/bob"),
    unharmed(Edge).

%% Alice reads what Bob says, and how the VM is that holds her.
live(Config) ->
    #{http := Http} = Edge = ?config(edge, Config),
    Browser = ?config(browser, Config),
    ok = lariat_browser:open(Browser, page(Http, "alice")),
    ok = lariat_browser:wait_text(Browser, "#status", "connected"),
    ok = lariat_browser:wait_text(Browser, "#readers", "1 reading"),
    {204, _, _} = post(Http, "/say/bob", "hello <b>alice</b>"),
    ok = lariat_browser:wait_text(Browser, "#said li", "bobhello <b>alice</b>"),
    _ = lariat_browser:eval(Browser, typed("text", "hello bob", "say")),
    ok = lariat_browser:wait_text(Browser, "#said li", "alicehello bob"),
    ok = lariat_browser:wait_text(Browser, "#status", "said: hello bob"),
    {405, _, _} = lariat_client:get(Http, "/say/bob"),
    unharmed(Edge).

unharmed(Edge) ->
    [] = [Line || Line <- lariat_site:log(Edge), binary:match(Line, <<"panicked">>) =/= nomatch].

parts(Config) ->
    {?config(app, Config), ?config(browser, Config), ?config(edge, Config)}.

page(Http, Hash) ->
    lists:flatten(io_lib:format("http://127.0.0.1:~b/#~s", [Http, Hash])).

%% A script that fills a field in and submits its form.
typed(Field, Text, Form) ->
    io_lib:format(
        "document.getElementById('~s').value = '~s';"
        "document.getElementById('~s').requestSubmit();",
        [Field, Text, Form]
    ).

post(Http, Path, Body) ->
    lariat_client:request(Http, [
        "POST ", Path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ",
        integer_to_list(length(Body)), "\r\n\r\n", Body
    ]).
