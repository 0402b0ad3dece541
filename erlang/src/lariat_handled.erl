%%% The connections that have a handler here: which, and under what id.
%%%
%%% A table and nothing else, beside `lariat_picture', so that connections without a handler take
%%% nothing. It outlives the loss of a link, which closes no connection: only `closed', a sweep
%%% after a new snapshot, or letting go of the edge ends a row. Each edge's rows are written by
%%% its `lariat_link'; a worker may bar one.
%%%
%%% A row takes 170 bytes (external pid and integer id, measured).
-module(lariat_handled).

-export([create_table/0, put/5, find/2, bar/2, take/2, take_others/2, count/0]).

-export_type([row/0]).

-type row() :: {
    {lariat_picture:edge(), lariat_wire:conn()},
    lariat_wire:id(),
    lariat_handler:name(),
    lariat_wire:epoch(),
    %% Barred: something it said was lost and it is being closed, so what it still says is not
    %% heard.
    open | barred
}.

%% @doc Creates the table, owned by the calling process.
-spec create_table() -> ok.
create_table() ->
    ?MODULE = ets:new(?MODULE, [
        named_table, public, ordered_set, {read_concurrency, true}, {write_concurrency, true}
    ]),
    ok.

%% @doc It is there. Told again, only its epoch changes.
-spec put(
    lariat_picture:edge(),
    lariat_wire:conn(),
    lariat_wire:id(),
    lariat_handler:name(),
    lariat_wire:epoch()
) -> ok.
put(Edge, Conn, Id, Name, Epoch) ->
    case ets:update_element(?MODULE, {Edge, Conn}, {4, Epoch}) of
        true -> ok;
        false -> true = ets:insert(?MODULE, {{Edge, Conn}, Id, Name, Epoch, open}), ok
    end.

%% @doc The row of a connection.
-spec find(lariat_picture:edge(), lariat_wire:conn()) -> {ok, row()} | error.
find(Edge, Conn) ->
    case ets:lookup(?MODULE, {Edge, Conn}) of
        [Row] -> {ok, Row};
        [] -> error
    end.

%% @doc Bars it; answers whether it was open.
-spec bar(lariat_picture:edge(), lariat_wire:conn()) -> boolean().
bar(Edge, Conn) ->
    Key = {Edge, Conn},
    Barred = {{{const, Key}, '$1', '$2', '$3', barred}},
    ets:select_replace(?MODULE, [{{Key, '$1', '$2', '$3', open}, [], [Barred]}]) =:= 1.

%% @doc It is gone.
-spec take(lariat_picture:edge(), lariat_wire:conn()) -> {ok, row()} | error.
take(Edge, Conn) ->
    case ets:take(?MODULE, {Edge, Conn}) of
        [Row] -> {ok, Row};
        [] -> error
    end.

%% @doc Those that the edge has not told of in this epoch are gone; all with `none'.
-spec take_others(lariat_picture:edge(), lariat_wire:epoch() | none) -> [row()].
take_others(Edge, Epoch) ->
    Others = {{{Edge, '$1'}, '_', '_', '$2', '_'}, [{'=/=', '$2', Epoch}], ['$1']},
    [Row || Conn <- ets:select(?MODULE, [Others]), {ok, Row} <- [take(Edge, Conn)]].

%% @doc Number of rows.
-spec count() -> non_neg_integer().
count() ->
    ets:info(?MODULE, size).
