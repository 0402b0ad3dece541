%%% Laws of the vocabulary: what is an id, a message, an option, and how terms look.
-module(lariat_wire_test).

-include_lib("eunit/include/eunit.hrl").

one_id_goes_bare_and_many_as_a_list_test() ->
    ?assertEqual({7, <<"m">>}, lariat_wire:to_edge([7], <<"m">>, #{})),
    ?assertEqual({[7, 8], <<"m">>}, lariat_wire:to_edge([7, 8], <<"m">>, #{})).

options_go_as_a_cast_test() ->
    Options = lariat_wire:options(#{event => "news", id => ["4", $2]}),
    ?assertEqual(#{event => <<"news">>, id => <<"42">>}, Options),
    ?assertEqual(
        {'$gen_cast', {send, 7, <<"m">>, Options}}, lariat_wire:to_edge([7], <<"m">>, Options)
    ).

a_process_gets_what_a_conn_pid_would_test() ->
    ?assertEqual(<<"m">>, lariat_wire:to_process(<<"m">>, #{})),
    ?assertEqual({binary, <<"m">>}, lariat_wire:to_process({binary, <<"m">>}, #{})),
    ?assertEqual(
        {event, <<"e">>, {text, <<"m">>}},
        lariat_wire:to_process({text, <<"m">>}, #{event => <<"e">>})
    ),
    ?assertEqual({event, <<"e">>, <<"m">>}, lariat_wire:to_process(<<"m">>, #{event => <<"e">>})),
    ?assertEqual(
        {event, <<"e">>, <<"1">>, <<"m">>},
        lariat_wire:to_process(<<"m">>, #{event => <<"e">>, id => <<"1">>})
    ),
    ?assertEqual(
        {event, <<"message">>, <<"1">>, <<"m">>},
        lariat_wire:to_process(<<"m">>, #{id => <<"1">>})
    ).

a_list_is_always_a_list_of_ids_test() ->
    ?assertEqual([97, 98], lariat_wire:ids("ab")),
    ?assertEqual([<<"ab">>], lariat_wire:ids(<<"ab">>)),
    ?assertEqual([], lariat_wire:ids([])),
    ?assertError({bad_id, "ab"}, lariat_wire:ids(["ab"])),
    ?assertError({bad_id, "ab"}, lariat_wire:id("ab")).

messages_are_flattened_once_test() ->
    ?assertEqual({ok, <<"abc">>}, lariat_wire:payload([$a, [<<"b">> | <<"c">>]])),
    ?assertEqual({ok, <<>>}, lariat_wire:payload([])),
    ?assertEqual({ok, {binary, <<"ab">>}}, lariat_wire:payload({binary, ["a", $b]})),
    ?assertEqual({ok, {text, <<>>}}, lariat_wire:payload({text, []})),
    ?assertError({bad_message, {number, "1"}}, lariat_wire:payload({number, "1"})),
    ?assertError({bad_message, {text, "1"}}, lariat_wire:payload({binary, {text, "1"}})),
    ?assertError({bad_message, {text, "1"}}, lariat_wire:bytes({text, "1"})),
    ?assertError({bad_message, hello}, lariat_wire:payload(hello)),
    ?assertError({bad_message, [1024]}, lariat_wire:payload([1024])),
    ?assertMatch({ok, _}, lariat_wire:payload(<<0:(32 * 1024 * 1024 * 8)>>)),
    TooMuch = <<0:(32 * 1024 * 1024 * 8 + 8)>>,
    ?assertEqual({error, too_large}, lariat_wire:payload(TooMuch)),
    ?assertEqual({error, too_large}, lariat_wire:payload({binary, TooMuch})).

options_cannot_forge_fields_test() ->
    [
        ?assertError({bad_option, {Key, _}}, lariat_wire:options(#{Key => Value}))
     || {Key, Value} <- [
            {event, "a\nb"},
            {event, <<"a\rb">>},
            {id, "a\r\nb"},
            {id, [0]},
            {id, an_atom},
            {retry, "1"}
        ]
    ].

%% The same cases as in src/wire/id.rs: both sides must read a text as the same id.
ids_are_read_from_text_as_at_the_edge_test() ->
    ?assertEqual(123, lariat_wire:id_from_text(<<"123">>)),
    ?assertEqual(7, lariat_wire:id_from_text(<<"007">>)),
    ?assertEqual(16#7FFFFFFFFFFFFFFF, lariat_wire:id_from_text(<<"9223372036854775807">>)),
    [
        ?assertEqual(Text, lariat_wire:id_from_text(Text))
     || Text <- [<<"9223372036854775808">>, <<"-1">>, <<"+1">>, <<"alice">>, <<"12a">>, <<>>]
    ].

%% The Rust side reads the same file.
the_cost_is_the_one_that_the_edge_computes_test() ->
    {ok, Vectors} = file:read_file(filename:join([root(), "test", "vectors", "credit.txt"])),
    Lines = binary:split(Vectors, <<"\n">>, [global, trim_all]),
    Checked = [
        begin
            Numbers = [binary_to_integer(N) || N <- binary:split(Line, <<" ">>, [global])],
            [Payload, Ids, Cost] = Numbers,
            [
                ?assertEqual(Cost, lariat_wire:cost(lists:duplicate(Ids, 1), Message))
             || Bytes <- [<<0:(Payload * 8)>>], Message <- [Bytes, {text, Bytes}, {binary, Bytes}]
            ]
        end
     || <<First, _/binary>> = Line <- Lines, First =/= $#
    ],
    ?assert(length(Checked) >= 9).

%% Where the vectors are: the tests run from the build directory.
root() -> root(filename:absname(filename:dirname(code:which(?MODULE)))).

root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "Cargo.lock")) of
        true -> Dir;
        false when Dir =/= "/" -> root(filename:dirname(Dir))
    end.
