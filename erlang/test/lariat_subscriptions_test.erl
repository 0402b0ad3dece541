%%% Subscriptions in a real Mnesia, on nodes that are stopped and killed.
-module(lariat_subscriptions_test).

-include_lib("eunit/include/eunit.hrl").

-import(lariat_test_nodes, [call/4]).

nodes_test_() ->
    {timeout, 3600,
        {setup, fun lariat_test_nodes:setup/0, fun lariat_test_nodes:cleanup/1, fun(Nodes) ->
            [
                {atom_to_list(Name), {timeout, 600, fun() -> Case(Nodes, atom_to_list(Name)) end}}
             || {Name, Case} <- [
                    {subscribes_any_term, fun subscribes_any_term/2},
                    {equals_a_model, fun equals_a_model/2},
                    {survives_a_restart, fun survives_a_restart/2},
                    {survives_a_kill_after_load, fun survives_a_kill_after_load/2},
                    {refuses_past_the_limit, fun refuses_past_the_limit/2},
                    {loads_files, fun loads_files/2}
                ]
            ]
        end}}.

subscribes_any_term(Nodes, Name) ->
    with_app(Nodes, Name, fun(App) ->
        Numbers = [-1, 0, -(1 bsl 70), 1 bsl 70, -1.0e300],
        Terms = Numbers ++ [a, '_', '$1', <<>>, {'_'}, #{a => '_'}, self()],
        [ok = call(App, lariat, subscribe, [Who, What]) || Who <- Terms, What <- Terms],
        [
            ?assertEqual(lists:sort(Terms), call(App, lariat, subscribers, [What]))
         || What <- Terms
        ],
        ok = call(App, lariat, unsubscribe, ['_', '_']),
        ?assertEqual(lists:sort(Terms) -- ['_'], call(App, lariat, subscribers, ['_'])),
        ?assertEqual([], call(App, lariat, subscribers, [b])),
        ?assertException(error, {bad_id, "ab"}, call(App, lariat, subscribe, ["ab", 1])),
        ?assertException(error, {bad_id, -1.5e308}, call(App, lariat, subscribe, [-1.5e308, 1]))
    end).

equals_a_model(Nodes, Name) ->
    Seed = erlang:system_time(),
    _ = rand:seed(exsss, Seed),
    with_app(Nodes, Name, fun(App) ->
        Model = lists:foldl(
            fun(_, Model) ->
                Rows = [
                    {rand:uniform(30), rand:uniform(10)}
                 || _ <- lists:seq(1, rand:uniform(20))
                ],
                case rand:uniform(3) of
                    1 ->
                        ok = call(App, lariat, remove_subscriptions, [Rows]),
                        ordsets:subtract(Model, ordsets:from_list(Rows));
                    _ ->
                        ok = call(App, lariat, add_subscriptions, [Rows]),
                        ordsets:union(Model, ordsets:from_list(Rows))
                end
            end,
            [],
            lists:seq(1, 200)
        ),
        [
            ?assertEqual(
                {Seed, [Who || {Who, S} <- Model, S =:= Subject]},
                {Seed, call(App, lariat, subscribers, [Subject])}
            )
         || Subject <- lists:seq(1, 10)
        ],
        ?assertEqual(length(Model), call(App, lariat_subscriptions, count, []))
    end).

survives_a_restart(Nodes, Name) ->
    with_app(Nodes, Name, fun(App) -> ok = call(App, lariat, subscribe, [1, news]) end),
    with_app(Nodes, Name, fun(App) ->
        ?assertEqual([1], call(App, lariat, subscribers, [news])),
        ok = call(App, application, stop, [lariat]),
        ok = call(App, application, start, [lariat]),
        ?assertEqual([1], call(App, lariat, subscribers, [news]))
    end).

survives_a_kill_after_load(Nodes, Name) ->
    File = dataset(Nodes, 3000),
    {App, _} = lariat_test_nodes:start(Nodes, Name, []),
    ok = lariat_test_nodes:start_app(App, []),
    ?assertEqual({ok, 3000}, call(App, lariat_subscriptions, load_file, [File])),
    lariat_test_nodes:kill(App),
    with_app(Nodes, Name, fun(Again) ->
        ?assertEqual(3000, call(Again, lariat_subscriptions, count, [])),
        ?assertEqual([17], call(Again, lariat, subscribers, [1017]))
    end).

refuses_past_the_limit(Nodes, Name) ->
    with_app(Nodes, Name, fun(App) ->
        ok = call(App, application, set_env, [lariat, subscriptions_max, 2]),
        ok = call(App, lariat, add_subscriptions, [[{1, a}, {2, a}]]),
        ?assertEqual({error, subscriptions_limit}, call(App, lariat, subscribe, [3, a])),
        ok = call(App, lariat, unsubscribe, [1, a]),
        ok = call(App, lariat, subscribe, [3, a]),
        ?assertEqual([2, 3], call(App, lariat, subscribers, [a]))
    end).

loads_files(Nodes, Name) ->
    with_app(Nodes, Name, fun(App) ->
        File = dataset(Nodes, 2500),
        Load = fun() -> call(App, lariat_subscriptions, load_file, [File]) end,
        ?assertEqual({ok, 2500}, Load()),
        ?assertEqual({ok, 2500}, Load()),
        ?assertEqual(2500, call(App, lariat_subscriptions, count, [])),
        ok = file:write_file(File, "1 a\n1\n2 a\n"),
        ?assertEqual({error, {bad_line, 2, <<"1">>}}, Load()),
        ?assertEqual({error, enoent}, call(App, lariat_subscriptions, load_file, ["/no/file"]))
    end).

dataset(Nodes, Rows) ->
    File = filename:join(lariat_test_nodes:dir(Nodes), "dataset"),
    Lines = [io_lib:format("~b ~b~n", [N, 1000 + N]) || N <- lists:seq(1, Rows)],
    ok = file:write_file(File, Lines),
    File.

with_app(Nodes, Name, Fun) ->
    {App, _} = lariat_test_nodes:start(Nodes, Name, []),
    try
        ok = lariat_test_nodes:start_app(App, []),
        Fun(App)
    after
        peer:stop(App)
    end.
