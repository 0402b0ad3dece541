%%% Applications answer: requests, who may connect, what clients say, posts by the thousand.
%%%
%%% Real Erlang nodes, the real program, raw clients. What is documented for a handler that is away,
%%% slow, or crashes is seen from the client's side, and a stream held all the time must not notice.
-module(lariat_handler_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    requests_are_answered/1,
    nobody_serves/1,
    crashes_and_bad_answers/1,
    a_slow_handler/1,
    too_many_at_once/1,
    a_node_that_is_killed/1,
    two_nodes_share/1,
    who_may_hold_a_stream/1,
    nobody_to_ask_about_streams/1,
    websockets_talk/1,
    a_connection_is_kept_without_its_handler/1,
    posts_come_in_batches/1,
    publishing_over_http/1,
    other_sites/1,
    the_readme/1
]).
%% The handler of the nodes under test.
-export([handle/1, let_go/0, witness/0, take/0]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [attached/4, up/2, seen/2, counters/1]).
-import(lariat_well, [well/2]).

all() ->
    [
        requests_are_answered,
        nobody_serves,
        crashes_and_bad_answers,
        a_slow_handler,
        too_many_at_once,
        a_node_that_is_killed,
        two_nodes_share,
        who_may_hold_a_stream,
        nobody_to_ask_about_streams,
        websockets_talk,
        a_connection_is_kept_without_its_handler,
        posts_come_in_batches,
        publishing_over_http,
        other_sites,
        the_readme
    ].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_testcase(_Case, Config) ->
    [{site, lariat_site:start(?config(priv_dir, Config))} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%% Says back what it was asked, waits until it is let go, or does what nobody should.
handle({init, #{kind := request, path := <<"/api/", What/binary>>} = Request}) ->
    case What of
        <<"echo">> -> {reply, 200, #{"X-Kind" => "echo"}, term_to_binary(Request)};
        <<"json">> -> {reply, 201, [{"content-type", "application/json"}], "{\"a\":1}"};
        <<"cookies">> -> {reply, 200, [{"set-cookie", "a=1"}, {"set-cookie", "b=2"}], ""};
        <<"empty">> -> {reply, 204, [], []};
        <<"no">> -> {reject, 403, "not you"};
        <<"node">> -> {reply, 200, [], atom_to_binary(node())};
        <<"crash">> -> error(as_asked);
        <<"die">> -> exit(self(), kill), receive never -> ok end;
        <<"bad">> -> {reply, 200, [{"a", "b\r\nc: d"}], ""};
        <<"hold">> -> {accept, 1, #{}};
        <<"wait">> -> wait(), {reply, 200, [], "waited"}
    end;
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"mallory">>}}}) ->
    {reject, 403, "not you"};
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"moved">>}}}) ->
    {reply, 302, #{"location" => "/elsewhere"}, ""};
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"crash">>}}}) ->
    error(as_asked);
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"wait">>}}}) ->
    wait(),
    {reject, 403, "waited"};
handle({init, #{kind := stream} = Request}) ->
    case lariat_request:cookie(<<"who">>, Request) of
        {ok, Who} -> {accept, {user, Who}, #{heartbeat => 1000}};
        error -> {accept, lariat_request:id(Request), #{headers => #{"set-cookie" => "who=you"}}}
    end;
handle({init, #{kind := websocket} = Request}) ->
    {accept, lariat_request:id(Request), #{}};
handle({in, _, {text, <<"crash">>}}) ->
    error(as_asked);
handle({in, _, {text, <<"close">>}}) ->
    {close, bye};
handle({in, _, {text, <<"wait">>}}) ->
    wait(),
    {reply, "waited"};
handle({in, #{id := Id}, {_, Said}}) ->
    {reply, [io_lib:format("~p: ", [Id]), Said]};
%% Of an end the witness hears.
handle({closed, #{id := Id}, Reason}) ->
    lariat:send(witness, io_lib:format("~0p ~0p", [Id, Reason]));
handle({batch, [<<"crash">> | _]}) ->
    error(as_asked);
handle({batch, [<<"not now">> | _]}) ->
    {error, not_now};
handle({batch, Bodies}) ->
    lariat:send(witness, lists:join(" ", Bodies)),
    ok.

wait() ->
    true = register(waiting, self()),
    receive
        let_go -> ok
    end.

let_go() ->
    waiting ! let_go.

%% Everything about a request comes, and everything that is answered goes.
requests_are_answered(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, api], []),
    {200, Head, Body} = lariat_client:request(Http, [
        "POST /api/echo?a=1&b=%20 HTTP/1.1\r\nHost: test\r\nCookie: a=1\r\nCookie: b=2\r\n"
        "X-Two: 1\r\nx-two: 2\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    ]),
    ?assertMatch({match, _}, re:run(Head, "\r\nx-kind: echo(\r\n|$)", [caseless])),
    #{headers := Headers, peer := Peer} = Request = binary_to_term(Body),
    ?assertMatch({{127, 0, 0, 1}, _}, Peer),
    ?assertMatch(
        #{
            <<"cookie">> := <<"a=1; b=2">>, <<"x-two">> := <<"1, 2">>, <<"host">> := <<"test">>
        },
        Headers
    ),
    ?assertEqual(
        #{
            kind => request,
            handler => <<"h">>,
            method => <<"POST">>,
            path => <<"/api/echo">>,
            bindings => #{<<"what">> => <<"echo">>},
            query => <<"a=1&b=%20">>,
            body => <<"hello">>
        },
        maps:without([headers, peer], Request)
    ),
    {201, Json, <<"{\"a\":1}">>} = lariat_client:get(Http, "/api/json"),
    ?assertMatch({match, _}, re:run(Json, "content-type: application/json", [caseless])),
    {200, Cookies, <<>>} = lariat_client:get(Http, "/api/cookies"),
    ?assertMatch(
        {match, [[<<"a=1">>], [<<"b=2">>]]},
        re:run(Cookies, "set-cookie: (\\S+)", [caseless, global, {capture, [1], binary}])
    ),
    {204, _, <<>>} = lariat_client:get(Http, "/api/empty"),
    {403, _, Refused} = lariat_client:get(Http, "/api/no"),
    ?assertMatch({match, _}, re:run(Refused, "not you")),
    well(App, Edge).

%% A route whose handler nobody has; then somebody comes.
nobody_serves(Config) ->
    Site = ?config(site, Config),
    #{http := Http, node := Node} = Edge = edge(Config, [open, api], []),
    {503, Head, _} = lariat_client:get(Http, "/api/json"),
    ?assertMatch({match, _}, re:run(Head, "\r\nretry-after: [0-9]+", [caseless])),
    Without = lariat_attached:attached(Site, "without", [Node]),
    {503, _, _} = lariat_client:get(Http, "/api/json"),
    App = app(Config, "app", Node, []),
    {201, _, _} = lariat_client:get(Http, "/api/json"),
    well(Without, Edge),
    well(App, Edge).

crashes_and_bad_answers(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, api, ask], []),
    Held = held(Http, App),
    [
        ?assertMatch({500, _, _}, lariat_client:get(Http, ["/api/" | Path]))
     || Path <- ["crash", "bad", "hold", "die", "crash"]
    ],
    {500, _, _} = lariat_client:get(Http, "/ask/crash"),
    ?assertMatch(#{handler_crashes := 4, handler_bad_answers := 2}, counters(App)),
    {201, _, _} = lariat_client:get(Http, "/api/json"),
    still_held(Held, App),
    well(App, Edge).

%% One waits; others do not. Then it is late, on one side or the other.
a_slow_handler(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, api], []),
    Held = held(Http, App),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    [{201, _, _} = lariat_client:get(Http, "/api/json") || _ <- lists:seq(1, 20)],
    _ = call(App, ?MODULE, let_go, []),
    ?assertMatch({200, _, <<"waited">>}, answered(Slow)),
    ok = call(App, application, stop, [lariat]),
    ok = call(App, application, set_env, [lariat, handler_timeout_ms, 300]),
    ok = call(App, application, start, [lariat]),
    up(App, maps:get(node, Edge)),
    ?assertMatch({504, _, _}, lariat_client:get(Http, "/api/wait")),
    ?assertMatch(#{handler_timeouts := 1}, counters(App)),
    {201, _, _} = lariat_client:get(Http, "/api/json"),
    still_held(Held, App),
    well(App, Edge).

too_many_at_once(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, api], [{handler_jobs_max, 1}]),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    ?assertMatch({503, _, _}, lariat_client:get(Http, "/api/json")),
    ?assertMatch(#{handler_refused := 1}, counters(App)),
    _ = call(App, ?MODULE, let_go, []),
    ?assertMatch({200, _, _}, answered(Slow)),
    await(fun() -> element(1, lariat_client:get(Http, "/api/json")) =:= 201 end, room),
    well(App, Edge).

%% Whoever waits for it hears so; who holds a stream hears nothing.
a_node_that_is_killed(Config) ->
    {#{http := Http, node := Node} = Edge, App} = site(Config, [open, api], []),
    Held = held(Http, App),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    lariat_site:kill(App),
    ?assertMatch({503, _, _}, answered(Slow)),
    {503, _, _} = lariat_client:get(Http, "/api/json"),
    Again = app(Config, "app", Node, []),
    {201, _, _} = lariat_client:get(Http, "/api/json"),
    still_held(Held, Again),
    well(Again, Edge).

two_nodes_share(Config) ->
    {#{http := Http, node := Node} = Edge, App} = site(Config, [open, api], []),
    Other = app(Config, "other", Node, []),
    Answers = [lariat_client:get(Http, "/api/node") || _ <- lists:seq(1, 10)],
    ?assertEqual(
        lists:sort([<<"app@127.0.0.1">>, <<"other@127.0.0.1">>]),
        lists:usort([Body || {200, _, Body} <- Answers])
    ),
    10 = length([ok || {200, _, _} <- Answers]),
    lariat_site:kill(Other),
    [
        await(fun() -> element(1, lariat_client:get(Http, "/api/node")) =:= 200 end, node)
     || _ <- lists:seq(1, 10)
    ],
    well(App, Edge).

%% Erlang gives ids and cookies, refuses, and answers something else.
who_may_hold_a_stream(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, ask], []),
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
nobody_to_ask_about_streams(Config) ->
    #{http := Http, node := Node} = Edge = edge(Config, [open, ask], []),
    {503, Head, _} = lariat_client:get(Http, "/ask/1"),
    ?assertMatch({match, _}, re:run(Head, "\r\nretry-after: [0-9]+", [caseless])),
    App = app(Config, "app", Node, [{handler_timeout_ms, 300}]),
    Held = held(Http, App),
    {500, _, _} = lariat_client:get(Http, "/ask/crash"),
    {504, _, _} = lariat_client:get(Http, "/ask/wait"),
    {Asked, _} = lariat_client:open(Http, "/ask/1", chunked, ""),
    seen(App, 2),
    Slow = asked(Http, "/ask/wait"),
    waits(App),
    lariat_site:kill(App),
    {503, _, _} = answered(Slow),
    Again = app(Config, "app", Node, []),
    seen(Again, 2),
    ok = call(Again, lariat, send, [1, <<"still">>]),
    <<"still">> = lariat_client:message(Asked),
    still_held(Held, Again),
    well(Again, Edge).

%% A WebSocket says, is answered, and leaves; one that nobody would hear is closed.
websockets_talk(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, ws, talk], []),
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
    _ = call(App, ?MODULE, let_go, []),
    {text, <<"waited">>} = lariat_websocket:hear(One),
    ok = lariat_websocket:close(One),
    <<"1 ", _/binary>> = witnessed(App),
    {close, _} = Say(Two, <<"close">>),
    <<"2 bye">> = witnessed(App),
    await(fun() -> call(App, lariat_handled, count, []) =:= 0 end, forgotten),
    still_held(Held, App),
    well(App, Edge).

%% The node goes, the connection stays; what it says meanwhile is refused, not lost.
a_connection_is_kept_without_its_handler(Config) ->
    {#{http := Http, node := Node} = Edge, App} = site(Config, [open, talk], []),
    [Quiet, Talks] = [lariat_websocket:open(Http, ["/talk/", Id]) || Id <- ["1", "2"]],
    seen(App, 2),
    lariat_site:kill(App),
    await(fun() -> lariat_site:metric(Edge, <<"lariat_owners">>) =:= 0 end, away),
    ok = lariat_websocket:say(Talks, {text, <<"anybody?">>}),
    {close, 1013} = lariat_websocket:hear(Talks),
    Again = app(Config, "app", Node, []),
    await(fun() -> call(Again, lariat_handled, count, []) =:= 1 end, known_again),
    ok = lariat_websocket:say(Quiet, {text, <<"still here">>}),
    {text, <<"1: still here">>} = lariat_websocket:hear(Quiet),
    well(Again, Edge).

posts_come_in_batches(Config) ->
    {#{http := Http} = Edge, App} = site(Config, [open, events], []),
    witness(App),
    Posts = [asked(Http, post("/events", integer_to_binary(I))) || I <- lists:seq(1, 100)],
    [?assertMatch({202, _, _}, answered(Post)) || Post <- Posts],
    Said = words(App, 100, []),
    ?assertEqual(
        lists:seq(1, 100), lists:sort([binary_to_integer(Word) || Word <- Said])
    ),
    ?assertMatch({503, _, _}, answered(asked(Http, post("/events", <<"not now">>)))),
    ?assertMatch({500, _, _}, answered(asked(Http, post("/events", <<"crash">>)))),
    lariat_site:kill(App),
    await(
        fun() -> element(1, answered(asked(Http, post("/events", <<"x">>)))) =:= 503 end, nobody
    ),
    Again = app(Config, "app", maps:get(node, Edge), []),
    witness(Again),
    ?assertMatch({202, _, _}, answered(asked(Http, post("/events", <<"again">>)))),
    <<"again">> = witnessed(Again),
    well(Again, Edge).

%% With a token, to ids and to the subscribers of a subject.
publishing_over_http(Config) ->
    Token = "a-token-of-this-test",
    File = filename:join(?config(priv_dir, Config), "token"),
    ok = file:write_file(File, [Token, "\n"]),
    #{http := Http, node := Node} =
        Edge = edge(Config, [open], ["[publish]\npath = \"/publish\"\ntoken_file = \"", File, "\"\n"]),
    App = app(Config, "app", Node, []),
    [One, Two] = Streams = [lariat_client:open(Http, Id, chunked) || Id <- [1, <<"two">>]],
    seen(App, 2),
    Publish = fun(Query, Fields, Body) ->
        lariat_client:request(Http, [
            "POST /publish", Query, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", Fields,
            "Content-Length: ", integer_to_binary(iolist_size(Body)), "\r\n\r\n", Body
        ])
    end,
    Bearer = ["Authorization: Bearer ", Token, "\r\n"],
    Json = [Bearer, "Content-Type: application/json\r\n"],
    {200, _, <<"{\"reached\":1}">>} = Publish("", Json, "{\"to\":[1],\"message\":\"one\"}"),
    <<"one">> = lariat_client:message(One),
    ok = call(App, lariat, subscribe, [1, 77]),
    ok = call(App, lariat, subscribe, [<<"two">>, 77]),
    {200, _, <<"{\"reached\":2}">>} = Publish("?subject=77", Bearer, <<"to all", 255>>),
    [<<"to all", 255>> = lariat_client:message(Stream) || Stream <- Streams],
    {200, _, <<"{\"reached\":1}">>} = Publish("?to=two", Bearer, <<"two">>),
    <<"two">> = lariat_client:message(Two),
    {200, _, <<"{\"reached\":0}">>} = Publish("?to=nobody", Bearer, <<"x">>),
    {401, _, _} = Publish("?to=1", "", <<"x">>),
    {401, _, _} = Publish("?to=1", "Authorization: Bearer another-token-of-it\r\n", <<"x">>),
    lariat_client:nothing(One),
    well(App, Edge).

%% One rule for every kind: a site that is listed may ask and read, another may not.
other_sites(Config) ->
    #{http := Http, node := Node} = Edge =
        edge(Config, [open, api, ws], ["[http]\ncors_origins = [\"https://app.example\"]\n"]),
    App = app(Config, "app", Node, []),
    Ask = fun(Method, Path, Origin) ->
        lariat_client:request(Http, [
            Method, " ", Path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: ", Origin,
            "\r\nAccess-Control-Request-Method: POST\r\n\r\n"
        ])
    end,
    Allows = fun(Head) ->
        re:run(Head, "access-control-allow-origin: https://app.example", [caseless]) =/= nomatch
    end,
    {201, Listed, _} = Ask("GET", "/api/json", "https://app.example"),
    ?assert(Allows(Listed)),
    {201, Other, _} = Ask("GET", "/api/json", "https://other.example"),
    ?assertNot(Allows(Other)),
    {204, Preflight, _} = Ask("OPTIONS", "/api/json", "https://app.example"),
    ?assert(Allows(Preflight)),
    {403, _, _} =
        lariat_websocket:refused(Http, "/ws/1", "Origin: https://other.example\r\n"),
    {Socket, _} = lariat_websocket:open(Http, "/ws/1", "Origin: https://app.example\r\n"),
    ok = lariat_websocket:close(Socket),
    well(App, Edge).

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

site(Config, Routes, Environment) ->
    #{node := Node} = Edge = edge(Config, Routes, []),
    {Edge, app(Config, "app", Node, Environment)}.

edge(Config, Routes, More) ->
    File = filename:join(?config(priv_dir, Config), "handlers.toml"),
    ok = file:write_file(File, [More, [["[[http.route]]\n", route(Route)] || Route <- Routes]]),
    lariat_site:edge(?config(site, Config), "lariat", #{args => ["--config", File]}).

route(open) -> "path = \"/stream/{id}\"\n";
route(api) -> "path = \"/api/{what}\"\nkind = \"request\"\nhandler = \"h\"\n";
route(ask) -> "path = \"/ask/{id}\"\naccess = \"ask\"\nhandler = \"h\"\n";
route(ws) -> "path = \"/ws/{id}\"\nkind = \"websocket\"\naccess = \"ask\"\nhandler = \"h\"\n";
route(talk) -> "path = \"/talk/{id}\"\nkind = \"websocket\"\nhandler = \"h\"\n";
route(events) -> "path = \"/events\"\nkind = \"batch\"\nhandler = \"h\"\n".

app(Config, Name, Node, Environment) ->
    Handlers = {handlers, [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}]},
    attached(?config(site, Config), Name, [Node], [Handlers | Environment]).

held(Http, App) ->
    Stream = lariat_client:open(Http, 99, sse),
    seen(App, 1),
    Stream.

still_held(Stream, App) ->
    await(fun() -> call(App, lariat, connections, [99]) =/= [] end, still_there),
    ok = call(App, lariat, send, [99, <<"still">>]),
    <<"still">> = lariat_client:message(Stream).

%% Asks, in a process of its own.
asked(Http, Path) when is_list(hd(Path)) ->
    spawn_monitor(fun() -> exit({answer, lariat_client:request(Http, Path)}) end);
asked(Http, Path) ->
    spawn_monitor(fun() -> exit({answer, lariat_client:get(Http, Path)}) end).

post(Path, Body) ->
    [
        ["POST ", Path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "],
        [integer_to_binary(byte_size(Body)), "\r\n\r\n", Body]
    ].

%% A process on the node that keeps what is sent to the id `witness'.
witness(App) ->
    Pid = call(App, erlang, spawn, [?MODULE, witness, []]),
    ok = call(App, lariat, login, [witness, Pid]).

witness() ->
    true = register(witness, self()),
    keep(queue:new()).

keep(Heard) ->
    receive
        {take, Pid} when Heard =:= {[], []} ->
            Pid ! none,
            keep(Heard);
        {take, Pid} ->
            {{value, First}, Others} = queue:out(Heard),
            Pid ! {heard, First},
            keep(Others);
        Message ->
            keep(queue:in(Message, Heard))
    end.

%% Asked on the node, because the tests' own takes no part in the distribution.
witnessed(App) ->
    {heard, Message} = await(
        fun() ->
            case call(App, ?MODULE, take, []) of
                none -> false;
                Heard -> Heard
            end
        end,
        witness
    ),
    Message.

take() ->
    witness ! {take, self()},
    receive
        none -> none;
        {heard, _} = Heard -> Heard
    end.

words(_, 0, Said) ->
    Said;
words(App, Left, Said) ->
    Words = binary:split(witnessed(App), <<" ">>, [global]),
    words(App, Left - length(Words), Words ++ Said).

answered({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer
    end.

waits(App) ->
    await(fun() -> is_pid(call(App, erlang, whereis, [waiting])) end, waits).
