%%% Counts of places in one number: as if each place had a table of its own, also while all write.
-module(lariat_addresses_test).

-include_lib("eunit/include/eunit.hrl").

addresses_test_() ->
    {foreach, fun create/0, fun delete/1, [
        fun places_do_not_touch_each_other/0,
        fun nothing_is_less_than_none/0,
        fun ids_are_told_apart/0,
        {timeout, 600, fun() -> [equals_a_model(Seed) || Seed <- seeds(50)] end},
        {timeout, 600, fun all_write_at_once/0}
    ]}.

create() ->
    Parent = self(),
    {Owner, _} = spawn_monitor(fun() ->
        ok = lariat_addresses:create_table(),
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

%% Up to the largest count, in places beyond what fits a word.
places_do_not_touch_each_other() ->
    Max = (1 bsl 28) - 1,
    [ok = lariat_addresses:set(Place, alice, Max) || Place <- [0, 1, 2, 9]],
    ok = lariat_addresses:remove(1, alice),
    ?assertEqual([{0, Max}, {1, Max - 1}, {2, Max}, {9, Max}], lariat_addresses:find(alice)),
    [ok = lariat_addresses:set(Place, alice, 0) || Place <- [9, 0, 2]],
    ?assertEqual([{1, Max - 1}], lariat_addresses:find(alice)),
    ok = lariat_addresses:set(1, alice, 0),
    ?assertEqual([], lariat_addresses:find(alice)),
    ?assertEqual(0, ets:info(lariat_addresses, size)).

nothing_is_less_than_none() ->
    ok = lariat_addresses:remove(0, alice),
    ok = lariat_addresses:add(1, alice),
    ok = lariat_addresses:remove(0, alice),
    ok = lariat_addresses:remove(2, alice),
    ?assertEqual([{1, 1}], lariat_addresses:find(alice)).

ids_are_told_apart() ->
    Ids = [1, 1.0, -1, 1 bsl 80, '_', '$1', <<>>, <<"1">>, {}, {'_', 1}, #{a => '_'}, #{}, self()],
    Numbers = lists:seq(1, length(Ids)),
    [ok = lariat_addresses:set(N, Id, N) || {N, Id} <- lists:zip(Numbers, Ids)],
    ?assertEqual([[{N, N}] || N <- Numbers], [lariat_addresses:find(Id) || Id <- Ids]).

%% The model: #{{Place, Id} => Count}.
equals_a_model(Seed) ->
    _ = rand:seed(exsss, Seed),
    Model = lists:foldl(fun(_, Before) -> step(Before) end, #{}, lists:seq(1, 200)),
    Counts = [{Place, Id, N} || {{Place, Id}, N} <- maps:to_list(Model), N > 0],
    [
        ?assertEqual(
            {Seed, lists:sort([{Place, N} || {Place, I, N} <- Counts, I =:= Id])},
            {Seed, lariat_addresses:find(Id)}
        )
     || Id <- ids()
    ],
    [ok = lariat_addresses:set(Place, Id, 0) || {Place, Id} <- maps:keys(Model)],
    ?assertEqual(0, ets:info(lariat_addresses, size)).

step(Model) ->
    {Place, Id} = Key = {rand:uniform(5) - 1, lists:nth(rand:uniform(3), ids())},
    Count = maps:get(Key, Model, 0),
    case rand:uniform(5) of
        1 ->
            New = rand:uniform(1000),
            ok = lariat_addresses:set(Place, Id, New),
            Model#{Key => New};
        2 ->
            ok = lariat_addresses:add(Place, Id),
            Model#{Key => Count + 1};
        _ ->
            ok = lariat_addresses:remove(Place, Id),
            Model#{Key => max(0, Count - 1)}
    end.

%% Rows come and go under the writers' hands, and no count is lost.
all_write_at_once() ->
    Writers = [
        {Place, spawn_monitor(fun() ->
            [
                begin
                    ok = lariat_addresses:add(Place, alice),
                    {Place, 1} = lists:keyfind(Place, 1, lariat_addresses:find(alice)),
                    ok = lariat_addresses:remove(Place, alice)
                end
             || _ <- lists:seq(1, 20000)
            ],
            ok = lariat_addresses:set(Place, alice, Place + 1)
        end)}
     || Place <- lists:seq(0, 4)
    ],
    [
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
        end
     || {_, {Pid, Monitor}} <- Writers
    ],
    ?assertEqual([{Place, Place + 1} || {Place, _} <- Writers], lariat_addresses:find(alice)).

ids() -> [1, 1.0, <<"x">>].

seeds(N) ->
    Base = erlang:system_time(),
    [Base + I || I <- lists:seq(1, N)].
