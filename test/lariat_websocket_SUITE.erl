%%% WebSockets and Erlang: who may open one, who hears what is said, what is said back, how it ends.
%%%
%%% Real Erlang nodes with the application, real edges, a raw client. Other clients have the
%%% clients' suite, frames and compression the tests of the edge.
-module(lariat_websocket_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    what_is_said_comes_back/1,
    text_and_binary_are_sent/1,
    the_application_says_why_it_closes/1,
    who_is_accepted/1,
    a_token_opens_one/1,
    one_owner_hears_in_order/1,
    two_nodes_serve/1,
    a_node_is_killed_while_a_client_talks/1,
    after_an_ordinary_request/1
]).
%% The handler of the nodes under test, and what they run.
-export([handle/1, received/2]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [attached/4, seen/2]).
-import(lariat_websocket, [say/2, hear/1, ended/1]).
-import(lariat_well, [well/2]).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        what_is_said_comes_back,
        text_and_binary_are_sent,
        the_application_says_why_it_closes,
        who_is_accepted,
        a_token_opens_one,
        after_an_ordinary_request
    ],
    NodeAlone = [
        one_owner_hears_in_order,
        two_nodes_serve,
        a_node_is_killed_while_a_client_talks
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

%% Who may connect, as for any stream.
handle({init, #{kind := request}}) ->
    {reply, 200, [], "asked"};
handle({init, #{kind := websocket, bindings := #{<<"id">> := <<"mallory">>}}}) ->
    {reject, 403, "not you"};
handle({init, #{kind := websocket, bindings := #{<<"id">> := <<"moved">>}}}) ->
    {reply, 302, #{"location" => "/elsewhere"}, ""};
handle({init, #{kind := websocket, bindings := #{<<"id">> := Name}}}) ->
    {accept, {user, Name}, #{headers => #{"set-cookie" => ["who=", Name]}}};
%% What is said comes back, beginning with the node that has heard it where that is asked.
handle({in, _, {text, <<"node ", Text/binary>>}}) ->
    {reply, {text, [atom_to_binary(node()), " ", Text]}};
handle({in, _, {text, <<"iodata">>}}) ->
    {reply, ["io", $d, <<"ata">>]};
handle({in, _, {text, <<"close">>}}) ->
    {close, {4002, ["as ", <<"asked">>]}};
handle({in, #{conn := Conn}, {text, <<"tell">>}}) ->
    {ok, 1} = lariat:close(Conn, {1000, <<"told">>}),
    ok;
handle({in, _, Data}) ->
    {reply, Data};
%% A stream of this id hears why others have ended.
handle({closed, _, Reason}) ->
    lariat:send(<<"reasons">>, written(Reason)).

written(Reason) ->
    iolist_to_binary(io_lib:format("~w", [Reason])).

%% Text is text and binary is binary, of any size.
what_is_said_comes_back(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Socket = lariat_websocket:open(Http, "/ws/1"),
    Said = [
        {text, <<"Hello">>},
        {binary, <<"Hello">>},
        {text, <<>>},
        {binary, <<>>},
        {text, <<"é🤠"/utf8>>},
        {binary, <<0, 255>>},
        {binary, binary:copy(<<"x">>, 60000)}
    ],
    [ok = say(Socket, Message) || Message <- Said],
    ?assertEqual(Said, [hear(Socket) || _ <- Said]),
    ok = say(Socket, {text, "iodata"}),
    ?assertEqual({text, <<"iodata">>}, hear(Socket)),
    ok = say(Socket, {close, 4000}),
    ?assertEqual({4000, <<>>}, ended(Socket)),
    well(App, Edge).

%% Each way of sending, to a WebSocket, a stream and a process of one id.
text_and_binary_are_sent(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Socket = lariat_websocket:open(Http, "/ws/1"),
    Stream = lariat_client:open(Http, 1, sse),
    seen(App, 2),
    Both = fun({_, Data} = Message) ->
        ?assertEqual(Message, hear(Socket)),
        ?assertEqual(Data, lariat_client:message(Stream))
    end,
    [
        begin
            ok = call(App, lariat, send, [1, {Form, ["o", <<"ne">>]}]),
            Both({Form, <<"one">>}),
            ok = call(App, lariat, send, [[1, 2], {Form, "many"}, #{event => "named"}]),
            Both({Form, <<"many">>}),
            {ok, 2} = call(App, lariat, call, [1, {Form, "called"}]),
            Both({Form, <<"called">>}),
            {ok, 2} = call(App, lariat, publish, [1, {Form, "published"}]),
            Both({Form, <<"published">>}),
            [ok = call(App, lariat, send, [Conn, {Form, "each"}]) || Conn <- conns(App, 1)],
            Both({Form, <<"each">>}),
            %% A process is sent the same term as the pid of a connection.
            Sends = [[{Form, "one"}, #{}], [{Form, "two"}, #{event => "e"}]],
            Terms = [{Form, <<"one">>}, {event, <<"e">>, {Form, <<"two">>}}],
            ?assertEqual(Terms, call(App, ?MODULE, received, [{process, Form}, Sends]))
        end
     || Form <- [text, binary]
    ],
    %% What is no text cannot go as text.
    ok = call(App, lariat, send, [1, {text, <<255>>}]),
    ?assertEqual({binary, <<255>>}, hear(Socket)),
    well(App, Edge).

%% A code and a text of its own for the client; the others hear the reason as it was given.
the_application_says_why_it_closes(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Witness = lariat_client:open(Http, <<"reasons">>, chunked),
    seen(App, 1),
    Ends = fun(End, Heard, Reason) ->
        Socket = lariat_websocket:open(Http, "/ws/1"),
        seen(App, 2),
        End(Socket),
        ?assertEqual(Heard, ended(Socket)),
        ?assertEqual(written(Reason), lariat_client:message(Witness)),
        seen(App, 1)
    end,
    Close = fun(Reason) -> fun(_) -> {ok, 1} = call(App, lariat, close, [1, Reason]) end end,
    Long = lists:duplicate(123, $x),
    [
        Ends(Close(Reason), Heard, Reason)
     || {Reason, Heard} <- [
            {{4001, <<"bye">>}, {4001, <<"bye">>}},
            {{4999, <<"é"/utf8>>}, {4999, <<"é"/utf8>>}},
            {{4000, Long}, {4000, list_to_binary(Long)}},
            {{1000, []}, {1000, <<>>}},
            %% What a client could not be told.
            {{4999, "é"}, {1000, <<>>}},
            {{4000, [$x | Long]}, {1000, <<>>}},
            {{1001, "x"}, {1000, <<>>}},
            {{3000, "x"}, {1000, <<>>}},
            {{-1, "x"}, {1000, <<>>}},
            {{4000, bye}, {1000, <<>>}},
            {bye, {1000, <<>>}}
        ]
    ],
    One = fun(Reason) ->
        fun(_) -> [{ok, 1} = call(App, lariat, close, [Conn, Reason]) || Conn <- conns(App, 1)] end
    end,
    Ends(One({4003, "conn"}), {4003, <<"conn">>}, {4003, "conn"}),
    Ends(One(normal), {1000, <<>>}, normal),
    Say = fun(Text) -> fun(Socket) -> ok = say(Socket, {text, Text}) end end,
    Ends(Say("close"), {4002, <<"as asked">>}, {4002, ["as ", <<"asked">>]}),
    Ends(Say("tell"), {1000, <<"told">>}, {1000, <<"told">>}),
    well(App, Edge).

%% With another id than the path's, or not at all.
who_is_accepted(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, ask]),
    {Alice, Head} = lariat_websocket:open(Http, "/ask/alice", ""),
    ?assertMatch({match, _}, re:run(Head, "set-cookie: who=alice\r\n", [caseless])),
    seen(App, 1),
    ok = call(App, lariat, send, [{user, <<"alice">>}, {binary, <<"alice">>}]),
    ?assertEqual({binary, <<"alice">>}, hear(Alice)),
    %% Who begins to talk before the answer is heard all the same.
    Early = lariat_websocket:asked(Http, "/ask/bob", ""),
    ok = say(Early, {text, "early"}),
    _ = lariat_websocket:upgraded(Early),
    ?assertEqual({text, <<"early">>}, hear(Early)),
    {403, _} = lariat_client:head(lariat_websocket:asked(Http, "/ask/mallory", "")),
    {302, Moved} = lariat_client:head(lariat_websocket:asked(Http, "/ask/moved", "")),
    ?assertMatch({match, _}, re:run(Moved, "location: /elsewhere\r\n", [caseless])),
    %% What is no handshake is not asked about.
    {426, _, _} = lariat_client:get(Http, "/ask/alice"),
    ok = say(Alice, {text, "still"}),
    ?assertEqual({text, <<"still">>}, hear(Alice)),
    seen(App, 2),
    well(App, Edge).

%% In a sub-protocol, where a browser can say it.
a_token_opens_one(Config) ->
    Secret = [rand:uniform(26) + $a - 1 || _ <- lists:seq(1, 40)],
    File = filename:join(?config(priv_dir, Config), "token.secret"),
    ok = file:write_file(File, Secret),
    {#{http := Http} = Edge, App} =
        pair(Config, [open, token], ["[token]\nkey_file = \"", File, "\"\n"]),
    Fields = fun(Token) -> ["Sec-WebSocket-Protocol: lariat, lariat.token.", Token, "\r\n"] end,
    {Socket, Head} = lariat_websocket:open(Http, "/me", Fields(token(Secret, 3600))),
    ?assertMatch({match, _}, re:run(Head, "Sec-WebSocket-Protocol: lariat\r\n")),
    seen(App, 1),
    ok = call(App, lariat, send, [<<"alice">>, <<"yours">>]),
    ?assertEqual({text, <<"yours">>}, hear(Socket)),
    ok = say(Socket, {binary, "mine"}),
    ?assertEqual({binary, <<"mine">>}, hear(Socket)),
    [
        {401, _} = lariat_client:head(lariat_websocket:asked(Http, "/me", Refused))
     || Refused <- ["", Fields(token(Secret, -3600)), Fields(token(lists:reverse([$x | Secret]), 3600))]
    ],
    well(App, Edge).

%% Both serve, and everything that one client says is heard by one of them, once, in order.
one_owner_hears_in_order(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Other = app(Config, "other", Edge),
    Sockets = [lariat_websocket:open(Http, ["/ws/", integer_to_list(N)]) || N <- lists:seq(1, 8)],
    Numbers = [integer_to_binary(N) || N <- lists:seq(1, 200)],
    [ok = say(Socket, {text, ["node ", N]}) || N <- Numbers, Socket <- Sockets],
    [ok = say(Socket, {binary, "end"}) || Socket <- Sockets],
    Nodes = [
        begin
            Heard = [hear(Socket) || _ <- Numbers],
            ?assertEqual({binary, <<"end">>}, hear(Socket)),
            Split = [list_to_tuple(binary:split(Text, <<" ">>)) || {text, Text} <- Heard],
            ?assertEqual(Numbers, [N || {_, N} <- Split]),
            [One] = lists:usort([Name || {Name, _} <- Split]),
            One
        end
     || Socket <- Sockets
    ],
    ?assertEqual([<<"app@127.0.0.1">>, <<"other@127.0.0.1">>], lists:usort(Nodes)),
    well(App, Edge),
    well(Other, Edge).

%% When one of them is gone the other hears all, and no connection closes.
two_nodes_serve(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Other = app(Config, "other", Edge),
    Sockets = [lariat_websocket:open(Http, ["/ws/", integer_to_list(N)]) || N <- lists:seq(1, 8)],
    seen(App, 8),
    seen(Other, 8),
    lariat_site:kill(Other),
    owners(Edge, 1),
    [ok = say(Socket, {text, "node now"}) || Socket <- Sockets],
    [?assertEqual({text, <<"app@127.0.0.1 now">>}, hear(Socket)) || Socket <- Sockets],
    %% Who comes back serves again, those who were there before it, too.
    Again = app(Config, "other", Edge),
    owners(Edge, 2),
    [ok = say(Socket, {text, "node again"}) || Socket <- Sockets],
    Heard = [hear(Socket) || Socket <- Sockets],
    Both = [{text, <<Name/binary, "@127.0.0.1 again">>} || Name <- [<<"app">>, <<"other">>]],
    ?assertEqual(Both, lists:usort(Heard)),
    well(App, Edge),
    well(Again, Edge).

%% Who talks hears that nobody is there; who is silent and who only listens stay.
a_node_is_killed_while_a_client_talks(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, chat]),
    Stream = lariat_client:open(Http, 99, sse),
    [Talking, Silent] = [lariat_websocket:open(Http, Path) || Path <- ["/ws/1", "/ws/2"]],
    seen(App, 3),
    Test = self(),
    Talker = spawn_link(fun() -> Test ! {ended, self(), talk(Talking, Test, 0)} end),
    receive {heard, Talker} -> ok end,
    lariat_site:kill(App),
    owners(Edge, 0),
    %% What was said last is lost with the node, unless it is what nobody heard: then this comes late.
    _ = say(Talking, {text, "anybody?"}),
    receive {ended, Talker, End} -> ?assertEqual({close, 1013}, End) end,
    Again = app(Config, "app", Edge),
    seen(Again, 2),
    ok = call(Again, lariat, send, [[2, 99], <<"back">>]),
    ?assertEqual({text, <<"back">>}, hear(Silent)),
    ?assertEqual(<<"back">>, lariat_client:message(Stream)),
    ok = say(Silent, {binary, "heard"}),
    ?assertEqual({binary, <<"heard">>}, hear(Silent)),
    well(Again, Edge).

%% One after the other, and in one breath.
after_an_ordinary_request(Config) ->
    {#{http := Http} = Edge, App} = pair(Config, [open, api, chat]),
    Ordinary = "GET /api/x HTTP/1.1\r\nHost: test\r\n\r\n",
    Upgrade = lariat_websocket:request("/ws/1", ""),
    Answered = fun(Socket) ->
        {200, Head} = lariat_client:head(Socket),
        {match, _} = re:run(Head, "content-length: 5\r\n", [caseless]),
        {ok, <<"asked">>} = gen_tcp:recv(Socket, 5)
    end,
    Talks = fun(Socket) ->
        _ = lariat_websocket:upgraded(Socket),
        ok = say(Socket, {text, "Hello"}),
        ?assertEqual({text, <<"Hello">>}, hear(Socket))
    end,
    One = lariat_client:connected(Http),
    ok = gen_tcp:send(One, Ordinary),
    Answered(One),
    ok = gen_tcp:send(One, Upgrade),
    Talks(One),
    Two = lariat_client:connected(Http),
    ok = gen_tcp:send(Two, [Ordinary, Ordinary, Upgrade]),
    Answered(Two),
    Answered(Two),
    Talks(Two),
    seen(App, 2),
    well(App, Edge).

%% Says one thing after the other until the end, and tells when it has heard the first.
talk(Socket, Test, Count) ->
    %% The edge may have closed while we speak; what it has said before is there to be heard.
    _ = say(Socket, {text, integer_to_binary(Count)}),
    case hear(Socket) of
        {text, _} when Count =:= 0 -> Test ! {heard, self()}, talk(Socket, Test, 1);
        {text, _} -> talk(Socket, Test, Count + 1);
        End -> End
    end.

%% Run on the node: what a process that is logged in gets of these sends.
received(Id, Sends) ->
    ok = lariat:login(Id, self()),
    [ok = apply(lariat, send, [Id | Send]) || Send <- Sends],
    Terms = [receive Term -> Term end || _ <- Sends],
    ok = lariat:logout(self()),
    Terms.

conns(App, Id) ->
    call(App, lariat, connections, [Id]).

owners(Edge, Count) ->
    await(fun() -> lariat_site:metric(Edge, <<"lariat_owners">>) =:= Count end, {owners, Count}).

%% For alice, until so many seconds from now (RFC 7519).
token(Secret, EndsIn) ->
    Claims = io_lib:format("{\"sub\":\"alice\",\"exp\":~b}", [os:system_time(second) + EndsIn]),
    Said = iolist_to_binary([base64url("{\"alg\":\"HS256\"}"), ".", base64url(Claims)]),
    [Said, ".", base64url(crypto:mac(hmac, sha256, Secret, Said))].

base64url(Data) ->
    Base64 = base64:encode(iolist_to_binary(Data)),
    << <<(case C of $+ -> $-; $/ -> $_; _ -> C end)>> || <<C>> <= Base64, C =/= $= >>.

pair(Config, Routes) ->
    pair(Config, Routes, "").

pair(Config, Routes, More) ->
    lariat_pair:start(Config, #{
        routes => [route(Route) || Route <- Routes], more => More, environment => [handler()]
    }).

app(Config, Name, #{node := Node}) ->
    attached(?config(site, Config), Name, [Node], [handler()]).

handler() ->
    {handlers, [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}]}.

route(open) -> "path = \"/stream/{id}\"\n";
route(api) -> "path = \"/api/{what}\"\nkind = \"request\"\nhandler = \"h\"\n";
route(chat) -> "path = \"/ws/{id}\"\nkind = \"websocket\"\nhandler = \"h\"\n";
route(ask) -> "path = \"/ask/{id}\"\nkind = \"websocket\"\naccess = \"ask\"\nhandler = \"h\"\n";
route(token) -> "path = \"/me\"\nkind = \"websocket\"\naccess = \"token\"\nhandler = \"h\"\n".
