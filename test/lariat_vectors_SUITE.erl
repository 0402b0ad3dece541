%%% The bytes in `test/vectors' are the terms that Erlang means, on every OTP.
%%%
%%% What Rust makes of the same bytes is `src/term/vectors_test.rs'. Nothing is sent here.
-module(lariat_vectors_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, terms_are_the_bytes/1, pids_are_packed/1, wire_says_the_same/1]).

all() ->
    [terms_are_the_bytes, pids_are_packed, wire_says_the_same].

%% Both ways, and none is missing.
terms_are_the_bytes(_Config) ->
    Written = vectors(),
    ?assertEqual([Name || {Name, _} <- lariat_vectors:terms()], [Name || {Name, _} <- Written]),
    [
        begin
            {_, Bytes} = lists:keyfind(Name, 1, Written),
            ?assertEqual(lariat_vectors:bytes(Vector), Bytes, Name),
            ?assertEqual(lariat_vectors:term(Vector), binary_to_term(<<131, Bytes/binary>>), Name)
        end
     || {Name, Vector} <- lariat_vectors:terms()
    ].

%% A pid is what its name says: the slot is its id, shard and generation its serial.
pids_are_packed(_Config) ->
    Pids = [{string:lexemes(atom_to_list(Name), "_"), Bytes} || {Name, Bytes} <- vectors()],
    Checked = [
        begin
            Pid = binary_to_term(<<131, Bytes/binary>>),
            Packed = lariat_vectors:conn(list_to_integer(Shard), list_to_integer(Slot),
                list_to_integer(Generation), lariat_vectors:creation()),
            ?assertEqual(Packed, Pid),
            ?assertEqual(lariat_vectors:node_name(), node(Pid)),
            %% Another run of the node has other pids.
            ?assertNotEqual(lariat_vectors:conn(list_to_integer(Shard), list_to_integer(Slot),
                list_to_integer(Generation), lariat_vectors:creation() + 1), Pid)
        end
     || {["pid", Shard, Slot, Generation], Bytes} <- Pids
    ],
    ?assert(length(Checked) >= 5).

%% What the application would send is what the vectors have.
wire_says_the_same(_Config) ->
    Term = fun(Name) ->
        {_, Bytes} = lists:keyfind(Name, 1, vectors()),
        binary_to_term(<<131, Bytes/binary>>)
    end,
    ?assertEqual(Term(deliver_int), lariat_wire:to_edge([123], <<"Hello">>, #{})),
    ?assertEqual(Term(deliver_binary), lariat_wire:to_edge([<<"alice">>], <<"Hello">>, #{})),
    ?assertEqual(Term(deliver_string), lariat_wire:to_edge([1, 2, 3], <<"m">>, #{})),
    ?assertEqual(Term(deliver_mixed), lariat_wire:to_edge([1, <<"b">>, {user, 7}], <<"m">>, #{})),
    {'$gen_cast', {send, 7, <<"m">>, Options}} =
        lariat_wire:to_edge([7], <<"m">>, #{event => <<"tick">>, id => <<"9">>}),
    {send, 7, <<"m">>, Expected} = Term(request_send_event),
    ?assertEqual(maps:map(fun(_, V) -> iolist_to_binary(V) end, Expected), Options),
    ?assertEqual(Term(deliver_text_form), lariat_wire:to_edge([7], {text, <<"m">>}, #{})),
    Binary = {binary, <<"m">>},
    ?assertEqual(Term(deliver_binary_form), lariat_wire:to_edge([7, 8], Binary, #{})),
    Tick = #{event => <<"tick">>},
    ?assertEqual(
        {'$gen_cast', Term(request_send_binary_event)}, lariat_wire:to_edge([7], Binary, Tick)
    ),
    ?assertEqual(Term(signal_text), lariat_wire:to_process({text, <<"m">>}, #{})),
    ?assertEqual(Term(signal_deliver), lariat_wire:to_process(<<"m">>, #{})),
    ?assertEqual(Term(signal_event), lariat_wire:to_process(<<"m">>, #{event => <<"tick">>})),
    ?assertEqual(Term(signal_event_id),
        lariat_wire:to_process(<<"m">>, #{event => <<"tick">>, id => <<"9">>})),
    [
        ?assertEqual(Term(Name), lariat_wire:id_from_text(Text))
     || {Name, Text} <- [{id_0, <<"0">>}, {id_256, <<"256">>}, {id_2_31, <<"2147483648">>},
            {id_2_63_minus_1, <<"9223372036854775807">>}, {id_binary, <<"alice">>}]
    ].

vectors() ->
    lariat_vectors:read(filename:join([lariat_site:root(), "test", "vectors", "terms.txt"])).
