%%% Laws of the monitors of one edge.
-module(lariat_monitored_test).

-include_lib("eunit/include/eunit.hrl").

-define(CONN(Slot), {lariat_conn, edge, Slot, 7}).

a_connection_is_watched_once_and_each_is_told_test() ->
    Me = self(),
    [A, B, C] = [make_ref() || _ <- [a, b, c]],
    {First, M1} = lariat_monitored:add(A, Me, ?CONN(1), lariat_monitored:new(9)),
    ?assertEqual([{look_out, Me}, {watch, ?CONN(1)}], First),
    {Second, M2} = lariat_monitored:add(B, Me, ?CONN(1), M1),
    ?assertEqual([], Second),
    {Third, M3} = lariat_monitored:add(C, Me, ?CONN(2), M2),
    ?assertEqual([{watch, ?CONN(2)}], Third),
    {Told, M4} = lariat_monitored:gone(?CONN(1), client, M3),
    Tells = [{tell, Ref, ?CONN(1), client} || Ref <- [A, B]],
    ?assertEqual(lists:sort(Tells), lists:sort(Told)),
    ?assertEqual(1, lariat_monitored:count(M4)),
    ?assertEqual({[], M4}, lariat_monitored:gone(?CONN(1), client, M4)),
    {Last, M5} = lariat_monitored:gone(?CONN(2), {4000, <<"bye">>}, M4),
    ?assertEqual([{tell, C, ?CONN(2), {4000, <<"bye">>}}, {look_away, Me}], Last),
    ?assertEqual(lariat_monitored:new(9), M5).

the_last_demonitor_takes_the_watch_back_test() ->
    [A, B] = [make_ref() || _ <- [a, b]],
    Watchers = [One, Two] = [spawn(fun() -> ok end) || _ <- [a, b]],
    {_, M1} = lariat_monitored:add(A, One, ?CONN(1), lariat_monitored:new(9)),
    {[{look_out, Two}], M2} = lariat_monitored:add(B, Two, ?CONN(1), M1),
    ?assertEqual({[], M2}, lariat_monitored:remove(make_ref(), M2)),
    {Effects, M3} = lariat_monitored:remove(A, M2),
    ?assertEqual([{look_away, One}], Effects),
    ?assertEqual({[{unwatch, ?CONN(1)}, {look_away, Two}], lariat_monitored:new(9)},
        lariat_monitored:remove(B, M3)),
    ?assertEqual(2, length(Watchers)).

a_watcher_that_ends_leaves_nothing_test() ->
    Me = self(),
    Other = spawn(fun() -> ok end),
    Add = fun({Watcher, Conn}, M) -> element(2, lariat_monitored:add(make_ref(), Watcher, Conn, M)) end,
    Monitors = lists:foldl(Add, lariat_monitored:new(9), [
        {Me, ?CONN(1)}, {Me, ?CONN(2)}, {Me, ?CONN(2)}, {Other, ?CONN(1)}
    ]),
    {Effects, Left} = lariat_monitored:ended(Me, Monitors),
    ?assertEqual([{unwatch, ?CONN(2)}], Effects),
    ?assertEqual({[{unwatch, ?CONN(1)}], lariat_monitored:new(9)}, lariat_monitored:ended(Other, Left)),
    ?assertEqual({[], Left}, lariat_monitored:ended(Me, Left)).

past_the_limit_none_is_added_test() ->
    Ref = make_ref(),
    {_, Full} = lariat_monitored:add(make_ref(), self(), ?CONN(1), lariat_monitored:new(1)),
    ?assertEqual(
        {[{tell, Ref, ?CONN(1), system_limit}], Full}, lariat_monitored:add(Ref, self(), ?CONN(1), Full)
    ).

the_end_of_an_edge_is_told_to_all_of_it_test() ->
    Refs = [make_ref() || _ <- lists:seq(1, 5)],
    Add = fun(Ref, M) -> element(2, lariat_monitored:add(Ref, self(), ?CONN(1), M)) end,
    Other = {lariat_conn, other, 1, 7},
    {_, One} = lariat_monitored:add(make_ref(), self(), Other, lariat_monitored:new(9)),
    All = lists:foldl(Add, One, Refs),
    ?assertEqual({5, 1}, {lariat_monitored:count(edge, All), lariat_monitored:count(other, All)}),
    {Told, Left} = lariat_monitored:edge_gone(edge, shutdown, All),
    ?assertEqual([{tell, Ref, ?CONN(1), shutdown} || Ref <- lists:sort(Refs)], lists:sort(Told)),
    ?assertEqual(One, Left).

%% Whatever happens, what is watched and looked out for is exactly what somebody still wants.
effects_agree_with_the_monitors_test() ->
    Pids = [spawn(fun() -> ok end) || _ <- lists:seq(1, 4)],
    lists:foreach(
        fun(Seed) ->
            _ = rand:seed(exsss, Seed),
            walk(300, Pids, lariat_monitored:new(20), #{}, [], [])
        end,
        lists:seq(1, 50)
    ).

walk(0, _, Monitors, Wanted, _, _) ->
    ?assertEqual(map_size(Wanted), lariat_monitored:count(Monitors));
walk(N, Pids, Monitors, Wanted, Watched, Looked) ->
    Conn = ?CONN(rand:uniform(5)),
    Pid = lists:nth(rand:uniform(4), Pids),
    {{Effects, Next}, Left, Spoken, Deaf} =
        case rand:uniform(6) of
            1 ->
                {lariat_monitored:gone(Conn, gone, Monitors),
                    maps:filter(fun(_, {C, _}) -> C =/= Conn end, Wanted), [Conn], []};
            2 ->
                {lariat_monitored:ended(Pid, Monitors),
                    maps:filter(fun(_, {_, P}) -> P =/= Pid end, Wanted), [], [Pid]};
            3 when map_size(Wanted) > 0 ->
                Ref = hd(maps:keys(Wanted)),
                {lariat_monitored:remove(Ref, Monitors), maps:remove(Ref, Wanted), [], []};
            _ ->
                Ref = make_ref(),
                Fits = map_size(Wanted) < 20,
                {lariat_monitored:add(Ref, Pid, Conn, Monitors),
                    maps:merge(Wanted, maps:from_list([{Ref, {Conn, Pid}} || Fits])), [], []}
        end,
    NowWatched = ((Watched -- Spoken) ++ [C || {watch, C} <- Effects]) -- [C || {unwatch, C} <- Effects],
    NowLooked = ((Looked -- Deaf) ++ [P || {look_out, P} <- Effects]) -- [P || {look_away, P} <- Effects],
    ?assertEqual(lists:usort([C || {C, _} <- maps:values(Left)]), lists:sort(NowWatched)),
    ?assertEqual(lists:usort([P || {_, P} <- maps:values(Left)]), lists:sort(NowLooked)),
    walk(N - 1, Pids, Next, Left, NowWatched, NowLooked).
