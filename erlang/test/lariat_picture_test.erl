%%% The tables: exact for any term as id, and equal to a model whatever is done to them.
-module(lariat_picture_test).

-include_lib("eunit/include/eunit.hrl").

tables_test_() ->
    {foreach, fun create/0, fun delete/1, [
        fun ids_are_told_apart/0,
        fun a_receiver_is_known_by_edge_and_pid/0,
        fun sweep_and_forget_leave_other_edges_alone/0,
        fun equal_numbers_are_one_row/0,
        {timeout, 120, fun a_successor_counts_again/0},
        fun places_are_given_again/0,
        fun edges_say_how_they_are/0,
        {timeout, 600, fun() -> [equals_a_model(Seed) || Seed <- seeds(100)] end}
    ]}.

%% A process owns them, as the top supervisor does.
create() ->
    Parent = self(),
    {Owner, _} = spawn_monitor(fun() ->
        lariat_picture:create_tables(),
        Parent ! {self(), created},
        receive
            stop -> ok
        end
    end),
    receive
        {Owner, created} -> Owner
    end.

delete(Owner) ->
    Owner ! stop,
    receive
        {'DOWN', _, process, Owner, normal} -> ok
    end.

ids_are_told_apart() ->
    Numbers = [1, 1.0, -1, 1 bsl 80],
    Ids = Numbers ++ ['_', '$1', a, <<>>, <<"1">>, {}, {'_', 1}, #{a => '_'}, #{}, self()],
    Numbered = lists:zip(lists:seq(1, length(Ids)), Ids),
    [lariat_picture:put(e@h, pid(N), Id, 1) || {N, Id} <- Numbered],
    [?assertEqual([{e@h, pid(N)}], lariat_picture:receivers(Id)) || {N, Id} <- Numbered],
    ?assertEqual([], lariat_picture:receivers(b)),
    ?assertEqual(length(Ids), lariat_picture:count()).

a_receiver_is_known_by_edge_and_pid() ->
    [lariat_picture:put(Edge, pid(N), 7, 1) || Edge <- [e@h, f@h, process], N <- [1, 2]],
    lariat_picture:put(e@h, pid(1), 7, 2),
    ?assertEqual(
        [{Edge, pid(N)} || Edge <- [e@h, f@h, process], N <- [1, 2]], lariat_picture:receivers(7)
    ),
    ?assert(lariat_picture:drop(e@h, pid(1), 7)),
    ?assertNot(lariat_picture:drop(e@h, pid(1), 7)),
    ?assertEqual([{pid(2), 7}], lariat_picture:picture(e@h)),
    ?assertEqual([pid(1), pid(2)], lariat_picture:conns(process, 7)),
    ?assertEqual({f@h, none, 2}, lists:keyfind(f@h, 1, lariat_picture:addresses(7))),
    ?assertEqual({process, 2}, lists:keyfind(process, 1, lariat_picture:addresses(7))).

%% One connection under both 1 and 1.0 is one row, and counted as one.
equal_numbers_are_one_row() ->
    lariat_picture:put(e@h, pid(1), 1, 1),
    lariat_picture:put(e@h, pid(1), 1.0, 1),
    ?assertEqual([], lariat_picture:receivers(1)),
    ?assertEqual([{e@h, pid(1)}], lariat_picture:receivers(1.0)),
    ?assertEqual({[], 1}, {lariat_picture:addresses(1), lariat_picture:count()}),
    ?assert(lariat_picture:drop(e@h, pid(1), 1)),
    ?assertEqual({[], 0}, {lariat_picture:addresses(1.0), lariat_picture:count()}).

%% As a writer leaves it that is killed between two tables.
a_successor_counts_again() ->
    [lariat_picture:put(e@h, pid(N), Id, 1) || N <- lists:seq(1, 1500), Id <- [7, 1, 1.0, {x, N}]],
    [lariat_picture:put(f@h, pid(N), 7, 1) || N <- [1, 2]],
    Ids = [7, 1, 1.0, {x, 5}],
    Before = [lists:sort(lariat_picture:addresses(Id)) || Id <- Ids],
    [{_, Place, _}] = ets:lookup(lariat_edges, e@h),
    [ok = lariat_addresses:remove(Place, Id) || Id <- Ids],
    ?assertNotEqual(Before, [lists:sort(lariat_picture:addresses(Id)) || Id <- Ids]),
    ok = lariat_picture:recount(e@h),
    ?assertEqual(Before, [lists:sort(lariat_picture:addresses(Id)) || Id <- Ids]),
    %% Nor does one that is not counted take from the others when it goes.
    ok = lariat_addresses:remove(Place, 7),
    ok = lariat_picture:drop_edge(e@h),
    ?assertEqual([{f@h, none, 2}], lariat_picture:addresses(7)).

places_are_given_again() ->
    Row = #{module => lariat_edge_node, state => up, epoch => 3, credit => none},
    Names = [list_to_atom("e" ++ integer_to_list(N) ++ "@h") || N <- lists:seq(1, 5)],
    [
        begin
            [lariat_picture:put(Edge, pid(1), 7, 1) || Edge <- Names],
            [ok = lariat_picture:set_edge(Edge, Row) || Edge <- Names],
            ?assertEqual(
                [{Edge, {lariat_edge_node, none}, 1} || Edge <- Names],
                lists:sort(lariat_picture:addresses(7))
            ),
            [ok = lariat_picture:drop_edge(Edge) || Edge <- Names],
            ?assertEqual([], lariat_picture:addresses(7)),
            ?assertEqual([], ets:tab2list(lariat_edges))
        end
     || _ <- [1, 2]
    ].

sweep_and_forget_leave_other_edges_alone() ->
    %% More than one chunk of the sweep.
    [
        lariat_picture:put(Edge, pid(N), N rem 100, 1 + N rem 2)
     || Edge <- [e@h, f@h], N <- lists:seq(1, 5000)
    ],
    ?assertEqual(2500, lariat_picture:sweep(e@h, 2)),
    ?assertEqual({2500, 5000}, {lariat_picture:count(e@h), lariat_picture:count(f@h)}),
    ?assertEqual(0, lariat_picture:sweep(e@h, 2)),
    ?assertEqual(2500, lariat_picture:forget(e@h)),
    ?assertEqual(5000, lariat_picture:count()).

edges_say_how_they_are() ->
    ?assert(lariat_picture:all_up()),
    Row = #{module => lariat_edge_node, state => up, epoch => 3},
    lariat_picture:set_edge(e@h, Row),
    lariat_picture:put(e@h, pid(1), 1, 3),
    ?assert(lariat_picture:all_up()),
    lariat_picture:set_edge(f@h, Row#{state := syncing}),
    ?assertNot(lariat_picture:all_up()),
    ?assertEqual({ok, Row}, lariat_picture:edge(e@h)),
    ?assertEqual(
        #{
            e@h => Row#{connections => 1, credit => none},
            f@h => Row#{state := syncing, connections => 0, credit => none}
        },
        lariat_picture:summary()
    ),
    lariat_picture:drop_edge(e@h),
    ?assertEqual({error, 0}, {lariat_picture:edge(e@h), lariat_picture:count()}).

%% The model: #{{Edge, Pid, Id} => Epoch}.
equals_a_model(Seed) ->
    _ = rand:seed(exsss, Seed),
    try
        Step = fun(_, Before) -> step(rand:uniform(12), Before) end,
        Model = lists:foldl(Step, #{}, lists:seq(1, 200)),
        [
            ?assertEqual(
                lists:sort([{Pid, Id} || {Edge, Pid, Id} <- maps:keys(Model), Edge =:= E]),
                lariat_picture:picture(E)
            )
         || E <- edges()
        ],
        [
            ?assertEqual(
                lists:sort([{Edge, Pid} || {Edge, Pid, Id} <- maps:keys(Model), Id =:= I]),
                lariat_picture:receivers(I)
            )
         || I <- ids()
        ],
        [
            ?assertEqual(
                lists:sort([
                    {Edge, length(lariat_picture:conns(Edge, I))}
                 || Edge <- edges(), lariat_picture:conns(Edge, I) =/= []
                ]),
                lists:sort([addressed(Address) || Address <- lariat_picture:addresses(I)])
            )
         || I <- ids()
        ],
        ?assertEqual(maps:size(Model), lariat_picture:count()),
        [lariat_picture:forget(Edge) || Edge <- edges()]
    catch
        Class:Reason:Stack ->
            io:format(user, "~nseed ~p~n", [Seed]),
            erlang:raise(Class, Reason, Stack)
    end.

addressed({Edge, none, Receivers}) -> {Edge, Receivers};
addressed({process, Receivers}) -> {process, Receivers}.

step(1, Model) ->
    {Edge, Epoch} = {any(edges()), rand:uniform(3)},
    lariat_picture:sweep(Edge, Epoch),
    maps:filter(fun({E, _, _}, Was) -> E =/= Edge orelse Was =:= Epoch end, Model);
step(2, Model) ->
    Edge = any(edges()),
    lariat_picture:forget(Edge),
    maps:filter(fun({E, _, _}, _) -> E =/= Edge end, Model);
step(N, Model) when N < 6 ->
    {Edge, Pid, Id} = Key = key(),
    ?assertEqual(is_map_key(Key, Model), lariat_picture:drop(Edge, Pid, Id)),
    maps:remove(Key, Model);
step(_, Model) ->
    {Edge, Pid, Id} = Key = key(),
    Epoch = rand:uniform(3),
    lariat_picture:put(Edge, Pid, Id, Epoch),
    Model#{Key => Epoch}.

key() -> {any(edges()), pid(rand:uniform(20)), any(ids())}.

any(List) -> lists:nth(rand:uniform(length(List)), List).

edges() -> [e@h, f@h, process].

ids() -> [1, 2, a, '_', <<"x">>, {x, '$1'}, 2.5].

pid(N) -> list_to_pid("<0." ++ integer_to_list(N + 1000) ++ ".0>").

seeds(N) ->
    Base = erlang:system_time(),
    [Base + I || I <- lists:seq(1, N)].
