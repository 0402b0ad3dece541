%%% The demo page in a real browser: what a newcomer sees on the first run.
-module(lariat_page_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([hello_arrives/1, others_are_named/1, the_page_comes_back/1]).

-import(lariat_site, [call/4]).

all() ->
    [hello_arrives, others_are_named, the_page_comes_back].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_testcase(_Case, Config) ->
    Dir = ?config(priv_dir, Config),
    Site = lariat_site:start(Dir),
    Edge = lariat_site:edge(Site, "lariat", #{args => ["--demo"]}),
    App = lariat_site:erlang(Site, "app", [maps:get(node, Edge)]),
    Browser = lariat_browser:start(Dir),
    [{site, Site}, {edge, Edge}, {app, App}, {browser, Browser} | Config].

end_per_testcase(_Case, Config) ->
    lariat_browser:stop(?config(browser, Config)),
    lariat_site:stop(?config(site, Config)).

%% Open the page, send from Erlang, read the text from the page.
hello_arrives(Config) ->
    {App, Browser} = opened(Config, "123"),
    ok = call(App, lariat, send, [123, <<"Hello">>]),
    ok = lariat_browser:wait_text(Browser, "#messages li .text", "Hello"),
    Markup = <<"<b onclick=\"alert(1)\">not markup</b> ", 16#c3, 16#a9>>,
    ok = call(App, lariat, send, [123, Markup]),
    ok = lariat_browser:wait_text(
        Browser, "#messages li .text", unicode:characters_to_list(Markup)
    ),
    <<"0">> = lariat_browser:eval(Browser, "return document.querySelectorAll('#messages b').length"),
    {ok, 1} = call(App, lariat, call, [123, <<"one\ntwo">>]),
    ok = lariat_browser:wait_text(Browser, "#messages li .text", "one\ntwo"),
    ok = lariat_browser:screenshot(
        Browser, filename:join(?config(priv_dir, Config), "demo.png")
    ).

others_are_named(Config) ->
    {App, Browser} = opened(Config, "alice"),
    #{http := Http} = ?config(edge, Config),
    _Other = lariat_client:open(Http, <<"bob">>, chunked),
    ok = lariat_browser:wait_text(Browser, "#connections li[data-id=bob] small", "chunked"),
    ok = call(App, lariat, send, [<<"alice">>, <<"for alice">>]),
    ok = lariat_browser:wait_text(Browser, "#messages li .text", "for alice").

%% The connection is closed under the page; EventSource returns by itself, within `retry'.
the_page_comes_back(Config) ->
    {App, Browser} = opened(Config, "77"),
    {ok, 1} = call(App, lariat, close, [77, bye]),
    lariat_site:await(
        fun() -> call(App, lariat, call, [77, <<"again">>]) =:= {ok, 1} end, the_page
    ),
    ok = lariat_browser:wait_text(Browser, "#messages li .text", "again").

opened(Config, Id) ->
    Browser = ?config(browser, Config),
    App = ?config(app, Config),
    #{http := Http, node := Node} = ?config(edge, Config),
    lariat_site:await(
        fun() ->
            #{edges := #{Node := #{state := State}}} = call(App, lariat, info, []),
            State =:= up
        end,
        up
    ),
    ok = lariat_browser:open(Browser, "about:blank"),
    ok = lariat_browser:open(Browser, lists:flatten(
        io_lib:format("http://127.0.0.1:~b/#~s", [Http, Id])
    )),
    ok = lariat_browser:wait_text(Browser, "#status[data-state=open]", "open as " ++ Id),
    Receiver = case Id of "alice" -> <<"alice">>; Digits -> list_to_integer(Digits) end,
    lariat_site:await(fun() -> call(App, lariat, connections, [Receiver]) =/= [] end, Id),
    {App, Browser}.
