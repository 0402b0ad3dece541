%%% Clients that are not ours, in other languages: all hear the same.
%%%
%%% Server-sent events as test/vectors/sse.txt has them, and what a WebSocket may say, through two
%%% browsers and the clients of two more languages (test/ has those of Rust). scripts/clients installs
%%% them.
-module(lariat_clients_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([events_in_node/1, events_in_python/1, events_in_chromium/1, events_in_firefox/1]).
-export([echo_in_node/1, echo_in_python/1, echo_in_chromium/1, echo_in_firefox/1]).
%% The handler of the node under test.
-export([handle/1]).

-import(lariat_site, [await/2, call/4]).

%% Only a failing test waits this long; a first start of a browser on a busy machine takes 20 s.
-define(DEADLINE_MS, 120000).

all() ->
    [
        events_in_node, events_in_python, events_in_chromium, events_in_firefox,
        echo_in_node, echo_in_python, echo_in_chromium, echo_in_firefox
    ].

suite() ->
    [{timetrap, {minutes, 10}}].

%% The browsers' page comes from another port than the events: another origin.
init_per_testcase(_Case, Config) ->
    Dir = ?config(priv_dir, Config),
    Site = lariat_site:start(Dir),
    File = filename:join(Dir, "lariat.toml"),
    ok = file:write_file(File, [
        "[http]\ncors_origins = [\"*\"]\n"
        "[[http.route]]\npath = \"/stream/{id}\"\n"
        "[[http.route]]\npath = \"/ws/{id}\"\nkind = \"websocket\"\nhandler = \"echo\"\n"
        "protocols = [\"chat\"]\n"
    ]),
    Edge = lariat_site:edge(Site, "lariat", #{args => ["--config", File]}),
    Handlers = {handlers, [{<<"echo">>, lariat_test_handler, fun ?MODULE:handle/1}]},
    App = lariat_attached:attached(Site, "app", [maps:get(node, Edge)], [Handlers]),
    [{site, Site}, {edge, Edge}, {app, App} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

handle({in, _Conn, Data}) -> {reply, Data};
handle({closed, _Conn, _Reason}) -> ok.

events_in_node(Config) ->
    ok = lariat_foreign:installed(),
    %% It tells an event's own id, not the last one.
    heard(Config, 1, own, fun(Url, Names) ->
        lariat_foreign:run("node", [lariat_foreign:file("eventsource.mjs"), Url | Names])
    end).

events_in_python(Config) ->
    ok = lariat_foreign:installed(),
    heard(Config, 2, last, fun(Url, _) ->
        lariat_foreign:run("python3", [lariat_foreign:file("sse_httpx.py"), Url])
    end).

events_in_chromium(Config) ->
    heard(Config, 3, last, fun(Url, Names) ->
        in_browser(Config, chromium, "events.html", [Url | Names])
    end).

events_in_firefox(Config) ->
    heard(Config, 4, last, fun(Url, Names) ->
        in_browser(Config, firefox, "events.html", [Url | Names])
    end).

echo_in_node(Config) ->
    ok = lariat_foreign:installed(),
    echoed(lariat_foreign:run("node", [lariat_foreign:file("echo.mjs"), echo_url(Config)])).

echo_in_python(Config) ->
    ok = lariat_foreign:installed(),
    echoed(lariat_foreign:run("python3", [lariat_foreign:file("echo.py"), echo_url(Config)])).

echo_in_chromium(Config) ->
    echoed(in_browser(Config, chromium, "echo.html", [echo_url(Config)])).

echo_in_firefox(Config) ->
    echoed(in_browser(Config, firefox, "echo.html", [echo_url(Config)])).

echo_url(Config) ->
    #{http := Http} = ?config(edge, Config),
    lists:flatten(io_lib:format("ws://127.0.0.1:~b/ws/1", [Http])).

%% All that was said has come back as what it was, by the protocol that the edge speaks of those that
%% were offered, compressed; and both sides have closed in order.
echoed(Wait) ->
    Said = [
        {<<"text">>, <<"Hello">>}, {<<"text">>, <<>>}, {<<"text">>, <<"é🤠 "/utf8>>},
        {<<"text">>, binary:copy(<<"x">>, 60000)}, {<<"binary">>, <<0, 1, 254, 255>>},
        {<<"binary">>, <<>>}
    ],
    [[<<"open">>, <<"chat">>, Extension | _] | Lines] = Wait(),
    ?assertMatch(<<"permessage-deflate", _/binary>>, Extension),
    {Heard, [[<<"closed">>, <<"1000">>]]} = lists:split(length(Said), Lines),
    ?assertEqual(Said, [{Kind, unhex(Data)} || [Kind, Data] <- Heard]).

%% Answers a function that answers the client's lines when it has heard the last event.
in_browser(Config, Browser, File, Words) ->
    Collector = lariat_collector:start(lariat_foreign:file(File)),
    Hash = lists:join(",", [uri_string:quote(Word) || Word <- Words]),
    Page = lists:flatten([lariat_collector:url(Collector), "#", Hash]),
    Running = lariat_foreign:browser(Browser, ?config(priv_dir, Config), Page),
    fun() ->
        Lines = lariat_collector:reported(Collector, ?DEADLINE_MS),
        ok = lariat_foreign:stop(Running),
        Lines
    end.

heard(Config, Id, IdOfEvent, Start) ->
    #{http := Http, node := Node} = ?config(edge, Config),
    App = ?config(app, Config),
    Rows = rows(),
    Names = lists:usort([unicode:characters_to_list(Type) || {_, {Type, _, _}, _} <- Rows]),
    Url = lists:flatten(io_lib:format("http://127.0.0.1:~b/stream/~b", [Http, Id])),
    Wait = Start(Url, Names),
    true = await(fun() -> call(App, lariat, connections, [Id]) =/= [] end, {Node, Id}),
    Sent = [Message || {Message, _, _} <- Rows] ++ [{<<"goodbye">>, #{event => <<"end">>}}],
    [ok = call(App, lariat, send, [Id, Payload, Options]) || {Payload, Options} <- Sent],
    Heard = [{unhex(Type), unhex(Data), unhex(Last)} || [<<"event">>, Type, Data, Last] <- Wait()],
    {_, {_, _, Last}, _} = lists:last(Rows),
    Expected =
        case IdOfEvent of
            last -> [With || {_, With, _} <- Rows] ++ [{<<"end">>, <<"goodbye">>, Last}];
            own -> [With || {_, _, With} <- Rows] ++ [{<<"end">>, <<"goodbye">>, <<>>}]
        end,
    ?assertEqual(Expected, Heard).

%% What is sent, and what is heard: with the last id, and with the event's own.
rows() ->
    {ok, Text} = file:read_file(filename:join(lariat_site:root(), "test/vectors/sse.txt")),
    Lines = [Line || Line <- binary:split(Text, <<"\n">>, [global, trim]), binary:first(Line) =/= $#],
    [row(binary:split(Line, <<"\t">>, [global])) || Line <- Lines].

row([Event, Id, Payload, _Bytes | Heard]) ->
    Options = maps:from_list([
        {Key, unescape(Text)} || {Key, Text} <- [{event, Event}, {id, Id}], Text =/= <<"-">>
    ]),
    [Type, Data, Last] = [unescape(Text) || Text <- Heard],
    {{unescape(Payload), Options}, {Type, Data, Last}, {Type, Data, maps:get(id, Options, <<>>)}}.

unescape(<<"\\x", A, B, Rest/binary>>) -> <<(binary_to_integer(<<A, B>>, 16)), (unescape(Rest))/binary>>;
unescape(<<"\\r", Rest/binary>>) -> <<"\r", (unescape(Rest))/binary>>;
unescape(<<"\\n", Rest/binary>>) -> <<"\n", (unescape(Rest))/binary>>;
unescape(<<"\\t", Rest/binary>>) -> <<"\t", (unescape(Rest))/binary>>;
unescape(<<"\\0", Rest/binary>>) -> <<0, (unescape(Rest))/binary>>;
unescape(<<"\\\\", Rest/binary>>) -> <<"\\", (unescape(Rest))/binary>>;
unescape(<<Byte, Rest/binary>>) -> <<Byte, (unescape(Rest))/binary>>;
unescape(<<>>) -> <<>>.

unhex(Hex) -> binary:decode_hex(Hex).
