%%% The picture of who is where: which id has which receivers on which edge.
%%%
%%% Tables and nothing else. Nothing is sent from here (`lariat_router'), nobody is monitored
%%% (`lariat_logins'), and no news is judged (`lariat_news'). Reads happen in the caller's
%%% process; there is no process to ask. The tables belong to the top supervisor, so that the
%%% crash of a writer loses nothing.
%%%
%%% Each receiver has one row in each of two ordered sets:
%%%   receivers  {{Id, Edge, Conn}}          finds the receivers of an id
%%%   index      {{Edge, Conn, Id}, Epoch}   finds what an edge has, to compare and to sweep
%%% `Edge' is the name of the edge that told of the connection, or `process' for what
%%% logged in: a process, or a connection in its place. Each edge's rows have one writer, its `lariat_link'; the rows of `process' have
%%% `lariat_logins'. Keys of an ordered set compare with `==': one connection under both 1 and 1.0
%%% is one row. Different ones never meet in one key, so no connection is confused with another.
%%%
%%% A receiver takes 250 bytes in both tables together (external pid and integer id, measured).
-module(lariat_picture).

%% For the owner of the tables.
-export([create_tables/0]).
%% For the writers.
-export([put/4, drop/3, sweep/2, forget/1, set_edge/2, drop_edge/1]).
%% For readers.
-export([receivers/1, ids_of/2, picture/1, all/0, count/0, count/1]).
-export([edge/1, edges/0, all_up/0, summary/0]).

-export_type([edge/0, edge_state/0, edge_row/0]).

-type edge() :: atom().
%% The name of an edge: for a hidden node, the node's name.

-type edge_state() :: down | syncing | up.

-type edge_row() :: #{
    module := module(),
    state := edge_state(),
    epoch := lariat_wire:epoch() | none,
    link => pid(),
    %% What may be sent to it; absent means none.
    credit => lariat_credit:t()
}.

-define(RECEIVERS, lariat_receivers).
-define(INDEX, lariat_receivers_index).
-define(EDGES, lariat_edges).

%% Rows looked at between two chances for other processes to write: long enough that setting
%% up the traversal does not matter, short enough to bound the list that is built.
-define(SWEEP_CHUNK, 1000).

%% @doc Creates the tables, owned by the calling process.
-spec create_tables() -> ok.
create_tables() ->
    Shared = [named_table, public, {read_concurrency, true}],
    ?RECEIVERS = ets:new(?RECEIVERS, [ordered_set, {write_concurrency, true} | Shared]),
    ?INDEX = ets:new(?INDEX, [ordered_set, {write_concurrency, true} | Shared]),
    ?EDGES = ets:new(?EDGES, [set | Shared]),
    ok.

%% @doc A receiver is there. Told again, only its epoch changes.
-spec put(edge() | process, lariat_wire:conn(), lariat_wire:id(), lariat_wire:epoch()) -> ok.
put(Edge, Conn, Id, Epoch) ->
    true = ets:insert(?INDEX, {{Edge, Conn, Id}, Epoch}),
    true = ets:insert(?RECEIVERS, {{Id, Edge, Conn}}),
    ok.

%% @doc A receiver is gone. Answers whether it was known.
-spec drop(edge() | process, lariat_wire:conn(), lariat_wire:id()) -> boolean().
drop(Edge, Conn, Id) ->
    true = ets:delete(?RECEIVERS, {Id, Edge, Conn}),
    ets:take(?INDEX, {Edge, Conn, Id}) =/= [].

%% @doc Drops what the edge has not told of in `Epoch'; answers how many rows. Older, not
%% smaller: the clock of an edge that restarted may have gone back.
-spec sweep(edge(), lariat_wire:epoch()) -> non_neg_integer().
sweep(Edge, Epoch) ->
    drop_matching([{{{Edge, '$1', '$2'}, '$3'}, [{'=/=', '$3', Epoch}], [{{'$1', '$2'}}]}], Edge).

%% @doc Drops all that the edge has told of; answers how many rows.
-spec forget(edge()) -> non_neg_integer().
forget(Edge) ->
    drop_matching([{{{Edge, '$1', '$2'}, '_'}, [], [{{'$1', '$2'}}]}], Edge).

%% @doc How the edge is. Only its link says so.
-spec set_edge(edge(), edge_row()) -> ok.
set_edge(Edge, Row) ->
    true = ets:insert(?EDGES, {Edge, Row}),
    ok.

%% @doc The edge and all it told of are no longer ours.
-spec drop_edge(edge()) -> ok.
drop_edge(Edge) ->
    true = ets:delete(?EDGES, Edge),
    _ = forget(Edge),
    ok.

%% @doc The receivers of an id, those of one edge next to each other. Walks keys instead of
%% matching a pattern: an id may be any term, and atoms such as '_' mean something in patterns.
-spec receivers(lariat_wire:id()) -> [{edge() | process, lariat_wire:conn()}].
receivers(Id) ->
    %% Numbers sort before atoms, so {Id, 0, 0} comes before every key of Id.
    walk(Id, ets:next(?RECEIVERS, {Id, 0, 0})).

-spec walk(lariat_wire:id(), term()) -> [{edge() | process, lariat_wire:conn()}].
walk(Id, {Id, Edge, Conn} = Key) ->
    [{Edge, Conn} | walk(Id, ets:next(?RECEIVERS, Key))];
walk(Id, {Other, _, _} = Key) when Other == Id ->
    walk(Id, ets:next(?RECEIVERS, Key));
walk(_, _) ->
    [].

%% @doc Exactly what the edge has according to us, sorted: to be compared with what it says.
-spec picture(edge() | process) -> [{lariat_wire:conn(), lariat_wire:id()}].
picture(Edge) ->
    ets:select(?INDEX, [{{{Edge, '$1', '$2'}, '_'}, [], [{{'$1', '$2'}}]}]).

%% @doc Every receiver.
-spec all() -> [{lariat_wire:id(), edge() | process, lariat_wire:conn()}].
all() ->
    ets:select(?RECEIVERS, [{{'$1'}, [], ['$1']}]).

%% @doc Number of receivers.
-spec count() -> non_neg_integer().
count() ->
    ets:info(?RECEIVERS, size).

%% @doc Number of receivers on one edge; takes time in proportion.
-spec count(edge() | process) -> non_neg_integer().
count(Edge) ->
    ets:select_count(?INDEX, [{{{Edge, '_', '_'}, '_'}, [], [true]}]).

%% @doc The ids of one receiver.
-spec ids_of(edge() | process, lariat_wire:conn()) -> [lariat_wire:id()].
ids_of(Edge, Conn) ->
    ets:select(?INDEX, [{{{Edge, Conn, '$1'}, '_'}, [], ['$1']}]).

%% @doc One edge.
-spec edge(edge()) -> {ok, edge_row()} | error.
edge(Edge) ->
    case ets:lookup(?EDGES, Edge) of
        [{Edge, Row}] -> {ok, Row};
        [] -> error
    end.

%% @doc Every edge, and the module that knows how to speak to it.
-spec edges() -> [{edge(), module()}].
edges() ->
    [{Edge, Module} || {Edge, #{module := Module}} <- ets:tab2list(?EDGES)].

%% @doc Whether the picture of every edge is complete: an id that is not in it is nowhere.
-spec all_up() -> boolean().
all_up() ->
    lists:all(fun({_, #{state := State}}) -> State =:= up end, ets:tab2list(?EDGES)).

%% @doc Every edge, how many connections of it we know, and how its credit is.
-spec summary() -> #{edge() => #{connections := non_neg_integer(), _ => _}}.
summary() ->
    maps:from_list([
        {Edge, Row#{
            connections => count(Edge),
            credit => lariat_credit:info(maps:get(credit, Row, none))
        }}
     || {Edge, Row} <- ets:tab2list(?EDGES)
    ]).

-spec drop_matching(ets:match_spec(), edge()) -> non_neg_integer().
drop_matching(Spec, Edge) ->
    drop_chunks(ets:select(?INDEX, Spec, ?SWEEP_CHUNK), Edge, 0).

%% Deleting while selecting is safe in an ordered set.
-spec drop_chunks('$end_of_table' | {[{lariat_wire:conn(), term()}], term()}, edge(), non_neg_integer()) ->
    non_neg_integer().
drop_chunks('$end_of_table', _, Dropped) ->
    Dropped;
drop_chunks({Rows, Continuation}, Edge, Dropped) ->
    _ = [drop(Edge, Conn, Id) || {Conn, Id} <- Rows],
    drop_chunks(ets:select(Continuation), Edge, Dropped + length(Rows)).
