%%% Applications say who may connect and hear what is said on held connections.
%%%
%%% Real Erlang nodes, the real program, raw clients. A handler that is away, slow, or crashes costs
%%% no held connection; requests have their own suite.
-module(lariat_held_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    who_may_hold_a_stream/1,
    nobody_answers_about_streams/1,
    websockets_talk/1,
    nobody_to_ask/1,
    a_connection_is_kept_without_its_handler/1,
    the_readme/1
]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [up/2, seen/2]).
-import(lariat_answers, [pair/3, app/3, held/2, still_held/2, asked/2, answered/1]).
-import(lariat_answers, [waits/1, let_go/1, witness/1, witnessed/1]).
-import(lariat_well, [well/2]).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        who_may_hold_a_stream,
        nobody_answers_about_streams,
        websockets_talk
    ],
    NodeAlone = [
        nobody_to_ask,
        a_connection_is_kept_without_its_handler,
        the_readme
    ],
    lariat_pair:groups(Both, NodeAlone).

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_group(Group, Config) ->
    lariat_pair:init_group(Group, Config).

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    lariat_pair:init_case(Config).

end_per_testcase(_Case, Config) ->
    lariat_pair:end_case(Config).

%% Erlang gives ids and cookies, refuses, and answers something else.
who_may_hold_a_stream(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, ask], #{}),
    {First, Head} = lariat_client:open(Http, "/ask/7", sse, ""),
    ?assertMatch({match, _}, re:run(Head, "set-cookie: who=you\r\n", [caseless])),
    seen(App, 1),
    ok = call(App, lariat, send, [7, <<"seven">>]),
    <<"seven">> = lariat_client:message(First),
    {Second, _} = lariat_client:open(Http, "/ask/7", chunked, "Cookie: who=you\r\n"),
    seen(App, 2),
    ok = call(App, lariat, send, [{user, <<"you">>}, <<"you">>]),
    <<"you">> = lariat_client:message(Second),
    lariat_client:nothing(First),
    {403, _, Refused} = lariat_client:get(Http, "/ask/mallory"),
    ?assertMatch({match, _}, re:run(Refused, "not you")),
    {302, Moved, _} = lariat_client:get(Http, "/ask/moved"),
    ?assertMatch({match, _}, re:run(Moved, "location: /elsewhere\r?\n?", [caseless])),
    %% A handler named by a route is remembered, and forgotten with its connections.
    ?assertEqual(2, call(App, lariat_handled, count, [])),
    [lariat_client:close(Stream) || Stream <- [First, Second]],
    seen(App, 0),
    await(fun() -> call(App, lariat_handled, count, []) =:= 0 end, forgotten),
    well(App, Edge).

%% The same answers as for requests, and nothing is held by mistake.
nobody_answers_about_streams(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, ask], #{
        environment => [{handler_timeout_ms, 300}]
    }),
    Held = held(Http, App),
    {500, _, _} = lariat_client:get(Http, "/ask/crash"),
    {504, _, _} = lariat_client:get(Http, "/ask/wait"),
    seen(App, 1),
    still_held(Held, App),
    well(App, Edge).

%% A WebSocket says, is answered, and leaves; one that nobody would hear is closed.
websockets_talk(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, ws, talk], #{}),
    Held = held(Http, App),
    One = lariat_websocket:open(Http, "/ws/1"),
    Two = lariat_websocket:open(Http, "/talk/2"),
    seen(App, 3),
    2 = call(App, lariat_handled, count, []),
    witness(App),
    Say = fun(Socket, Text) ->
        ok = lariat_websocket:say(Socket, {text, Text}),
        lariat_websocket:hear(Socket)
    end,
    {text, <<"1: hello">>} = Say(One, <<"hello">>),
    {text, <<"2: hello">>} = Say(Two, <<"hello">>),
    %% In order, however many.
    Texts = [integer_to_binary(I) || I <- lists:seq(1, 500)],
    [ok = lariat_websocket:say(One, {text, Text}) || Text <- Texts],
    [?assertEqual({text, <<"1: ", Text/binary>>}, lariat_websocket:hear(One)) || Text <- Texts],
    %% A crash keeps it; a slow one keeps nobody waiting but itself.
    ok = lariat_websocket:say(One, {text, <<"crash">>}),
    ok = lariat_websocket:say(One, {text, <<"wait">>}),
    waits(App),
    {text, <<"2: meanwhile">>} = Say(Two, <<"meanwhile">>),
    _ = let_go(App),
    {text, <<"waited">>} = lariat_websocket:hear(One),
    ok = lariat_websocket:close(One),
    <<"1 ", _/binary>> = witnessed(App),
    {close, _} = Say(Two, <<"close">>),
    <<"2 bye">> = witnessed(App),
    await(fun() -> call(App, lariat_handled, count, []) =:= 0 end, forgotten),
    still_held(Held, App),
    well(App, Edge).

%% The node goes; who asks meanwhile is refused, and who is held stays.
nobody_to_ask(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, ask, ws], #{}),
    Held = held(Http, App),
    {Asked, _} = lariat_client:open(Http, "/ask/1", chunked, ""),
    seen(App, 2),
    Slow = asked(Http, "/ask/wait"),
    waits(App),
    lariat_site:kill(App),
    {503, _, _} = answered(Slow),
    {503, Head, _} = lariat_client:get(Http, "/ask/1"),
    ?assertMatch({match, _}, re:run(Head, "\r\nretry-after: [0-9]+", [caseless])),
    {503, _, _} = lariat_websocket:refused(Http, "/ws/1", ""),
    Again = app(Config, "app", Edge),
    seen(Again, 2),
    ok = call(Again, lariat, send, [1, <<"still">>]),
    <<"still">> = lariat_client:message(Asked),
    still_held(Held, Again),
    well(Again, Edge).

%% The same for a connection that talks; what it says meanwhile is refused, not lost.
a_connection_is_kept_without_its_handler(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, talk], #{}),
    [Quiet, Talks] = [lariat_websocket:open(Http, ["/talk/", Id]) || Id <- ["1", "2"]],
    seen(App, 2),
    lariat_site:kill(App),
    await(fun() -> lariat_pair:metric(Edge, <<"lariat_owners">>) =:= 0 end, away),
    ok = lariat_websocket:say(Talks, {text, <<"anybody?">>}),
    {close, 1013} = lariat_websocket:hear(Talks),
    Again = app(Config, "app", Edge),
    await(fun() -> call(Again, lariat_handled, count, []) =:= 1 end, known_again),
    ok = lariat_websocket:say(Quiet, {text, <<"still here">>}),
    {text, <<"1: still here">>} = lariat_websocket:hear(Quiet),
    well(Again, Edge).

%% What it shows is compiled and tried.
the_readme(Config) ->
    {ok, Readme} = file:read_file(filename:join(lariat_site:root(), "README.md")),
    Shown = fun(Pattern) ->
        {match, [Text]} = re:run(Readme, Pattern, [dotall, {capture, [1], binary}]),
        Text
    end,
    Dir = ?config(priv_dir, Config),
    Source = filename:join(Dir, "hello.erl"),
    ok = file:write_file(Source, Shown("```erlang\n(-module\\(hello\\).*?)```")),
    {ok, hello, Code} = compile:file(Source, [binary, return_errors]),
    Toml = filename:join(Dir, "hello.toml"),
    ok = file:write_file(Toml, Shown("```toml\n(\\[\\[http.route\\]\\]\npath = \"/api/time\".*?)```")),
    #{http := Http, node := Node} =
        Edge = lariat_site:edge(?config(site, Config), "lariat", #{args => ["--config", Toml]}),
    App = lariat_site:plain_erlang(?config(site, Config), "app", [
        "-pa", filename:dirname(code:which(lariat)),
        "-mnesia", "dir", "\"" ++ filename:join(Dir, "mnesia-readme") ++ "\""
    ]),
    {module, hello} = call(App, code, load_binary, [hello, Source, Code]),
    [
        ok = call(App, application, set_env, [lariat, Key, Value])
     || {Key, Value} <- [{edge, Node}, {handlers, [{<<"hello">>, hello, []}]}]
    ],
    {ok, _} = call(App, application, ensure_all_started, [lariat]),
    up(App, Node),
    {200, _, <<"{\"seconds\":", _/binary>>} = lariat_client:get(Http, "/api/time"),
    {403, _, _} = lariat_websocket:refused(Http, "/ws/1", ""),
    {Socket, _} = lariat_websocket:open(Http, "/ws/1", "Cookie: session=sesame\r\n"),
    ok = lariat_websocket:say(Socket, {text, <<"echo">>}),
    {text, <<"echo">>} = lariat_websocket:hear(Socket),
    ok = lariat_websocket:close(Socket),
    pong = call(App, net_adm, ping, [Node]),
    [] = [Line || Line <- lariat_site:log(Edge), binary:match(Line, <<"panicked">>) =/= nomatch].
