%%% Long polls and tokens from end to end: an Erlang node with the application sends, a client that
%%% can hold no stream asks, and says who it is by a token that Erlang's own crypto has signed.
%%%
%%% What an answer looks like in detail, and what a good token is, the edge's own tests say.
-module(lariat_poll_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([nothing_is_lost_between_polls/1, a_token_says_who_polls/1]).

-import(lariat_site, [call/4]).
-import(lariat_attached, [seen/2]).
-import(lariat_well, [well/2]).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        nothing_is_lost_between_polls,
        a_token_says_who_polls
    ],
    lariat_pair:groups(Both, []).

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_group(Group, Config) ->
    lariat_pair:init_group(Group, Config).

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    lariat_pair:init_case(Config).

end_per_testcase(_Case, Config) ->
    lariat_pair:end_case(Config).

%% All polls of a client are one connection to Erlang; what is sent between two of them waits, and what
%% is sent later is waited for.
nothing_is_lost_between_polls(Config) ->
    {{#{http := Http} = Edge, App}, _Secret} = pair(Config),
    {200, First, <<"[]">>} = poll(Http, "/poll/123", []),
    seen(App, 1),
    ok = call(App, lariat, send, [123, <<"one">>]),
    {ok, 1} = call(App, lariat, call, [123, <<"two">>]),
    {200, Second, Messages} = poll(Http, "/poll/123", ["?after=", First]),
    ?assertEqual(<<"[{\"text\":\"one\"},{\"text\":\"two\"}]">>, Messages),
    {ok, 1} = call(App, lariat, publish, [123, <<255>>]),
    {200, Third, <<"[{\"base64\":\"/w==\"}]">>} = poll(Http, "/poll/123", ["?after=", Second]),
    %% Whether the poll or the message is first, it comes.
    ok = call(App, lariat, send, [123, <<"later">>, #{event => <<"news">>, id => <<"7">>}]),
    {200, Fourth, Later} = poll(Http, "/poll/123", ["?after=", Third]),
    ?assertEqual(<<"[{\"event\":\"news\",\"id\":\"7\",\"text\":\"later\"}]">>, Later),
    [Conn] = call(App, lariat, connections, [123]),
    ok = call(App, lariat, send, [Conn, <<"by name">>]),
    {200, Fifth, <<"[{\"text\":\"by name\"}]">>} = poll(Http, "/poll/123", ["?after=", Fourth]),
    {ok, 1} = call(App, lariat, close, [123, bye]),
    seen(App, 0),
    {410, Anew, <<"[]">>} = poll(Http, "/poll/123", ["?after=", Fifth]),
    ?assertNotEqual(Fifth, Anew),
    seen(App, 1),
    well(App, Edge).

a_token_says_who_polls(Config) ->
    {{#{http := Http} = Edge, App}, Secret} = pair(Config),
    {401, none, _} = poll(Http, "/mine", []),
    Ends = erlang:system_time(second) + 600,
    Claims = io_lib:format("{\"sub\":\"alice\",\"exp\":~b}", [Ends]),
    Signed = token(Secret, Claims),
    {200, First, <<"[]">>} = poll(Http, "/mine", ["?token=", Signed]),
    seen(App, 1),
    {ok, 1} = call(App, lariat, call, [<<"alice">>, <<"hello">>]),
    {200, _, Messages} = poll(Http, "/mine", ["?token=", Signed, "&after=", First]),
    ?assertEqual(<<"[{\"text\":\"hello\"}]">>, Messages),
    {401, none, _} = poll(Http, "/mine", ["?token=", token(<<Secret/binary, "x">>, Claims)]),
    ?assertEqual([], [L || L <- lariat_pair:log(Edge), binary:match(L, Signed) =/= nomatch]),
    well(App, Edge).

pair(Config) ->
    #{dir := Dir} = ?config(site, Config),
    Key = filename:join(Dir, "token.secret"),
    Secret = base64:encode(crypto:strong_rand_bytes(32)),
    ok = file:write_file(Key, Secret),
    Pair = lariat_pair:start(Config, #{
        routes => [
            "path = \"/poll/{id}\"\nkind = \"poll\"\n",
            "path = \"/mine\"\nkind = \"poll\"\naccess = \"token\"\n",
            "path = \"/stream/{id}\"\n"
        ],
        more => ["[token]\nkey_file = \"", Key, "\"\n"]
    }),
    {Pair, Secret}.

%% Status, the cursor, and the messages as they stand there.
poll(Port, Path, Query) ->
    {Status, Head, Body} = lariat_client:get(Port, Path ++ texts(Query)),
    Cursor =
        case re:run(Head, "Lariat-Cursor: (\\S+)", [{capture, all_but_first, binary}]) of
            {match, [Found]} -> Found;
            nomatch -> none
        end,
    case re:run(Body, "\"messages\":(\\[.*\\])", [{capture, all_but_first, binary}]) of
        {match, [Messages]} -> {Status, Cursor, Messages};
        nomatch -> {Status, Cursor, Body}
    end.

texts(Query) ->
    binary_to_list(iolist_to_binary(Query)).

%% RFC 7515, appendix A.1, with a secret of our own.
token(Secret, Claims) ->
    Part = fun(Text) ->
        Plain = base64:encode(iolist_to_binary(Text)),
        Safe = binary:replace(Plain, <<"+">>, <<"-">>, [global]),
        Url = binary:replace(Safe, <<"/">>, <<"_">>, [global]),
        binary:replace(Url, <<"=">>, <<>>, [global])
    end,
    Message = iolist_to_binary([Part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), ".", Part(Claims)]),
    Signature = crypto:mac(hmac, sha256, Secret, Message),
    <<Message/binary, ".", (Part(Signature))/binary>>.
