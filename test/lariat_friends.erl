%%% The friends graph: what clients count is what the graph says, exactly.
%%%
%%% Users with a fixed number of edges each are loaded into Mnesia, some of them connect, subjects
%%% drawn at random publish. The load generator counts per user; the expectation is computed here
%%% from the graph alone. Used by the suite at a small size and by the bench at the full one.
-module(lariat_friends).

-export([run/2, main/1]).

-include_lib("stdlib/include/assert.hrl").

-type size() :: #{users := pos_integer(), edges := pos_integer(),
                  connected := pos_integer(), publishes := pos_integer()}.

%% @doc Runs at this size; answers what was measured. Fails on any difference.
-spec run(lariat_site:site(), size()) -> #{atom() => number()}.
run(#{dir := Dir} = Site, #{users := Users, edges := Edges} = Size) ->
    #{connected := Connected, publishes := Publishes} = Size,
    Graph = filename:join(Dir, "friends.txt"),
    Seed = rand:uniform(1 bsl 30),
    io:format(user, "friends graph: ~0p, seed ~b~n", [Size, Seed]),
    {0, _} = tool(["dataset", "--users", integer_to_list(Users), "--edges",
        integer_to_list(Edges), "--seed", integer_to_list(Seed), "--output", Graph]),
    #{http := Http, node := Node} = Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:erlang(Site, "app", [Node]),
    {LoadUs, {ok, Rows}} =
        lariat_site:call(App, timer, tc, [lariat_subscriptions, load_file, [Graph]]),
    Friends = read(Graph),
    ?assertEqual(Rows, lists:sum([length(List) || List <- maps:values(Friends)])),
    Rand = rand:seed_s(exsss, Seed),
    {Subjects, _} = lists:mapfoldl(
        fun(_, State) -> rand:uniform_s(Users, State) end, Rand, lists:seq(1, Publishes)
    ),
    Expected = expected(Subjects, Friends, Connected),
    Total = lists:sum(maps:values(Expected)),
    PerId = filename:join(Dir, "per-id.txt"),
    Load = load(Http, Connected, Total, PerId),
    receive {Load, connected} -> ok after 120000 -> error(not_connected) end,
    Seen = fun() -> lariat_site:call(App, lariat_picture, count, []) =:= Connected end,
    lariat_site:await(Seen, all_in_the_picture),
    {PublishUs, Said} = lariat_site:call(App, timer, tc, [fun publish_all/1, [Subjects]]),
    ?assertEqual(Total, Said),
    Report = receive {Load, ended, Status, Json} -> ?assertEqual(0, Status), Json
             after 120000 -> error(no_report) end,
    ?assertEqual(Expected, maps:filter(fun(_, N) -> N > 0 end, counts(PerId))),
    %% A shard counts what it has written to all.
    Delivered = fun() -> lariat_site:metric(Edge, <<"lariat_messages_delivered_total">>) end,
    lariat_site:await(fun() -> Delivered() =:= Total end, {delivered, Total}),
    Result = #{subscriptions => Rows, load_ms => LoadUs div 1000, deliveries => Total,
        publish_ms => PublishUs div 1000},
    io:format(user, "~0p~nload generator: ~ts~n", [Result, Report]),
    Result.

%% @doc For the bench: arguments users, edges, connected, publishes, directory.
-spec main([string()]) -> no_return().
main([Users, Edges, Connected, Publishes, Dir]) ->
    Size = #{users => list_to_integer(Users), edges => list_to_integer(Edges),
        connected => list_to_integer(Connected), publishes => list_to_integer(Publishes)},
    Site = lariat_site:start(Dir),
    Result = run(Site, Size),
    lariat_site:stop(Site),
    io:format("~p~n", [maps:merge(Size, Result)]),
    halt(0).

publish_all(Subjects) ->
    lists:sum([publish(Subject) || Subject <- Subjects]).

%% As a well-behaved publisher does: a full link means later, not never.
publish(Subject) ->
    case lariat:publish(Subject, <<"news of ", (integer_to_binary(Subject))/binary>>) of
        {ok, Count} -> Count;
        {error, busy} -> erlang:yield(), publish(Subject)
    end.

%% Who gets how many: users 1 to Connected are there, each once.
expected(Subjects, Friends, Connected) ->
    lists:foldl(
        fun(Subject, Counts) ->
            Receivers = lists:usort([Subject | maps:get(Subject, Friends, [])]),
            lists:foldl(
                fun(Id, Sum) -> maps:update_with(Id, fun(N) -> N + 1 end, 1, Sum) end,
                Counts, [Id || Id <- Receivers, Id =< Connected]
            )
        end,
        #{}, Subjects
    ).

%% Subject => subscribers.
read(Graph) ->
    {ok, Text} = file:read_file(Graph),
    Pairs = [binary:split(Line, <<" ">>)
             || Line <- binary:split(Text, <<"\n">>, [global, trim_all])],
    lists:foldl(
        fun([Subscriber, Subject], Friends) ->
            Id = binary_to_integer(Subscriber),
            maps:update_with(binary_to_integer(Subject), fun(L) -> [Id | L] end, [Id], Friends)
        end,
        #{}, Pairs
    ).

counts(PerId) ->
    {ok, Text} = file:read_file(PerId),
    maps:from_list([
        {binary_to_integer(Id), binary_to_integer(Count)}
     || Line <- binary:split(Text, <<"\n">>, [global, trim_all]),
        [Id, Count] <- [binary:split(Line, <<" ">>)]
    ]).

tool(Args) ->
    Port = open_port({spawn_executable, lariat_site:tools()}, [
        {args, Args}, exit_status, stderr_to_stdout, binary
    ]),
    tool(Port, []).

tool(Port, Read) ->
    receive
        {Port, {data, Data}} -> tool(Port, [Data | Read]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(lists:reverse(Read))}
    end.

%% The load generator on a process of its own: says when all are connected, and how it ended.
load(Http, Connected, Total, PerId) ->
    Owner = self(),
    spawn_link(fun() ->
        Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
        Port = open_port({spawn_executable, lariat_site:tools()}, [
            {args, ["load", "--url", Url, "--connections", integer_to_list(Connected),
                "--ids", "1-" ++ integer_to_list(Connected), "--expect", integer_to_list(Total),
                "--timeout", "120s", "--per-id", PerId]},
            exit_status, binary, {line, 65536}
        ]),
        load(Port, Owner, <<>>)
    end).

load(Port, Owner, Last) ->
    receive
        {Port, {data, {_, <<"{\"event\":\"connected\"", _/binary>>}}} ->
            Owner ! {self(), connected},
            load(Port, Owner, Last);
        {Port, {data, {_, Line}}} ->
            load(Port, Owner, Line);
        {Port, {exit_status, Status}} ->
            Owner ! {self(), ended, Status, Last}
    end.
