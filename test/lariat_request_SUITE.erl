%%% Applications answer requests, posts by the thousand, and who publishes over HTTP.
%%%
%%% Real Erlang nodes, the real program, raw clients. What is documented for a handler that is away,
%%% slow, or crashes is seen from the client's side, and a stream held all the time must not notice.
-module(lariat_request_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    requests_are_answered/1,
    nobody_serves/1,
    crashes_and_bad_answers/1,
    a_slow_handler/1,
    a_late_handler/1,
    too_many_at_once/1,
    posts_come_in_batches/1,
    publishing_over_http/1,
    other_sites/1,
    a_node_that_is_killed/1,
    two_nodes_share/1
]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [seen/2, counters/1]).
-import(lariat_answers, [pair/3, app/3, held/2, still_held/2, asked/2, answered/1, post/2]).
-import(lariat_answers, [waits/1, let_go/1, witness/1, witnessed/1]).
-import(lariat_well, [well/2]).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        requests_are_answered,
        nobody_serves,
        crashes_and_bad_answers,
        a_slow_handler,
        a_late_handler,
        too_many_at_once,
        posts_come_in_batches,
        publishing_over_http,
        other_sites
    ],
    NodeAlone = [
        a_node_that_is_killed,
        two_nodes_share
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

%% Everything about a request comes, and everything that is answered goes.
requests_are_answered(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api], #{}),
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
    {#{http := Http}, _} = Pair = pair(Config, [open, api], #{environment => [{handlers, []}]}),
    {503, Head, _} = lariat_client:get(Http, "/api/json"),
    ?assertMatch({match, _}, re:run(Head, "\r\nretry-after: [0-9]+", [caseless])),
    {Edge, App} = lariat_pair:again(Pair, [lariat_answers:handler()]),
    {201, _, _} = lariat_client:get(maps:get(http, Edge), "/api/json"),
    well(App, Edge).

crashes_and_bad_answers(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api, ask], #{}),
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

%% One waits; others do not.
a_slow_handler(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api], #{}),
    Held = held(Http, App),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    [{201, _, _} = lariat_client:get(Http, "/api/json") || _ <- lists:seq(1, 20)],
    _ = let_go(App),
    ?assertMatch({200, _, <<"waited">>}, answered(Slow)),
    still_held(Held, App),
    well(App, Edge).

%% It has less time than the edge waits.
a_late_handler(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api], #{
        environment => [{handler_timeout_ms, 300}]
    }),
    Held = held(Http, App),
    ?assertMatch({504, _, _}, lariat_client:get(Http, "/api/wait")),
    ?assertMatch(#{handler_timeouts := 1}, counters(App)),
    await(fun() -> element(1, lariat_client:get(Http, "/api/json")) =:= 201 end, in_time),
    still_held(Held, App),
    well(App, Edge).

too_many_at_once(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api], #{
        environment => [{handler_jobs_max, 1}]
    }),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    ?assertMatch({503, _, _}, lariat_client:get(Http, "/api/json")),
    ?assertMatch(#{handler_refused := 1}, counters(App)),
    _ = let_go(App),
    ?assertMatch({200, _, _}, answered(Slow)),
    await(fun() -> element(1, lariat_client:get(Http, "/api/json")) =:= 201 end, room),
    well(App, Edge).

%% Whoever waits for it hears so; who holds a stream hears nothing.
a_node_that_is_killed(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api, events], #{}),
    Held = held(Http, App),
    Slow = asked(Http, "/api/wait"),
    waits(App),
    lariat_site:kill(App),
    ?assertMatch({503, _, _}, answered(Slow)),
    {503, _, _} = lariat_client:get(Http, "/api/json"),
    {503, _, _} = answered(asked(Http, post("/events", <<"x">>))),
    Again = app(Config, "app", Edge),
    {201, _, _} = lariat_client:get(Http, "/api/json"),
    witness(Again),
    ?assertMatch({202, _, _}, answered(asked(Http, post("/events", <<"again">>)))),
    <<"again">> = witnessed(Again),
    still_held(Held, Again),
    well(Again, Edge).

two_nodes_share(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api], #{}),
    Other = app(Config, "other", Edge),
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

posts_come_in_batches(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, events], #{}),
    witness(App),
    Posts = [asked(Http, post("/events", integer_to_binary(I))) || I <- lists:seq(1, 100)],
    [?assertMatch({202, _, _}, answered(Post)) || Post <- Posts],
    Said = words(App, 100, []),
    ?assertEqual(
        lists:seq(1, 100), lists:sort([binary_to_integer(Word) || Word <- Said])
    ),
    ?assertMatch({503, _, _}, answered(asked(Http, post("/events", <<"not now">>)))),
    ?assertMatch({500, _, _}, answered(asked(Http, post("/events", <<"crash">>)))),
    well(App, Edge).

%% With a token, to ids and to the subscribers of a subject.
publishing_over_http(Config) ->
    Token = "a-token-of-this-test",
    File = filename:join(?config(priv_dir, Config), "token"),
    ok = file:write_file(File, [Token, "\n"]),
    {#{http := Http} = Edge, App} = pair(Config, [open], #{
        more => ["[publish]\npath = \"/publish\"\ntoken_file = \"", File, "\"\n"]
    }),
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
    {#{http := Http} = Edge, App} = pair(Config, [open, api, ws], #{
        http => "cors_origins = [\"https://app.example\"]\n"
    }),
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

words(_, 0, Said) ->
    Said;
words(App, Left, Said) ->
    Words = binary:split(witnessed(App), <<" ">>, [global]),
    words(App, Left - length(Words), Words ++ Said).
