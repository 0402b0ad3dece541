%%% Everybody at once: idle streams on one edge or on a dozen, counted, and reached by a broadcast.
%%%
%%% Each client must get exactly one copy of each broadcast; the load generator counts by id. Used
%%% by the suite at a small size and by the bench at the full one.
-module(lariat_crowd).

-export([run/2, exact/3, main/1]).
%% Called on the Erlang node.
-export([broadcast/1, told_of/1]).

-include_lib("stdlib/include/assert.hrl").

-import(lariat_site, [await/2, call/4, metric/2]).

%% Only a failing run waits this long.
-define(DEADLINE_MS, 120000).

-define(BROADCASTS, 3).

-type size() :: #{edges := pos_integer(), each := pos_integer()}.

%% @doc Runs at this size; answers what was measured. Fails when a count is not exact.
-spec run(lariat_site:site(), size()) -> #{atom() => term()}.
run(#{dir := Dir} = Site, #{edges := EdgeCount, each := Each}) ->
    Total = EdgeCount * Each,
    Numbers = lists:seq(1, EdgeCount),
    Edges = [lariat_site:edge(Site, "lariat" ++ integer_to_list(K)) || K <- Numbers],
    Nodes = [Node || #{node := Node} <- Edges],
    App = lariat_attached:attached(Site, "app", Nodes),
    Fresh = resident(Edges),
    FreshErlang = lariat_trend:resident_bytes(App),
    Start = now_ms(),
    Loads = [
        load(K, Each, Edge, filename:join(Dir, ["ids-", integer_to_list(K), ".txt"]))
     || {K, Edge} <- lists:zip(Numbers, Edges)
    ],
    [#{<<"open">> := Each} = lariat_load:heard(Load, <<"connected">>) || Load <- Loads],
    Connected = now_ms(),
    true = await(fun() -> call(App, lariat_picture, count, []) =:= Total end, all_in_the_picture),
    InThePicture = now_ms(),
    [exact(App, Edge, ids(K, Each)) || {K, Edge} <- lists:zip(Numbers, Edges)],
    #{receivers := Total, edges := Known} = call(App, lariat, info, []),
    ?assertEqual(
        [{Node, Each} || Node <- lists:sort(Nodes)],
        [{Node, N} || {Node, #{connections := N}} <- lists:sort(maps:to_list(Known))]
    ),
    Held = resident(Edges),
    HeldErlang = lariat_trend:resident_bytes(App),
    Broadcasts = [broadcast(App, Edges, Total, N) || N <- lists:seq(1, ?BROADCASTS)],
    Heard = [lariat_load:heard(Load, <<"expected">>) || Load <- Loads],
    ?assertEqual([?BROADCASTS * Each], lists:usort([N || #{<<"messages">> := N} <- Heard])),
    Peak = [lariat_trend:peak_bytes(Edge) || Edge <- Edges],
    Reports = [lariat_load:stop(Load) || Load <- Loads],
    [?assertMatch(#{<<"ok">> := true, <<"messages">> := _}, Report) || Report <- Reports],
    %% Not the sum alone: each of them has each message once.
    [?assertEqual([{Id, ?BROADCASTS} || Id <- ids(K, Each)],
        counts(filename:join(Dir, ["ids-", integer_to_list(K), ".txt"]))) || K <- Numbers],
    true = await(fun() -> call(App, lariat_picture, count, []) =:= 0 end, empty_picture),
    #{
        streams => Total,
        connected_ms => Connected - Start,
        in_the_picture_ms => InThePicture - Start,
        edge_fresh_bytes => mean(Fresh),
        edge_held_bytes => mean(Held),
        edge_peak_bytes => lists:max(Peak),
        per_stream_bytes => (lists:sum(Held) - lists:sum(Fresh)) div Total,
        erlang_fresh_bytes => FreshErlang,
        erlang_held_bytes => HeldErlang,
        erlang_per_stream_bytes => (HeldErlang - FreshErlang) div Total,
        broadcasts => Broadcasts
    }.

%% @doc The picture of this edge is exactly what the edge says of each of these ids, one connection
%% each, and nothing else.
-spec exact(lariat_site:erlang(), lariat_site:edge(), [pos_integer()]) -> ok.
exact(App, #{node := Node} = Edge, Ids) ->
    ?assertEqual(length(Ids), metric(Edge, <<"lariat_connections{transport=\"chunked\"}">>)),
    ?assertEqual(
        call(App, ?MODULE, told_of, [{Node, Ids}]),
        lists:keysort(2, call(App, lariat_picture, picture, [Node]))
    ).

%% @doc For the bench: edges, streams on each, directory.
-spec main([string()]) -> no_return().
main([Edges, Each, Dir]) ->
    Site = lariat_site:start(Dir),
    Result = run(Site, #{edges => list_to_integer(Edges), each => list_to_integer(Each)}),
    lariat_site:stop(Site),
    io:format("~p~n", [Result]),
    halt(0).

%% @doc Says one message to all of the picture, at once; microseconds until the links have it.
-spec broadcast(binary()) -> non_neg_integer().
broadcast(Message) ->
    Ids = [Id || {Id, _, _} <- lariat_picture:all()],
    {Us, ok} = timer:tc(lariat, send, [Ids, Message]),
    Us.

%% @doc The connections of these ids, as the edge itself tells them.
-spec told_of({node(), [pos_integer()]}) -> [{pid(), pos_integer()}].
told_of({Node, Ids}) ->
    Asked = [
        {Id, gen_server:send_request({lariat, Node}, {connections, Id})}
     || Id <- Ids
    ],
    [
        begin
            {reply, {ok, [Pid]}} = gen_server:receive_response(Request, ?DEADLINE_MS),
            {Pid, Id}
        end
     || {Id, Request} <- Asked
    ].

%% Until the edges have written it to everybody.
broadcast(App, Edges, Total, N) ->
    Start = now_ms(),
    SentUs = call(App, ?MODULE, broadcast, [<<"broadcast ", (integer_to_binary(N))/binary>>]),
    Delivered = fun() ->
        lists:sum([metric(Edge, <<"lariat_messages_delivered_total">>) || Edge <- Edges])
    end,
    await(fun() -> Delivered() =:= N * Total end, {delivered, N * Total}),
    #{sent_us => SentUs, written_ms => now_ms() - Start}.

ids(K, Each) ->
    lists:seq((K - 1) * Each + 1, K * Each).

%% A process and an address for each edge: one has ports for 28,000.
load(K, Each, #{http := Http}, PerId) ->
    lariat_load:start(Http, [
        "--connections", integer_to_list(Each), "--expect", integer_to_list(?BROADCASTS * Each),
        "--ids", io_lib:format("~b-~b", [(K - 1) * Each + 1, K * Each]),
        "--sources", "127.0.0." ++ integer_to_list(K + 1), "--timeout", "10m",
        "--per-id", PerId, "--until-stdin-closes", "--reset"
    ]).

counts(PerId) ->
    {ok, Text} = file:read_file(PerId),
    lists:sort([
        {binary_to_integer(Id), binary_to_integer(Count)}
     || Line <- binary:split(Text, <<"\n">>, [global, trim_all]),
        [Id, Count] <- [binary:split(Line, <<" ">>)]
    ]).

resident(Edges) ->
    [lariat_trend:resident_bytes(Edge) || Edge <- Edges].

mean(List) ->
    lists:sum(List) div length(List).

now_ms() ->
    erlang:monotonic_time(millisecond).
