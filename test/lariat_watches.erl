%%% Monitored connections, made and dropped by the thousand: every DOWN arrives once, and the memory
%%% of the edge returns to where it was.
%%%
%%% The load generator holds the connections in a process of its own, because each end of them takes an
%%% open file. Used by the suite at a small size and by the bench at the full one.
-module(lariat_watches).

-export([rounds/3, main/1]).
%% Called on the Erlang node.
-export([round/3]).

-include_lib("stdlib/include/assert.hrl").

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% Addresses that the generator connects from: the ports of each wait a minute before they are free again
%% (TIME_WAIT), and a dozen rounds use more than one address has.
-define(SOURCES, "8").

%% The edge gives memory back when a wave of this size has left, and counts how often it did.
-define(WAVE, 4096).
-define(TRIMS, <<"lariat_memory_trims_total">>).

%% What may stay: the blocks that a link reads into (1 MiB), the memory that queues and batches keep for
%% the next burst, and what the allocator keeps for each thread.
-define(KEPT_KB, 4096).

%% @doc Runs this many rounds of this many connections; answers what was counted. Fails when a DOWN is
%% missing, and when the edge still watches something at the end.
-spec rounds(lariat_site:edge(), lariat_site:erlang(), #{atom() => pos_integer()}) ->
    #{atom() => term()}.
rounds(#{http := Http, node := Node} = Edge, App, #{connections := Count, rounds := Rounds}) ->
    Before = lariat_site:memory_kb(<<"RssAnon">>, Edge),
    Results = [
        begin
            Trims = lariat_site:metric(Edge, ?TRIMS),
            Reasons = lariat_site:call(App, ?MODULE, round, [Node, Http, Count]),
            unwatched(Edge),
            Count < ?WAVE orelse
                lariat_site:await(fun() -> lariat_site:metric(Edge, ?TRIMS) > Trims end, given_back),
            {Reasons, lariat_site:memory_kb(<<"RssAnon">>, Edge)}
        end
     || _ <- lists:seq(1, Rounds)
    ],
    #{
        downs => lists:sum([length(Reasons) || {Reasons, _} <- Results]),
        reasons => lists:usort(lists:append([Reasons || {Reasons, _} <- Results])),
        anonymous_kb_before => Before,
        resident_kb_at_most => lariat_site:memory_kb(<<"VmHWM">>, Edge),
        anonymous_kb_after_each => [Kb || {_, Kb} <- Results]
    }.

%% @doc One round: connections come, are monitored, go. The reasons of their DOWNs.
-spec round(node(), inet:port_number(), pos_integer()) -> [term()].
round(Node, Http, Count) ->
    Load = load(Http, Count),
    Monitors = maps:from_list([
        {monitor(process, Pid), Pid}
     || Id <- lists:seq(1, Count), Pid <- pids(Node, Id)
    ]),
    Count = map_size(Monitors),
    %% A monitor has no answer, and one that comes after the end is told noproc. A call about the same
    %% id goes the same way behind it: once it is answered, the monitor is there.
    [[_] = pids(Node, Id) || Id <- lists:seq(1, Count)],
    %% Its standard input ends, and it lets all of them go.
    true = port_close(Load),
    downs(Monitors, []).

%% @doc For the bench: connections at a time, rounds, directory.
-spec main([string()]) -> no_return().
main([Count, Rounds, Dir]) ->
    Size = #{connections => list_to_integer(Count), rounds => list_to_integer(Rounds)},
    Site = lariat_site:start(Dir),
    Edge = lariat_site:edge(Site, "lariat"),
    App = lariat_site:erlang(Site, "app"),
    #{downs := Downs, anonymous_kb_before := Before, anonymous_kb_after_each := After} = Result =
        rounds(Edge, App, Size),
    ?assertEqual(maps:get(connections, Size) * maps:get(rounds, Size), Downs),
    ?assert(lists:last(After) =< Before + ?KEPT_KB, {stays, Before, After}),
    lariat_site:stop(Site),
    io:format("~0p~n", [maps:merge(Size, Result)]),
    halt(0).

downs(Monitors, Reasons) when map_size(Monitors) =:= 0 ->
    Reasons;
downs(Monitors, Reasons) ->
    receive
        {'DOWN', Monitor, process, Pid, Reason} when map_get(Monitor, Monitors) =:= Pid ->
            downs(maps:remove(Monitor, Monitors), [Reason | Reasons])
    after ?DEADLINE_MS -> error({missing, map_size(Monitors), of_these, length(Reasons)})
    end.

pids(Node, Id) ->
    {ok, Pids} = gen_server:call({lariat, Node}, {connections, Id}, ?DEADLINE_MS),
    Pids.

load(Http, Count) ->
    Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
    Port = open_port({spawn_executable, lariat_site:tools()}, [
        {args, ["load", "--url", Url, "--connections", integer_to_list(Count),
            "--source-addresses", ?SOURCES, "--until-stdin-closes"]},
        binary, {line, 65536}, stderr_to_stdout
    ]),
    receive
        {Port, {data, {_, <<"{\"event\":\"connected\"", _/binary>>}}} -> Port
    after ?DEADLINE_MS -> error(not_connected)
    end.

unwatched(Edge) ->
    lariat_site:await(
        fun() -> lariat_site:metric(Edge, <<"lariat_dist_watches">>) =:= 0 end, unwatched
    ).

