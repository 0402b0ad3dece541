%%% What `lariat' promises, wherever the edge is: each message reaches whom it is for, and what is known of
%%% connections is true.
%%%
%%% An Erlang node, one edge of either kind, raw clients. What is said over the distribution protocol
%%% is `lariat_e2e_SUITE', what handlers promise has suites of its own.
-module(lariat_api_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    ids_and_shapes/1,
    one_message_to_many/1,
    publish_reaches_subscribers/1,
    processes_receive_beside_connections/1,
    the_picture_is_exact/1,
    closing/1,
    a_slow_client_is_told_of/1,
    commands/1,
    close_all_drains/1
]).
%% Called on the node.
-export([logged_in/2]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [seen/2, counters/1]).
-import(lariat_well, [well/2]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        ids_and_shapes,
        one_message_to_many,
        publish_reaches_subscribers,
        processes_receive_beside_connections,
        the_picture_is_exact,
        closing,
        a_slow_client_is_told_of,
        commands,
        close_all_drains
    ],
    lariat_pair:groups(Both, []).

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

%% Ids of every kind, messages of every kind of iodata.
ids_and_shapes(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{}),
    Ids = [0, 1, 255, 256, 1 bsl 31, 1 bsl 40, (1 bsl 63) - 1, <<"alice">>, <<0, 255, $/>>],
    Streams = [{Id, lariat_client:open(Http, Id, chunked)} || Id <- Ids],
    seen(App, length(Ids)),
    [ok = call(App, lariat, send, [Id, term_to_binary(Id)]) || Id <- Ids],
    [?assertEqual(Id, binary_to_term(lariat_client:message(Stream))) || {Id, Stream} <- Streams],
    {_, One} = lists:keyfind(1, 1, Streams),
    {_, Other} = lists:keyfind(256, 1, Streams),
    Large = binary:copy(<<"large">>, 30000),
    [
        begin
            ok = call(App, lariat, send, [1, Iodata]),
            ?assertEqual(iolist_to_binary(Iodata), lariat_client:message(One))
        end
     || Iodata <- [
            "abc", [<<"a">>, $b, ["c", [<<"d">>]] | <<"e">>], [1, 2, 3], [300 rem 256], Large,
            %% A piece of a large binary.
            binary:part(Large, 1000, 100), [Large, "and ", [Large]]
        ]
    ],
    ok = call(App, lariat, send, [[1], <<"one">>]),
    ok = call(App, lariat, send, [[], <<"nobody">>]),
    ok = call(App, lariat, send, [77, <<"nobody">>]),
    ok = call(App, lariat, send, [[256, 1, 77], <<"both">>]),
    <<"one">> = lariat_client:message(One),
    <<"both">> = lariat_client:message(One),
    <<"both">> = lariat_client:message(Other),
    [?assertError(_, call(App, lariat, send, [1, Strange])) || Strange <- [nothing, [300], {a, <<"b">>}]],
    well(App, Edge).

%% 10,000 ids in one term: the connected ones get it, once each.
one_message_to_many(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{}),
    Streams = [lariat_client:open(Http, Id, chunked) || Id <- lists:seq(100, 10000, 100)],
    seen(App, 100),
    ok = call(App, lariat, send, [lists:seq(1, 10000), <<"all">>]),
    [<<"all">> = lariat_client:message(Stream) || Stream <- Streams],
    {ok, 100} = call(App, lariat, call, [lists:seq(1, 10000), <<"2">>]),
    [<<"2">> = lariat_client:message(Stream) || Stream <- Streams],
    well(App, Edge).

publish_reaches_subscribers(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{}),
    Streams = [lariat_client:open(Http, Id, chunked) || Id <- [1, 2, 3, 4]],
    [One, Two, Three, Four] = Streams,
    seen(App, 4),
    ok = call(App, lariat, add_subscriptions, [[{2, 1}, {3, 1}, {9, 1}]]),
    {ok, 3} = call(App, lariat, publish, [1, <<"news of 1">>]),
    [<<"news of 1">> = lariat_client:message(Stream) || Stream <- [One, Two, Three]],
    lariat_client:nothing(Four),
    ok = call(App, lariat, unsubscribe, [2, 1]),
    {ok, 2} = call(App, lariat, publish, [1, <<"more">>]),
    <<"more">> = lariat_client:message(Three),
    lariat_client:nothing(Two),
    ok = call(App, lariat, send, [[2, 4], <<"directly">>]),
    [<<"directly">> = lariat_client:message(Stream) || Stream <- [Two, Four]],
    {ok, 1} = call(App, lariat, close, [4, bye]),
    closed = lariat_client:message(Four),
    seen(App, 3),
    well(App, Edge).

processes_receive_beside_connections(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{}),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    <<"Hello">> = call(App, ?MODULE, logged_in, [1, "Hello"]),
    <<"Hello">> = lariat_client:message(Stream),
    well(App, Edge).

%% On the node: what a process hears that is logged in under the id, too.
logged_in(Id, Message) ->
    ok = lariat:login(Id, self()),
    ok = lariat:send(Id, Message),
    receive
        Heard ->
            ok = lariat:logout(self()),
            Heard
    end.

%% What the router believes is what the edge says, connection by connection, while they come and go.
the_picture_is_exact(Config) ->
    {#{http := Http, name := Name} = Edge, App} = Pair = lariat_pair:start(Config, #{}),
    First = [lariat_client:open(Http, Id, sse) || Id <- lists:seq(1, 100)],
    {Leaving, Staying} = lists:split(50, First),
    [lariat_client:close(Stream) || Stream <- Leaving],
    Coming = [lariat_client:open(Http, Id, chunked) || Id <- lists:seq(81, 130)],
    seen(App, 100),
    Said = [
        {Conn, Id}
     || Id <- lists:seq(1, 130),
        {ok, Conns} <- [lariat_pair:command(Pair, {connections, Id}, ?DEADLINE_MS)],
        Conn <- Conns
    ],
    ?assertEqual(lists:sort(Said), lists:sort(call(App, lariat_picture, picture, [Name]))),
    ?assertEqual(2, length(call(App, lariat, connections, [90]))),
    {ok, #{connections := 100}} = call(App, lariat, info, [Name]),
    ok = call(App, lariat, send, [lists:seq(1, 130), <<"there">>]),
    [<<"there">> = lariat_client:message(Stream) || Stream <- Staying ++ Coming],
    well(App, Edge).

%% One id, several, nobody; all of the connections of each.
closing(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{}),
    Streams = [lariat_client:open(Http, Id, sse) || Id <- [1, 1, 2, 3]],
    seen(App, 4),
    {ok, 2} = call(App, lariat, close, [1, bye]),
    {ok, 2} = call(App, lariat, close, [[2, 3, 4], {4000, "bye"}]),
    {ok, 0} = call(App, lariat, close, [1, bye]),
    [closed = lariat_client:message(Stream) || Stream <- Streams],
    seen(App, 0),
    well(App, Edge).

%% It takes nothing until it is congested, and loses nothing when it reads on.
a_slow_client_is_told_of(Config) ->
    {#{http := Http} = Edge, App} = lariat_pair:start(Config, #{
        more => "[outbox]\nbytes_max = \"64 MiB\"\nmessages_max = 100000\n"
    }),
    Stream = lariat_client:open(Http, 1, chunked),
    seen(App, 1),
    Message = binary:copy(<<"x">>, 1 bsl 18),
    Sent = until_congested(App, Message, 0),
    ?assertEqual(0, maps:get(edge_drained, counters(App))),
    [Message = lariat_client:message(Stream) || _ <- lists:seq(1, Sent)],
    await(fun() -> maps:get(edge_drained, counters(App)) =:= 1 end, drained),
    ?assertEqual(1, maps:get(edge_congested, counters(App))),
    well(App, Edge).

%% It is congested when a quarter of its outbox is full, which is said a little later.
until_congested(App, Message, Sent) ->
    {ok, 1} = call(App, lariat, call, [1, Message]),
    case counters(App) of
        #{edge_congested := 0} -> until_congested(App, Message, Sent + 1);
        #{edge_congested := 1} -> Sent + 1
    end.

%% Every command of the wire answers, and so does what is none.
commands(Config) ->
    {#{http := Http} = Edge, App} = Pair = lariat_pair:start(Config, #{}),
    Stream = lariat_client:open(Http, 7, sse),
    seen(App, 1),
    Ask = fun(Command) -> lariat_pair:command(Pair, Command, ?DEADLINE_MS) end,
    {ok, [_]} = Ask({connections, 7}),
    {ok, []} = Ask({connections, 8}),
    {ok, #{connections := 1, queued_bytes := 0}} = Ask({send, 7, <<"x">>}),
    <<"x">> = lariat_client:message(Stream),
    {ok, #{connections := 1}} = Ask({send, [7, 8], "y", #{event => <<"e">>, id => <<"1">>}}),
    <<"y">> = lariat_client:message(Stream),
    {ok, #{connections := 1, shards := 2, version := Version}} = Ask(info),
    ?assert(is_binary(Version)),
    [
        ?assertMatch({error, {bad_request, _}}, Ask(Strange))
     || Strange <- [what_is_this, {send, 7, not_iodata}, {send, 7}, {close_all, 0}, [], #{}, <<>>]
    ],
    {ok, #{connections := 1}} = Ask({close, 7, bye}),
    closed = lariat_client:message(Stream),
    well(App, Edge).

%% `close_all': those who are there leave at the rate, Erlang is told why, and others may come.
close_all_drains(Config) ->
    {#{http := Http} = Edge, App} = Pair = lariat_pair:start(Config, #{}),
    Streams = [lariat_client:open(Http, Id, sse) || Id <- lists:seq(1, 50)],
    seen(App, 50),
    {ok, #{connections := 50}} = lariat_pair:command(Pair, {close_all, 200}, ?DEADLINE_MS),
    [closed = lariat_client:message(Stream) || Stream <- Streams],
    seen(App, 0),
    Drained = fun() -> lariat_pair:metric(Edge, <<"lariat_closed_total{reason=\"drain\"}">>) =:= 50 end,
    await(Drained, drained),
    well(App, Edge).
