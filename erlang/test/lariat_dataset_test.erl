%%% Reading files of subscriptions, right and wrong.
-module(lariat_dataset_test).

-include_lib("eunit/include/eunit.hrl").

reads_integers_and_text_test() ->
    ?assertEqual(
        {ok, [{1, 2}, {<<"alice">>, 3}, {4, <<"bob">>}, {7, <<"-1">>}]},
        read(<<"1 2\nalice\t3\r\n\n4 bob\n007 -1">>, 10)
    ).

an_empty_file_has_none_test() ->
    ?assertEqual({ok, []}, read(<<>>, 10)),
    ?assertEqual({ok, []}, read(<<"\n\n">>, 10)).

names_the_bad_line_test() ->
    [
        ?assertEqual({error, {bad_line, 3, Bad}}, read([<<"1 2\n\n">>, Bad, <<"\n5 6\n">>], 10))
     || Bad <- [<<"1">>, <<"1 2 3">>, <<" 1 2">>, <<"1  2">>, <<"1 2 ">>, <<"x\t">>]
    ],
    ?assertEqual({error, {bad_line, 2, <<"3">>}}, read(<<"1 2\n3">>, 10)).

a_line_without_end_takes_no_memory_test() ->
    Long = binary:copy(<<"x">>, 1000000),
    ?assertEqual({error, {bad_line, 2, binary:copy(<<"x">>, 80)}}, read([<<"1 2\n">>, Long], 10)).

a_missing_file_says_so_test() ->
    ?assertEqual({error, enoent}, lariat_dataset:fold("/no/such/file", 1, fun add/2, [])).

the_reader_stops_where_adding_does_test() ->
    Refuse = fun
        (Batch, []) -> {ok, Batch};
        (_, _) -> {error, full}
    end,
    ?assertEqual({error, full}, with_file(<<"1 2\n3 4\n5 6\n">>, fun(File) ->
        lariat_dataset:fold(File, 1, Refuse, [])
    end)).

%% However the file falls into blocks and batches, the same comes out, in order.
any_file_reads_as_it_was_written_test_() ->
    {timeout, 600, fun() -> [written(Seed) || Seed <- seeds(20)] end}.

written(Seed) ->
    _ = rand:seed(exsss, Seed),
    Rows = [{any_id(), any_id()} || _ <- lists:seq(1, rand:uniform(20000))],
    Text = [[text(A), " ", text(B), "\n"] || {A, B} <- Rows],
    case read(Text, rand:uniform(3000)) of
        {ok, Rows} -> ok;
        _ -> error({seed, Seed})
    end.

any_id() ->
    case rand:uniform(3) of
        1 -> <<"user-", (integer_to_binary(rand:uniform(1000000)))/binary>>;
        2 -> binary:copy(<<"é"/utf8>>, rand:uniform(30));
        3 -> rand:uniform(1000000)
    end.

text(Id) when is_integer(Id) -> integer_to_binary(Id);
text(Id) -> Id.

read(Text, Rows) ->
    with_file(Text, fun(File) ->
        case lariat_dataset:fold(File, Rows, fun add/2, []) of
            {ok, Batches} -> {ok, lists:append(lists:reverse(Batches))};
            Error -> Error
        end
    end).

add(Batch, Batches) -> {ok, [Batch | Batches]}.

with_file(Text, Fun) ->
    Dir = lariat_test_nodes:make_dir(),
    File = filename:join(Dir, "dataset"),
    ok = file:write_file(File, Text),
    try
        Fun(File)
    after
        ok = file:del_dir_r(Dir)
    end.

seeds(N) ->
    Base = erlang:system_time(),
    [Base + I || I <- lists:seq(1, N)].
