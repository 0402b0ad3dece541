%%% The transition table of lariat_news, and its law: whatever happens to the link, after a
%%% snapshot the picture equals what the edge holds.
-module(lariat_news_test).

-include_lib("eunit/include/eunit.hrl").

-define(BEGIN, {snapshot, 'begin'}).
-define(END, {snapshot, 'end'}).

nothing_counts_before_attach_test() ->
    {Effects, News} = lariat_news:batch(5, [?BEGIN, opened(a), ?END], lariat_news:new()),
    ?assertEqual([{stale, 3}], Effects),
    ?assertEqual(detached, lariat_news:phase(News)),
    ?assertEqual(none, lariat_news:epoch(News)).

a_snapshot_puts_and_sweeps_test() ->
    Events = [?BEGIN, opened(a), opened(b), ?END],
    {Effects, News} = lariat_news:batch(5, Events, attached(5)),
    ?assertEqual([put_(a, 5), put_(b, 5), {sweep, 5}], Effects),
    ?assertEqual(live, lariat_news:phase(News)).

news_between_begin_and_end_count_test() ->
    {_, News1} = lariat_news:batch(5, [?BEGIN, opened(a)], attached(5)),
    ?assertEqual(syncing, lariat_news:phase(News1)),
    {Effects, News2} = lariat_news:batch(5, [closed(a), opened(c), ?END], News1),
    ?assertEqual([{drop, pid(a), a, client}, put_(c, 5), {sweep, 5}], Effects),
    ?assertEqual(live, lariat_news:phase(News2)).

an_end_without_a_begin_sweeps_nothing_test() ->
    {Effects, News} = lariat_news:batch(5, [?END], attached(5)),
    ?assertEqual([{unknown, ?END}], Effects),
    ?assertEqual(syncing, lariat_news:phase(News)).

older_news_are_stale_test() ->
    {Effects, News} = lariat_news:batch(4, [opened(a)], live(5)),
    ?assertEqual([{stale, 1}], Effects),
    ?assertEqual(5, lariat_news:epoch(News)).

a_larger_epoch_starts_over_at_its_begin_test() ->
    {Effects1, News1} = lariat_news:batch(6, [opened(x), ?BEGIN, opened(a)], live(5)),
    ?assertEqual([{stale, 1}, put_(a, 6)], Effects1),
    ?assertEqual({syncing, 6}, {lariat_news:phase(News1), lariat_news:epoch(News1)}),
    {Effects2, News2} = lariat_news:batch(6, [?END], News1),
    ?assertEqual([{sweep, 6}], Effects2),
    ?assertEqual(live, lariat_news:phase(News2)),
    {Effects3, News3} = lariat_news:batch(7, [opened(x)], News2),
    ?assertEqual([{stale, 1}], Effects3),
    ?assertEqual(6, lariat_news:epoch(News3)).

after_attach_a_smaller_epoch_may_count_test() ->
    %% The clock of an edge that restarted may have gone back.
    News1 = lariat_news:attached(3, lariat_news:detached(live(5))),
    {Effects, _} = lariat_news:batch(3, [?BEGIN, ?END], News1),
    ?assertEqual([{sweep, 3}], Effects).

a_connection_may_be_a_tuple_test() ->
    Conn = {lariat_conn, edge, 1, 2},
    {Put, _} = lariat_news:batch(5, [{opened, Conn, 7, #{handler => <<"h">>}}], live(5)),
    ?assertEqual([{put, Conn, 7, 5}, {handled, Conn, 7, <<"h">>, 5}], Put),
    Events = [{received, Conn, 7, {text, <<"x">>}}, {congested, Conn, 7, 1}, {drained, Conn, 7}],
    ?assertMatch({Events, _}, lariat_news:batch(5, Events, live(5))),
    ?assertMatch({[{drop, Conn, 7, client}], _}, lariat_news:batch(5, [{closed, Conn, 7, client}], live(5))),
    Others = [{opened, Other, 7, #{}} || Other <- [{lariat_conn, edge, 1}, {conn, edge, 1, 2}, conn]],
    ?assertEqual([{unknown, Other} || Other <- Others], element(1, lariat_news:batch(5, Others, live(5)))).

credit_of_this_epoch_only_comes_back_test() ->
    {Effects, News} = lariat_news:batch(5, [{ack, 10}, {ack, -1}], live(5)),
    ?assertEqual([{acked, 10}, {unknown, {ack, -1}}], Effects),
    {Stale, _} = lariat_news:batch(4, [{ack, 10}], News),
    ?assertEqual([{stale, 1}], Stale),
    %% After a resync by the edge itself it goes on.
    {Resynced, _} = lariat_news:batch(6, [?BEGIN, {ack, 7}], News),
    ?assertEqual([{acked, 7}], Resynced).

what_is_not_known_yet_is_told_apart_test() ->
    Strange = [{received, pid(a), a, <<"x">>}, {request, 1, []}, {batch, 1, <<"h">>, []}, {opened, not_a_pid, a, #{}}, an_atom, [], {}],
    {Effects, News} = lariat_news:batch(5, Strange ++ [{overloaded, 3, 100}], live(5)),
    ?assertEqual([{unknown, Event} || Event <- Strange] ++ [{overloaded, 3, 100}], Effects),
    ?assertEqual(live, lariat_news:phase(News)).

slow_clients_are_told_of_as_they_are_test() ->
    Pid = pid(a),
    Slow = [{congested, Pid, a, 1000}, {drained, Pid, a}],
    ?assertMatch({Slow, _}, lariat_news:batch(5, Slow, live(5))),
    Strange = [{congested, Pid, a, -1}, {congested, no_pid, a, 1}, {drained, no_pid, a}],
    {Effects, _} = lariat_news:batch(5, Strange, live(5)),
    ?assertEqual([{unknown, Event} || Event <- Strange], Effects).

what_is_for_handlers_is_handed_on_test() ->
    Request = {request, 1, #{kind => request, handler => <<"h">>}},
    Others = [{received, pid(a), a, {text, <<"x">>}}, {batch, 2, <<"h">>, [<<"b">>]}, Request],
    Opened = {opened, pid(a), a, #{transport => websocket, handler => <<"h">>}},
    {Effects, News} = lariat_news:batch(5, [Opened | Others], live(5)),
    ?assertEqual([put_(a, 5), {handled, pid(a), a, <<"h">>, 5} | Others], Effects),
    ?assertEqual({[{stale, 1}], News}, lariat_news:batch(4, [Request], News)).

what_clients_say_waits_for_the_snapshot_test() ->
    Said = fun(Name, Text) -> {received, pid(Name), Name, {text, Text}} end,
    {[], News1} = lariat_news:batch(5, [?BEGIN, Said(a, <<"1">>), Said(b, <<"2">>)], attached(5)),
    {Closed, News2} = lariat_news:batch(5, [closed(b), opened(a), Said(a, <<"3">>)], News1),
    ?assertEqual([Said(b, <<"2">>), {drop, pid(b), b, client}, put_(a, 5)], Closed),
    %% Also over the loss of the link, and a new snapshot.
    News3 = lariat_news:attached(7, lariat_news:detached(News2)),
    {Ended, News4} = lariat_news:batch(7, [?BEGIN, opened(a), ?END, Said(a, <<"4">>)], News3),
    ?assertEqual(
        [put_(a, 7), {sweep, 7}, Said(a, <<"1">>), Said(a, <<"3">>), Said(a, <<"4">>)], Ended
    ),
    ?assertEqual({[], News4}, lariat_news:batch(7, [], News4)).

what_is_held_back_is_bounded_test() ->
    Said = fun(Text) -> {received, pid(a), a, {binary, Text}} end,
    Large = Said(binary:copy(<<"x">>, 3000000)),
    {[], News1} = lariat_news:batch(5, [?BEGIN, Large, Large], attached(5)),
    {Released, News2} = lariat_news:batch(5, [Said(<<"y">>)], News1),
    ?assertEqual([Large, Large, Said(<<"y">>)], Released),
    ?assertMatch({[], _}, lariat_news:batch(5, [Said(<<"z">>)], News2)).

%% An edge as a set of connections; its life is random, and so are the losses of the link.
after_any_life_the_picture_equals_the_edge_test_() ->
    {timeout, 600, fun() -> [life(Seed) || Seed <- seeds(300)] end}.

life(Seed) ->
    try
        _ = rand:seed(exsss, Seed),
        Steps = live_on(rand:uniform(60), {#{}, #{}, 1, lariat_news:new()}),
        ?assert(is_tuple(Steps))
    catch
        Class:Reason:Stack ->
            io:format(user, "~nseed ~p~n", [Seed]),
            erlang:raise(Class, Reason, Stack)
    end.

%% Edge and Picture: #{Pid => Epoch | true}.
live_on(0, State) ->
    resync(State);
live_on(N, State) ->
    live_on(N - 1, step(rand:uniform(10), State)).

step(1, {Edge, Picture, Epoch, News}) ->
    %% The link is lost: what the edge says now is never heard.
    {Edge, Picture, Epoch, lariat_news:detached(News)};
step(2, State) ->
    resync(State);
step(3, {Edge, Picture, Epoch, News}) ->
    %% Late news of an older epoch.
    hear(Epoch - 1, [opened(stale), ?BEGIN, ?END], {Edge, Picture, Epoch, News});
step(N, {Edge, Picture, Epoch, News}) when N =< 7 ->
    Name = name(),
    hear(Epoch, [opened(Name)], {Edge#{Name => true}, Picture, Epoch, News});
step(_, {Edge, Picture, Epoch, News}) ->
    Name = name(),
    hear(Epoch, [closed(Name)], {maps:remove(Name, Edge), Picture, Epoch, News}).

%% Either by a new attach or because the edge starts over by itself.
resync({Edge, Picture, Epoch0, News0}) ->
    Epoch = Epoch0 + rand:uniform(3),
    News =
        case lariat_news:phase(News0) =:= detached orelse rand:uniform(2) =:= 1 of
            true -> lariat_news:attached(Epoch, News0);
            false -> News0
        end,
    {Now, Later} = lists:partition(fun(_) -> rand:uniform(2) =:= 1 end, maps:keys(Edge)),
    State1 = hear(Epoch, [?BEGIN | [opened(Name) || Name <- Now]], {Edge, Picture, Epoch, News}),
    %% Life goes on while the snapshot is told.
    State2 = step(8, State1),
    {Edge2, _, _, _} = State2,
    Still = [Name || Name <- Later, is_map_key(Name, Edge2)],
    {Edge3, Picture3, _, News3} = hear(Epoch, [opened(Name) || Name <- Still] ++ [?END], State2),
    ?assertEqual(live, lariat_news:phase(News3)),
    ?assertEqual(lists:sort(maps:keys(Edge3)), lists:sort(maps:keys(Picture3))),
    {Edge3, Picture3, Epoch, News3}.

hear(HeardEpoch, Events, {Edge, Picture, Epoch, News}) ->
    {Effects, NewNews} = lariat_news:batch(HeardEpoch, Events, News),
    {Edge, lists:foldl(fun execute/2, Picture, Effects), Epoch, NewNews}.

execute({put, _, Name, Epoch}, Picture) -> Picture#{Name => Epoch};
execute({drop, _, Name, _}, Picture) -> maps:remove(Name, Picture);
execute({sweep, Epoch}, Picture) -> maps:filter(fun(_, E) -> E =:= Epoch end, Picture);
execute({stale, _}, Picture) -> Picture.

attached(Epoch) -> lariat_news:attached(Epoch, lariat_news:new()).

live(Epoch) ->
    {_, News} = lariat_news:batch(Epoch, [?BEGIN, ?END], attached(Epoch)),
    News.

opened(Name) -> {opened, pid(Name), Name, #{transport => sse}}.

closed(Name) -> {closed, pid(Name), Name, client}.

put_(Name, Epoch) -> {put, pid(Name), Name, Epoch}.

pid(Name) when is_atom(Name) -> pid(erlang:phash2(Name, 1000) + 1000);
pid(N) -> list_to_pid("<0." ++ integer_to_list(N) ++ ".0>").

name() -> rand:uniform(12).

seeds(N) ->
    Base = erlang:system_time(),
    [Base + I || I <- lists:seq(1, N)].
