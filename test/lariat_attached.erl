%%% Erlang nodes with the application, attached to their edges, and what they know of them.
%%%
%%% For suites about the application; it waits for what is bound to happen, and asserts nothing.
-module(lariat_attached).

-export([attached/3, attached/4, up/2, seen/2, counters/1]).

-import(lariat_site, [call/4, await/2]).

%% @doc A node that is attached to all of these edges, each as the application's environment has it.
-spec attached(lariat_site:site(), string(), [node() | map()]) -> lariat_site:erlang().
attached(Site, Name, Edges) ->
    attached(Site, Name, Edges, []).

%% @doc The same with more of the application's environment.
-spec attached(lariat_site:site(), string(), [node() | map()], [{atom(), term()}]) ->
    lariat_site:erlang().
attached(Site, Name, Edges, Environment) ->
    App = lariat_site:erlang(Site, Name, Edges, Environment),
    [up(App, node_of(Edge)) || Edge <- Edges],
    App.

%% @doc Waits until the node has this edge's connections.
-spec up(lariat_site:erlang(), node()) -> true.
up(App, Node) ->
    await(
        fun() ->
            #{edges := #{Node := #{state := State}}} = call(App, lariat, info, []),
            State =:= up
        end,
        {up, Node}
    ).

%% @doc Waits until the router knows exactly this many connections.
-spec seen(lariat_site:erlang(), non_neg_integer()) -> true.
seen(App, Count) ->
    await(fun() -> call(App, lariat_picture, count, []) =:= Count end, {seen, Count}).

%% @doc The counters of the application.
-spec counters(lariat_site:erlang()) -> #{atom() => integer()}.
counters(App) ->
    maps:get(counters, call(App, lariat, info, [])).

node_of(#{node := Node}) -> Node;
node_of(#{nif := Name}) -> Name;
node_of(Node) -> Node.
