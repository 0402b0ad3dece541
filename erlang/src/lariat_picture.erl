%%% The picture of who is where: which id has which receivers on which edge.
%%%
%%% Tables and nothing else. Nothing is sent from here (`lariat_router'), nobody is monitored
%%% (`lariat_logins'), and no news is judged (`lariat_news'). Reads happen in the caller's
%%% process; there is no process to ask. The tables belong to the top supervisor, so that the
%%% crash of a writer loses nothing.
%%%
%%% Each receiver has one row, in an ordered set: {{Edge, Id, Conn}, Epoch}. It finds what an edge
%%% has, to compare and to sweep, and who has an id there. A sender asks less, and often: where an
%%% id has receivers, and how many. That is one row for each id (`lariat_addresses').
%%%
%%% `Edge' is the name of the edge that told of the connection, or `process' for what logged in: a
%%% process, or a connection in its place. Each edge's rows have one writer, its `lariat_link'; the
%%% rows of `process' have `lariat_logins'. Keys of an ordered set compare with `==': one connection
%%% under both 1 and 1.0 is one row. Different ones never meet in one key, so no connection is
%%% confused with another.
%%%
%%% A receiver is counted after its row is there, and before it goes. So a writer that is killed
%%% between leaves a count too small, never one of nobody; its successor counts again (`recount/1').
%%%
%%% A receiver takes 208 bytes in both tables together (external pid and integer id, measured), 216
%%% when its edge is in this VM.
-module(lariat_picture).

%% For the owner of the tables.
-export([create_tables/0]).
%% For the writers.
-export([put/4, drop/3, sweep/2, forget/1, recount/1, set_edge/2, drop_edge/1]).
%% For senders.
-export([addresses/1, conns/2, way/1, all_up/0]).
%% For other readers.
-export([receivers/1, picture/1, all/0, count/0, count/1]).
-export([edge/1, edges/0, summary/0]).

-export_type([edge/0, edge_state/0, edge_row/0, way/0, address/0]).

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

-type way() :: {module(), lariat_credit:t()} | none.
%% What a sender needs of the edge's row; `none' when there is no such edge.

-type address() ::
    {edge(), way(), Receivers :: pos_integer()} | {process, Receivers :: pos_integer()}.

-define(RECEIVERS, lariat_receivers).
%% {Edge, Place, edge_row() | none} and, for senders, {Place, Edge, way()}: a small term is sooner
%% copied. `none' is an edge that has rows only: no link has said how it is, or it is about to go.
-define(EDGES, lariat_edges).
%% The names of edges that are not up: nobody has to look at all edges to learn that there is none.
-define(MISSING, lariat_edges_missing).

%% The place of what logged in; edges have the lowest that is free when they come.
-define(PROCESSES, 0).

%% Rows looked at between two chances for other processes to write: long enough that setting
%% up the traversal does not matter, short enough to bound the list that is built.
-define(SWEEP_CHUNK, 1000).

%% @doc Creates the tables, owned by the calling process.
-spec create_tables() -> ok.
create_tables() ->
    Shared = [named_table, public, {read_concurrency, true}],
    ?RECEIVERS = ets:new(?RECEIVERS, [ordered_set, {write_concurrency, true} | Shared]),
    ?EDGES = ets:new(?EDGES, [set | Shared]),
    ?MISSING = ets:new(?MISSING, [ordered_set | Shared]),
    lariat_addresses:create_table().

%% @doc A receiver is there. Told again, only its epoch changes.
-spec put(edge() | process, lariat_wire:conn(), lariat_wire:id(), lariat_wire:epoch()) -> ok.
put(Edge, Conn, Id, Epoch) ->
    Row = {{Edge, Id, Conn}, Epoch},
    case ets:insert_new(?RECEIVERS, Row) of
        true ->
            lariat_addresses:add(place(Edge), Id);
        false ->
            case ets:lookup(?RECEIVERS, {Edge, Id, Conn}) of
                [{{_, Id, _}, _}] ->
                    true = ets:insert(?RECEIVERS, Row),
                    ok;
                %% 1 and 1.0.
                [_] ->
                    true = drop(Edge, Conn, Id),
                    put(Edge, Conn, Id, Epoch)
            end
    end.

%% @doc A receiver is gone. Answers whether it was known.
-spec drop(edge() | process, lariat_wire:conn(), lariat_wire:id()) -> boolean().
drop(Edge, Conn, Id) ->
    case ets:lookup(?RECEIVERS, {Edge, Id, Conn}) of
        [{{_, Known, _} = Key, _}] ->
            ok = lariat_addresses:remove(place(Edge), Known),
            ets:delete(?RECEIVERS, Key);
        [] ->
            false
    end.

%% @doc Drops what the edge has not told of in `Epoch'; answers how many rows. Older, not
%% smaller: the clock of an edge that restarted may have gone back.
-spec sweep(edge(), lariat_wire:epoch()) -> non_neg_integer().
sweep(Edge, Epoch) ->
    drop_matching([{{{Edge, '$1', '$2'}, '$3'}, [{'=/=', '$3', Epoch}], [{{'$2', '$1'}}]}], Edge).

%% @doc Drops all that the edge has told of; answers how many rows.
-spec forget(edge()) -> non_neg_integer().
forget(Edge) ->
    drop_matching([{{{Edge, '$1', '$2'}, '_'}, [], [{{'$2', '$1'}}]}], Edge).

%% @doc Counts again what the edge has: for a writer whose predecessor may have been killed.
-spec recount(edge() | process) -> ok.
recount(Edge) ->
    Ids = ets:select(?RECEIVERS, [{{{Edge, '$1', '_'}, '_'}, [], ['$1']}], ?SWEEP_CHUNK),
    recount(Ids, Edge, none).

%% An id with many receivers is in many chunks, next to each other.
-spec recount(
    '$end_of_table' | {[lariat_wire:id()], term()}, edge() | process, none | {lariat_wire:id()}
) -> ok.
recount('$end_of_table', _, _) ->
    ok;
recount({Ids, Continuation}, Edge, Last) ->
    Place = place(Edge),
    %% Not usort/1, to which 1 and 1.0 are the same.
    Each = maps:keys(maps:from_list([{Id, true} || Id <- Ids, {Id} =/= Last])),
    _ = [ok = lariat_addresses:set(Place, Id, length(conns(Edge, Id))) || Id <- Each],
    recount(ets:select(Continuation), Edge, {lists:last(Ids)}).

%% @doc How the edge is. Only its link says so.
-spec set_edge(edge(), edge_row()) -> ok.
set_edge(Edge, #{module := Module, state := State} = Row) ->
    Place = place(Edge),
    Way = {Module, maps:get(credit, Row, none)},
    true = ets:insert(?EDGES, [{Edge, Place, Row}, {Place, Edge, Way}]),
    true =
        case State of
            up -> ets:delete(?MISSING, Edge);
            _ -> ets:insert(?MISSING, {Edge})
        end,
    ok.

%% @doc The edge and all it told of are no longer ours. Its place is given away last: until then
%% nobody else's receivers are counted there.
-spec drop_edge(edge()) -> ok.
drop_edge(Edge) ->
    true = ets:delete(?MISSING, Edge),
    case ets:lookup(?EDGES, Edge) of
        [{_, Place, _}] ->
            true = ets:insert(?EDGES, [{Edge, Place, none}, {Place, Edge, none}]),
            _ = forget(Edge),
            true = ets:delete(?EDGES, Edge),
            true = ets:delete(?EDGES, Place),
            ok;
        [] ->
            ok
    end.

-spec place(edge() | process) -> lariat_addresses:place().
place(process) ->
    ?PROCESSES;
place(Edge) ->
    %% Not the whole row: this is asked for each receiver that comes or goes.
    try
        ets:lookup_element(?EDGES, Edge, 2)
    catch
        error:badarg -> take_place(Edge, ?PROCESSES + 1)
    end.

-spec take_place(edge(), lariat_addresses:place()) -> lariat_addresses:place().
take_place(Edge, Place) ->
    case ets:insert_new(?EDGES, {Place, Edge, none}) of
        true ->
            true = ets:insert(?EDGES, {Edge, Place, none}),
            Place;
        false ->
            take_place(Edge, Place + 1)
    end.

%% @doc Where an id has receivers, in no order. Of processes only their number: see `conns/2'.
-spec addresses(lariat_wire:id()) -> [address()].
addresses(Id) ->
    addressed(lariat_addresses:find(Id)).

-spec addressed([{lariat_addresses:place(), pos_integer()}]) -> [address()].
addressed([]) ->
    [];
addressed([{?PROCESSES, Receivers} | Others]) ->
    [{process, Receivers} | addressed(Others)];
addressed([{Place, Receivers} | Others]) ->
    case ets:lookup(?EDGES, Place) of
        [{_, Edge, Way}] -> [{Edge, Way, Receivers} | addressed(Others)];
        %% Just dropped.
        [] -> addressed(Others)
    end.

%% @doc How to send to an edge.
-spec way(edge()) -> way().
way(Edge) ->
    case edge(Edge) of
        {ok, #{module := Module} = Row} -> {Module, maps:get(credit, Row, none)};
        error -> none
    end.

%% @doc The receivers of an id, those of one edge next to each other.
-spec receivers(lariat_wire:id()) -> [{edge() | process, lariat_wire:conn()}].
receivers(Id) ->
    Edges = lists:sort([element(1, Address) || Address <- addresses(Id)]),
    [{Edge, Conn} || Edge <- Edges, Conn <- conns(Edge, Id)].

%% @doc The receivers of an id on one edge, sorted. Walks keys instead of matching a pattern: an id
%% may be any term, and atoms such as '_' mean something in patterns.
-spec conns(edge() | process, lariat_wire:id()) -> [lariat_wire:conn()].
conns(Edge, Id) ->
    %% Numbers sort before pids and tuples, so this comes before every key of Id.
    walk(Edge, Id, ets:next(?RECEIVERS, {Edge, Id, 0})).

-spec walk(edge() | process, lariat_wire:id(), term()) -> [lariat_wire:conn()].
walk(Edge, Id, {Edge, Id, Conn} = Key) ->
    [Conn | walk(Edge, Id, ets:next(?RECEIVERS, Key))];
walk(Edge, Id, {Edge, Other, _} = Key) when Other == Id ->
    walk(Edge, Id, ets:next(?RECEIVERS, Key));
walk(_, _, _) ->
    [].

%% @doc Exactly what the edge has according to us, sorted: to be compared with what it says.
-spec picture(edge() | process) -> [{lariat_wire:conn(), lariat_wire:id()}].
picture(Edge) ->
    Spec = [{{{Edge, '$1', '$2'}, '_'}, [], [{{'$2', '$1'}}]}],
    lists:sort(ets:select(?RECEIVERS, Spec)).

%% @doc Every receiver, sorted.
-spec all() -> [{lariat_wire:id(), edge() | process, lariat_wire:conn()}].
all() ->
    lists:sort(ets:select(?RECEIVERS, [{{{'$1', '$2', '$3'}, '_'}, [], [{{'$2', '$1', '$3'}}]}])).

%% @doc Number of receivers.
-spec count() -> non_neg_integer().
count() ->
    ets:info(?RECEIVERS, size).

%% @doc Number of receivers on one edge; takes time in proportion.
-spec count(edge() | process) -> non_neg_integer().
count(Edge) ->
    ets:select_count(?RECEIVERS, [{{{Edge, '_', '_'}, '_'}, [], [true]}]).

%% @doc One edge.
-spec edge(edge()) -> {ok, edge_row()} | error.
edge(Edge) ->
    case ets:lookup(?EDGES, Edge) of
        [{_, _, #{} = Row}] -> {ok, Row};
        _ -> error
    end.

%% @doc Every edge, and the module that knows how to speak to it.
-spec edges() -> [{edge(), module()}].
edges() ->
    [{Edge, Module} || {Edge, _, #{module := Module}} <- ets:tab2list(?EDGES)].

%% @doc Whether the picture of every edge is complete: an id that is not in it is nowhere.
-spec all_up() -> boolean().
all_up() ->
    ets:first(?MISSING) =:= '$end_of_table'.

%% @doc Every edge, how many connections of it we know, and how its credit is.
-spec summary() -> #{edge() => #{connections := non_neg_integer(), _ => _}}.
summary() ->
    maps:from_list([
        {Edge, Row#{
            connections => count(Edge),
            credit => lariat_credit:info(maps:get(credit, Row, none))
        }}
     || {Edge, _, #{} = Row} <- ets:tab2list(?EDGES)
    ]).

-spec drop_matching(ets:match_spec(), edge()) -> non_neg_integer().
drop_matching(Spec, Edge) ->
    drop_chunks(ets:select(?RECEIVERS, Spec, ?SWEEP_CHUNK), Edge, 0).

%% Deleting while selecting is safe in an ordered set.
-spec drop_chunks(
    '$end_of_table' | {[{lariat_wire:conn(), term()}], term()}, edge(), non_neg_integer()
) -> non_neg_integer().
drop_chunks('$end_of_table', _, Dropped) ->
    Dropped;
drop_chunks({Rows, Continuation}, Edge, Dropped) ->
    _ = [drop(Edge, Conn, Id) || {Conn, Id} <- Rows],
    drop_chunks(ets:select(Continuation), Edge, Dropped + length(Rows)).
