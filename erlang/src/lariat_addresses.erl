%%% How many receivers an id has in each place: an edge, or the processes that logged in.
%%%
%%% One table and its arithmetic. Who the receivers are, and which place has which number, is
%%% `lariat_picture'; nothing is sent from here.
%%%
%%% One row for each id, found by one look into a hash table: {Id, Counts}. `Counts' is a number
%%% whose digits are the counts, the digit of place 0 the lowest. A place has one writer, which
%%% changes its own digit only, by adding to the row: so writers need no lock between them, and a
%%% reader sees the counts of one moment. The first places fit a word, others make a bignum: right,
%%% too, and a little slower.
%%%
%%% A row takes 64 bytes when the id is an integer (measured).
-module(lariat_addresses).

-export([create_table/0]).
%% For the writer of a place.
-export([add/2, remove/2, set/3]).
%% For readers.
-export([find/1]).

-export_type([place/0]).

-type place() :: non_neg_integer().

-define(ADDRESSES, lariat_addresses).

%% Bits of a digit. 268 million receivers of one id in one place would be 35 GB of rows in
%% `lariat_picture', and more processes than a VM may have.
-define(BITS, 28).
-define(DIGIT_MAX, ((1 bsl ?BITS) - 1)).

%% @doc Creates the table, owned by the calling process. Writers are few, and senders many: so not
%% for concurrent writes, which would make each look 100 ns slower.
-spec create_table() -> ok.
create_table() ->
    ?ADDRESSES = ets:new(?ADDRESSES, [set, named_table, public, {read_concurrency, true}]),
    ok.

%% @doc The id has one receiver more there.
-spec add(place(), lariat_wire:id()) -> ok.
add(Place, Id) ->
    _ = change(Id, unit(Place)),
    ok.

%% @doc And one less. Where there is none, there stays none: the digits beside it are others'. That
%% comes only of a writer that was killed, so it is put right afterwards: looking first would cost
%% everybody.
-spec remove(place(), lariat_wire:id()) -> ok.
remove(Place, Id) ->
    Left = change(Id, -unit(Place)),
    case digit(Place, Left + unit(Place)) of
        0 -> add(Place, Id);
        _ -> ok
    end.

%% @doc It has so many there.
-spec set(place(), lariat_wire:id(), non_neg_integer()) -> ok.
set(Place, Id, Count) ->
    _ = change(Id, (Count - digit(Place, counts(Id))) * unit(Place)),
    ok.

%% @doc The places where the id has receivers, and how many.
-spec find(lariat_wire:id()) -> [{place(), Count :: pos_integer()}].
find(Id) ->
    places(0, counts(Id)).

-spec places(place(), non_neg_integer()) -> [{place(), pos_integer()}].
places(_, 0) ->
    [];
places(Place, Counts) ->
    case Counts band ?DIGIT_MAX of
        0 -> places(Place + 1, Counts bsr ?BITS);
        Count -> [{Place, Count} | places(Place + 1, Counts bsr ?BITS)]
    end.

-spec counts(lariat_wire:id()) -> non_neg_integer().
counts(Id) ->
    case ets:lookup(?ADDRESSES, Id) of
        [{_, Counts}] -> Counts;
        [] -> 0
    end.

-spec digit(place(), integer()) -> non_neg_integer().
digit(Place, Counts) ->
    (Counts bsr (Place * ?BITS)) band ?DIGIT_MAX.

-spec unit(place()) -> pos_integer().
unit(Place) ->
    1 bsl (Place * ?BITS).

%% A row of nothing but zeros goes, unless somebody has added to it at that moment: only the row as
%% it was is deleted.
-spec change(lariat_wire:id(), integer()) -> integer().
change(Id, Difference) ->
    case ets:update_counter(?ADDRESSES, Id, {2, Difference}, {Id, 0}) of
        0 ->
            true = ets:delete_object(?ADDRESSES, {Id, 0}),
            0;
        Counts ->
            Counts
    end.
