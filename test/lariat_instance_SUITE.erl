%%% The life of an edge in the VM, as Erlang sees it: attaching, mistakes, crashes, limits, letting go.
%%%
%%% On an Erlang node of each case's own, which is not distributed. What the edge does with connections is for
%%% the suites of both kinds of edges.
-module(lariat_instance_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    attach_and_detach/1,
    several/1,
    each_has_its_log/1,
    mistakes/1,
    a_mistake_stops_the_start/1,
    a_crash_is_told_and_mended/1,
    a_crash_of_the_supervisor_is_mended/1,
    a_port_in_use_is_tried_again/1,
    a_crash_of_the_link_keeps_the_connections/1,
    a_crash_of_the_monitors_is_told/1,
    monitors_are_bounded/1,
    stopping_closes_all/1
]).

-export([handle/1, log/2]).

-import(lariat_conn, [in/2, down/2, nothing/0]).
-import(lariat_site, [await/2]).

-define(EDGE, live).
-define(INSTANCE, lariat_edge_instance_live).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    [
        attach_and_detach,
        several,
        each_has_its_log,
        mistakes,
        a_mistake_stops_the_start,
        a_crash_is_told_and_mended,
        a_crash_of_the_supervisor_is_mended,
        a_port_in_use_is_tried_again,
        a_crash_of_the_link_keeps_the_connections,
        a_crash_of_the_monitors_is_told,
        monitors_are_bounded,
        stopping_closes_all
    ].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_testcase(_Case, Config) ->
    Site = lariat_site:start_alone(proplists:get_value(priv_dir, Config)),
    [{site, Site} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(proplists:get_value(site, Config)).

attach_and_detach(Config) ->
    on_a_node(Config, [], [], fun() ->
        ?assertEqual({error, no_such_edge}, lariat:detach(?EDGE)),
        ?assertEqual({error, no_such_edge}, lariat:info(?EDGE)),
        [
            begin
                Port = attached(#{nif => ?EDGE, config => config(0)}),
                ?assertEqual({error, already_attached}, lariat:attach(#{nif => ?EDGE})),
                {Stream, Conn} = open(Port, 1),
                ok = lariat:send(1, <<"hello">>),
                <<"hello">> = lariat_client:message(Stream),
                ?assertMatch({ok, #{connected := true, connections := 1, owners := 1}}, lariat:info(?EDGE)),
                ok = lariat:detach(?EDGE),
                closed = lariat_client:message(Stream),
                ?assertEqual({error, noconnection}, lariat:send(Conn, <<"x">>)),
                ?assertEqual([], lariat:connections(1)),
                ?assertEqual(undefined, whereis(?INSTANCE)),
                ?assertMatch({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, []))
            end
         || _ <- [1, 2, 3]
        ]
    end).

%% Two in one VM do not know each other's connections.
several(Config) ->
    on_a_node(Config, [], [], fun() ->
        Ports = [attached(#{nif => Name, config => config(0)}) || Name <- [one, two]],
        [{OneStream, One}, {TwoStream, Two}] = [open(Port, 1) || Port <- Ports],
        ?assertEqual(lists:sort([One, Two]), lists:sort(lariat:connections(1))),
        ok = lariat:send(1, <<"both">>),
        [<<"both">> = lariat_client:message(Stream) || Stream <- [OneStream, TwoStream]],
        ok = lariat:send(Two, <<"two">>),
        <<"two">> = lariat_client:message(TwoStream),
        {ok, 2} = lariat:call(1, <<"called">>),
        [<<"called">> = lariat_client:message(Stream) || Stream <- [OneStream, TwoStream]],
        Monitors = [{lariat:monitor(Conn), Conn} || Conn <- [One, Two]],
        ok = lariat:detach(two),
        [{Still, One}, {Gone, Two}] = Monitors,
        shutdown = down(Gone, Two),
        lariat_client:nothing(OneStream),
        lariat_client:close(OneStream),
        client = down(Still, One)
    end).

%% Whoever was started last: what an edge says is said by its own process.
each_has_its_log(Config) ->
    on_a_node(Config, [], [], fun() ->
        true = register(logged, self()),
        ok = logger:set_primary_config(level, info),
        ok = logger:add_handler(?MODULE, ?MODULE, #{}),
        Names = [one, two, three],
        Ports = [{Name, attached(#{nif => Name, config => config(0)})} || Name <- Names],
        [said(Name, "limits") || Name <- Names],
        %% By the workers of its runtime, on the threads of its shards, by the caller.
        {ok, _} = lariat:reload(two),
        said(two, "config reloaded"),
        {Stream, _} = open(proplists:get_value(one, Ports), 1),
        ok = lariat:drain(one),
        said(one, "drained: all connections have left"),
        closed = lariat_client:message(Stream),
        ok = lariat:drain(three),
        said(three, "drained: all connections have left"),
        {ok, _} = lariat:reload(two),
        said(two, "config reloaded"),
        %% And nothing by another.
        nothing_said()
    end).

log(#{meta := #{edge := Edge}, msg := {Format, Args}}, _) when is_list(Format) ->
    logged ! {said, Edge, lists:flatten(io_lib:format(Format, Args))},
    ok;
log(_, _) ->
    ok.

%% What its edge says, until it says this.
said(Edge, Text) ->
    receive
        {said, Edge, Said} ->
            case string:find(Said, Text) of
                nomatch -> said(Edge, Text);
                _ -> ok
            end
    after ?DEADLINE_MS -> error({not_said, Edge, Text, process_info(self(), messages)})
    end.

%% Of what makes one believe that it is of that edge: reloads and drains.
nothing_said() ->
    receive
        {said, _, "config reloaded" ++ _ = Said} -> error({said_twice, Said});
        {said, _, "drain" ++ _ = Said} -> error({said_twice, Said});
        {said, _, _} -> nothing_said()
    after 0 -> ok
    end.

%% What is wrong, and where.
mistakes(Config) ->
    on_a_node(Config, [], [], fun() ->
        Taken = attached(#{nif => ?EDGE, config => config(0)}),
        Says = fun(Word, Given) ->
            {error, {not_started, Why}} = lariat:attach(#{nif => bad, config => Given}),
            ?assert(is_binary(Why)),
            ?assertNotEqual(nomatch, string:find(Why, Word), Why)
        end,
        Says("http.lisen", #{http => #{lisen => []}}),
        Says("shards", #{shards => <<"many">>}),
        Says("cookie_file", #{cookie_file => <<"x">>}),
        Says("no_such_file.toml", "/no/no_such_file.toml"),
        Says("in use", config(Taken)),
        ?assertMatch({error, {bad_edge, {nif, 5, _}}}, lariat:attach(#{nif => 5})),
        ?assertMatch({error, {bad_edge, {config, 5, _}}}, lariat:attach(#{nif => bad, config => 5})),
        %% Nothing of them is left.
        #{edges := Edges} = lariat:info(),
        ?assertEqual([?EDGE], maps:keys(Edges))
    end).

%% As for any other edge: a mistake is seen at the start, not in the traffic.
a_mistake_stops_the_start(Config) ->
    on_a_node(Config, [], [], fun() ->
        ok = application:stop(lariat),
        Start = fun(Edge) ->
            ok = application:set_env(lariat, edge, Edge),
            {error, Why} = application:start(lariat),
            lists:flatten(io_lib:format("~0p", [Why]))
        end,
        ?assertNotEqual(nomatch, string:find(Start(#{nif => ?EDGE, config => #{htp => #{}}}), "htp")),
        ?assertNotEqual(nomatch, string:find(Start(#{nif => ?EDGE, conf => #{}}), "unknown_key")),
        ok = application:set_env(lariat, edge, #{nif => ?EDGE, config => config(0)}),
        ok = application:start(lariat),
        _ = port(?EDGE)
    end).

%% All its connections go, and everybody hears of it; it is back by itself.
a_crash_is_told_and_mended(Config) ->
    Env = [{handlers, [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}]}],
    on_a_node(Config, [], Env, fun() ->
        true = register(told, self()),
        Route = #{path => <<"/ask/{id}">>, kind => <<"stream">>, access => <<"ask">>, handler => <<"h">>},
        Port = free_port(),
        #{http := Http} = Settings = config(Port),
        %% One shard, so that the next connection has the same slot.
        attached(#{nif => ?EDGE, config => Settings#{shards := 1, http := Http#{route => [Route]}}}),
        {Stream, _} = lariat_client:open(Port, "/ask/1", chunked, ""),
        [Conn] = known(1),
        Monitor = lariat:monitor(Conn),
        ok = lariat:login(other, Conn),
        First = whereis(?INSTANCE),
        exit(First, kill),
        noconnection = down(Monitor, Conn),
        closed = lariat_client:message(Stream),
        %% Once, by the edge's last words, or by the first of the next one.
        receive
            {handled, Conn, Why} -> ?assert(lists:member(Why, [shutdown, noconnection]))
        after ?DEADLINE_MS -> error(not_told)
        end,
        await(fun() -> lariat:connections(other) =:= [] end, logged_out),
        Again = fun() ->
            case lariat_edge_instance:running(?EDGE) of
                {_, Pid} -> Pid =/= First;
                none -> false
            end
        end,
        await(Again, another_life),
        await(fun() -> lariat:connections(1) =:= [] andalso state(?EDGE) =:= up end, up),
        {New, _} = lariat_client:open(Port, "/ask/2", chunked, ""),
        [{lariat_conn, ?EDGE, 0, _}] = known(2),
        {lariat_conn, ?EDGE, 0, _} = Conn,
        noproc = down(lariat:monitor(Conn), Conn),
        ok = lariat:send(Conn, <<"for nobody">>),
        ok = lariat:send(2, <<"again">>),
        <<"again">> = lariat_client:message(New)
    end).

handle({init, #{path := <<"/ask/", Id/binary>>}}) -> {accept, lariat_wire:id_from_text(Id), #{}};
handle({closed, #{conn := Conn}, Reason}) -> told ! {handled, Conn, Reason}.

%% Edges of the environment are there again, at the same place, though those before them need time to stop.
a_crash_of_the_supervisor_is_mended(Config) ->
    Ports = [{Name, free_port()} || Name <- [one, two]],
    Edges = [#{nif => Name, config => config(Port)} || {Name, Port} <- Ports],
    on_a_node(Config, Edges, [], fun() ->
        Opened = [
            begin
                Port = port(Name),
                [open(Port, Port + Id) || Id <- lists:seq(1, 200)]
            end
         || {Name, Port} <- Ports
        ],
        Before = whereis(lariat_edge_sup),
        exit(Before, kill),
        [closed = lariat_client:message(Stream) || {Stream, _} <- lists:append(Opened)],
        await(fun() -> not lists:member(whereis(lariat_edge_sup), [undefined, Before]) end, supervisor),
        [
            begin
                await(fun() -> state(Name) =:= up andalso lariat:connections(Port + 1) =:= [] end, {up, Name}),
                {Stream, _} = open(Port, Port),
                ok = lariat:send(Port, <<"again">>),
                <<"again">> = lariat_client:message(Stream)
            end
         || {Name, Port} <- Ports
        ]
    end).

a_port_in_use_is_tried_again(Config) ->
    on_a_node(Config, [], [], fun() ->
        Port = free_port(),
        attached(#{nif => ?EDGE, config => config(Port)}),
        %% Between two lives of the edge somebody else has the port.
        ok = sys:suspend(lariat_edge_sup),
        exit(whereis(?INSTANCE), kill),
        {ok, Thief} = listening(Port),
        ok = sys:resume(lariat_edge_sup),
        await(fun() -> state(?EDGE) =:= down end, down),
        ?assertEqual({error, noconnection}, lariat:send(1, <<"x">>)),
        ok = gen_tcp:close(Thief),
        await(fun() -> state(?EDGE) =:= up end, up),
        {Stream, _} = open(Port, 1),
        ok = lariat:send(1, <<"back">>),
        <<"back">> = lariat_client:message(Stream)
    end).

a_crash_of_the_link_keeps_the_connections(Config) ->
    on_a_node(Config, [], [], fun() ->
        Port = attached(#{nif => ?EDGE, config => config(0)}),
        {Stream, Conn} = open(Port, 1),
        #{attaches := Attaches} = counters(),
        exit(link_of(?EDGE), kill),
        ok = lariat:send(1, <<"meanwhile">>),
        <<"meanwhile">> = lariat_client:message(Stream),
        await(fun() -> maps:get(attaches, counters()) > Attaches andalso state(?EDGE) =:= up end, up),
        ?assertEqual([Conn], lariat:connections(1)),
        {_, Other} = open(Port, 2),
        await(fun() -> lariat:connections(2) =:= [Other] end, other),
        %% The edge has forgotten the owner that ended.
        await(
            fun() ->
                {ok, #{owners := Owners}} = lariat:info(?EDGE),
                Owners =:= 1
            end,
            one_owner
        )
    end).

%% Only then the DOWN names no connection; the reference is the one that was asked for.
a_crash_of_the_monitors_is_told(Config) ->
    on_a_node(Config, [], [], fun() ->
        Port = attached(#{nif => ?EDGE, config => config(0)}),
        {Stream, Conn} = open(Port, 1),
        Monitor = lariat:monitor(Conn),
        ok = lariat:login(alice, Conn),
        Server = whereis(lariat_monitors),
        exit(Server, kill),
        killed = down(Monitor, Server),
        await(fun() -> whereis(lariat_monitors) =/= undefined end, monitors),
        await(fun() -> lariat:connections(alice) =:= [] end, logged_out),
        Again = lariat:monitor(Conn),
        ok = lariat:send(Conn, <<"still">>),
        <<"still">> = lariat_client:message(Stream),
        lariat_client:close(Stream),
        client = down(Again, Conn)
    end).

monitors_are_bounded(Config) ->
    on_a_node(Config, [], [{monitors_max, 100}], fun() ->
        Port = attached(#{nif => ?EDGE, config => config(0)}),
        {Stream, Conn} = open(Port, 1),
        [First | Others] = [lariat:monitor(Conn) || _ <- lists:seq(1, 100)],
        system_limit = down(lariat:monitor(Conn), Conn),
        ?assertMatch(#{monitors_refused := 1}, counters()),
        ?assertMatch({ok, #{monitors := 100}}, lariat:info(?EDGE)),
        true = lariat:demonitor(First),
        Last = lariat:monitor(Conn),
        %% Who ends gives back what it had.
        lariat_client:close(Stream),
        [client = down(Monitor, Conn) || Monitor <- [Last | Others]],
        {_, Other} = open(Port, 2),
        {Watcher, Ended} = spawn_monitor(fun() -> [lariat:monitor(Other) || _ <- lists:seq(1, 100)] end),
        receive {'DOWN', Ended, process, Watcher, normal} -> ok end,
        await(fun() -> {ok, #{monitors := N}} = lariat:info(?EDGE), N =:= 0 end, none),
        nothing()
    end).

%% In order: who holds a connection hears the end of its body.
stopping_closes_all(Config) ->
    on_a_node(Config, [], [], fun() ->
        Port = attached(#{nif => ?EDGE, config => config(0)}),
        Opened = [open(Port, Id) || Id <- lists:seq(1, 200)],
        Monitors = [{lariat:monitor(Conn), Conn} || {_, Conn} <- Opened],
        ok = application:stop(lariat),
        [closed = lariat_client:message(Stream) || {Stream, _} <- Opened],
        [
            receive
                {'DOWN', Monitor, process, _, drain} -> ok
            after ?DEADLINE_MS -> error({no_down, Conn})
            end
         || {Monitor, Conn} <- Monitors
        ]
    end).

%% In a process on an Erlang node that is not distributed.
on_a_node(Config, Edges, Environment, Case) ->
    App = lariat_site:erlang(proplists:get_value(site, Config), "app", Edges, Environment),
    _ = in(App, Case),
    ok.

config(Port) ->
    Address = iolist_to_binary(["127.0.0.1:", integer_to_binary(Port)]),
    #{shards => 2, http => #{listen => [Address]}}.

attached(#{nif := Edge} = Config) ->
    ok = lariat:attach(Config),
    port(Edge).

port(Edge) ->
    await(fun() -> state(Edge) =:= up end, {up, Edge}),
    {ok, #{http_addresses := [Address]}} = lariat:info(Edge),
    [_, Port] = binary:split(Address, <<":">>),
    binary_to_integer(Port).

open(Port, Id) ->
    Before = lariat:connections(Id),
    Stream = lariat_client:open(Port, Id, chunked),
    [Conn] = await(
        fun() ->
            case lariat:connections(Id) -- Before of
                [] -> false;
                New -> New
            end
        end,
        {connection, Id}
    ),
    {Stream, Conn}.

known(Id) ->
    await(fun() -> Conns = lariat:connections(Id), Conns =/= [] andalso Conns end, {connection, Id}).

state(Edge) ->
    #{edges := #{Edge := #{state := State}}} = lariat:info(),
    State.

link_of(Edge) ->
    #{edges := #{Edge := #{link := Link}}} = lariat:info(),
    Link.

counters() ->
    maps:get(counters, lariat:info()).

free_port() -> lariat_site:free_port().

%% Until the old edge has let go of it.
listening(Port) ->
    await(
        fun() ->
            case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
                {ok, _} = Listening -> Listening;
                {error, eaddrinuse} -> false
            end
        end,
        {port, Port}
    ).
