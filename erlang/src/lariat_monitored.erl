%%% The connections that have a monitor here, and whose.
%%%
%%% Pure: a value in, a value and effects out. `lariat_monitors' executes the effects, in order.
%%%
%%% Each monitor has a reference of its own; a connection is watched at the edge once, and a watcher's
%%% end is looked out for once, however many monitors there are. What nobody wants any more leaves
%%% nothing behind.
-module(lariat_monitored).

-export([new/1, add/4, remove/2, gone/3, edge_gone/3, ended/2, count/1, count/2]).

-export_type([t/0, effect/0]).

-record(monitors, {
    max :: non_neg_integer(),
    refs = #{} :: #{reference() => {lariat_wire:conn(), pid()}},
    conns = #{} :: #{lariat_wire:conn() => refs()},
    watchers = #{} :: #{pid() => refs()}
}).

%% As keys: one connection may have all the monitors that there are.
-type refs() :: #{reference() => []}.

-opaque t() :: #monitors{}.

-type effect() ::
    %% The edge is to tell when it is gone; and no longer.
    {watch | unwatch, lariat_wire:conn()}
    %% The end of this process is to be told to `ended/2'; and no longer.
    | {look_out | look_away, pid()}
    %% Whoever has this reference is to hear it.
    | {tell, reference(), lariat_wire:conn(), Reason :: term()}.

%% @doc None yet, and never more than `Max'.
-spec new(non_neg_integer()) -> t().
new(Max) -> #monitors{max = Max}.

%% @doc How many there are.
-spec count(t()) -> non_neg_integer().
count(#monitors{refs = Refs}) -> map_size(Refs).

%% @doc One more. Past the limit it is told `system_limit' at once.
-spec add(reference(), pid(), lariat_wire:conn(), t()) -> {[effect()], t()}.
add(Ref, _, Conn, #monitors{refs = Refs, max = Max} = Monitors) when map_size(Refs) >= Max ->
    {[{tell, Ref, Conn, system_limit}], Monitors};
add(Ref, Watcher, Conn, #monitors{refs = Refs, conns = Conns, watchers = Watchers} = Monitors) ->
    Effects =
        [{look_out, Watcher} || not is_map_key(Watcher, Watchers)] ++
            [{watch, Conn} || not is_map_key(Conn, Conns)],
    {Effects, Monitors#monitors{
        refs = Refs#{Ref => {Conn, Watcher}},
        conns = with(Ref, Conn, Conns),
        watchers = with(Ref, Watcher, Watchers)
    }}.

%% @doc It is not wanted any more; or is of another edge, or has been told.
-spec remove(reference(), t()) -> {[effect()], t()}.
remove(Ref, #monitors{refs = Refs, conns = Conns, watchers = Watchers} = Monitors) ->
    case maps:take(Ref, Refs) of
        {{Conn, Watcher}, OtherRefs} ->
            OtherConns = without(Ref, Conn, Conns),
            OtherWatchers = without(Ref, Watcher, Watchers),
            Effects =
                [{unwatch, Conn} || not is_map_key(Conn, OtherConns)] ++
                    [{look_away, Watcher} || not is_map_key(Watcher, OtherWatchers)],
            {Effects, Monitors#monitors{
                refs = OtherRefs, conns = OtherConns, watchers = OtherWatchers
            }};
        error ->
            {[], Monitors}
    end.

%% @doc A connection is gone; who has asked is told. The edge watches it no longer by itself.
-spec gone(lariat_wire:conn(), Reason :: term(), t()) -> {[effect()], t()}.
gone(Conn, Reason, #monitors{conns = Conns} = Monitors) ->
    Refs = maps:keys(maps:get(Conn, Conns, #{})),
    {Effects, Others} = remove_all(Refs, Monitors),
    {[{tell, Ref, Conn, Reason} || Ref <- Refs] ++ Effects -- [{unwatch, Conn}], Others}.

%% @doc An edge is gone, and with it every connection of it.
-spec edge_gone(lariat_picture:edge(), Reason :: term(), t()) -> {[effect()], t()}.
edge_gone(Edge, Reason, Monitors) ->
    {Effects, Others} = lists:mapfoldl(
        fun(Conn, Rest) -> gone(Conn, Reason, Rest) end, Monitors, conns_of(Edge, Monitors)
    ),
    {lists:append(Effects), Others}.

%% @doc How many there are of connections of one edge; takes time in proportion to all.
-spec count(lariat_picture:edge(), t()) -> non_neg_integer().
count(Edge, #monitors{conns = Conns} = Monitors) ->
    lists:sum([map_size(maps:get(Conn, Conns)) || Conn <- conns_of(Edge, Monitors)]).

-spec conns_of(lariat_picture:edge(), t()) -> [lariat_wire:conn()].
conns_of(Edge, #monitors{conns = Conns}) ->
    [Conn || {lariat_conn, Of, _, _} = Conn <- maps:keys(Conns), Of =:= Edge].

%% @doc A watcher has ended.
-spec ended(pid(), t()) -> {[effect()], t()}.
ended(Watcher, #monitors{watchers = Watchers} = Monitors) ->
    {Effects, Others} = remove_all(maps:keys(maps:get(Watcher, Watchers, #{})), Monitors),
    {Effects -- [{look_away, Watcher}], Others}.

-spec remove_all([reference()], t()) -> {[effect()], t()}.
remove_all(Refs, Monitors) ->
    {Effects, Others} = lists:mapfoldl(fun remove/2, Monitors, Refs),
    {lists:append(Effects), Others}.

-spec with(reference(), Key, #{Key => refs()}) -> #{Key => refs()}.
with(Ref, Key, Map) ->
    Map#{Key => (maps:get(Key, Map, #{}))#{Ref => []}}.

-spec without(reference(), Key, #{Key => refs()}) -> #{Key => refs()}.
without(Ref, Key, Map) ->
    #{Key := Refs} = Map,
    case maps:remove(Ref, Refs) of
        Others when map_size(Others) =:= 0 -> maps:remove(Key, Map);
        Others -> Map#{Key := Others}
    end.
