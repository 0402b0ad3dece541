%%% One connection, as `lariat' names it: messages to it alone, monitors, logins.
%%%
%%% An Erlang node, one edge of either kind. What a case does it does in one process on the node, as an
%%% application would; the clients are there, too. What Erlang itself does with the pids of a hidden node is
%%% `lariat_process_SUITE'.
-module(lariat_conns_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    messages/1,
    one_that_is_gone/1,
    monitors/1,
    reasons/1,
    order/1,
    logins/1,
    many_leave_at_once/1
]).

-import(lariat_conn, [in/2, raw/2, chunks/1, down/2, next/0, nothing/0]).
-import(lariat_well, [well/2]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        messages,
        one_that_is_gone,
        monitors,
        reasons,
        order,
        logins,
        many_leave_at_once
    ],
    lariat_pair:groups(Both, []).

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_group(Group, Config) ->
    lariat_pair:init_group(Group, Config).

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    lariat_pair:init_case(Config).

end_per_testcase(_Case, Config) ->
    lariat_pair:end_case(Config).

%% To one of two under the same id, to several, beside ids; with the fields of an event; and their ends.
messages(Config) ->
    on_the_node(Config, fun(#{http := Http} = Edge) ->
        {One, OneConn} = open(Edge, 1),
        {Two, TwoConn} = open(Edge, 1),
        {Three, _} = open(Edge, 3),
        ok = lariat:send(OneConn, ["for ", <<"one">>]),
        <<"for one">> = lariat_client:message(One),
        ok = lariat:send([OneConn, TwoConn], {text, "for both"}),
        [<<"for both">> = lariat_client:message(Stream) || Stream <- [One, Two]],
        ok = lariat:send([TwoConn, 3], "beside an id"),
        [<<"beside an id">> = lariat_client:message(Stream) || Stream <- [Two, Three]],
        {ok, 1} = lariat:call(TwoConn, "called"),
        <<"called">> = lariat_client:message(Two),
        Sse = raw(Http, 4),
        [SseConn] = conns(Edge, 4),
        ok = lariat:send(SseConn, "a\nb"),
        ok = lariat:send(SseConn, <<"c">>, #{event => "tick"}),
        ok = lariat:send(SseConn, "d", #{event => <<"tick">>, id => ["4", $2]}),
        {ok, 1} = lariat:close(SseConn, enough),
        ?assertEqual(
            <<"data: a\ndata: b\n\nevent: tick\ndata: c\n\nevent: tick\nid: 42\ndata: d\n\n">>,
            chunks(Sse)
        ),
        {ok, 2} = lariat:close([OneConn, TwoConn], bye),
        [closed = lariat_client:message(Stream) || Stream <- [One, Two]],
        lariat_client:nothing(Three)
    end).

%% Its slot is used again; what is meant for the old connection never reaches the new one.
one_that_is_gone(Config) ->
    on_the_node(Config, fun(Edge) ->
        {First, Gone} = open(Edge, 1),
        Monitor = lariat:monitor(Gone),
        {ok, 1} = lariat:call(Gone, <<"before">>),
        <<"before">> = lariat_client:message(First),
        lariat_client:close(First),
        client = down(Monitor, Gone),
        {Second, Conn} = open(Edge, 1),
        ?assertNotEqual(Gone, Conn),
        ok = lariat:send(Gone, <<"for nobody">>),
        ok = lariat:send([Gone], <<"for nobody">>, #{event => <<"e">>}),
        _ = lariat:close(Gone, for_nobody),
        noproc = down(lariat:monitor(Gone), Gone),
        ok = lariat:send(Conn, <<"fresh">>),
        <<"fresh">> = lariat_client:message(Second),
        lariat_client:nothing(Second)
    end).

%% Each is told once, in its own process; who does not want it any more is not.
monitors(Config) ->
    on_the_node(Config, fun(Edge) ->
        {Stream, Conn} = open(Edge, 1),
        {Still, StillConn} = open(Edge, 2),
        Monitors = [lariat:monitor(Conn) || _ <- [1, 2, 3]],
        Unwanted = lariat:monitor(Conn),
        Other = lariat:monitor(StillConn),
        true = lariat:demonitor(Unwanted),
        true = lariat:demonitor(Unwanted),
        Self = self(),
        Elsewhere = [
            spawn(fun() ->
                Ref = lariat:monitor(Conn),
                Self ! {self(), monitors},
                Self ! {self(), down(Ref, Conn)}
            end)
         || _ <- lists:seq(1, 10)
        ],
        [receive {Pid, monitors} -> ok end || Pid <- Elsewhere],
        %% One that ends before the connection does.
        {Brief, BriefRef} = spawn_monitor(fun() -> lariat:monitor(Conn) end),
        normal = down(BriefRef, Brief),
        {ok, 1} = lariat:call(Conn, <<"sync">>),
        <<"sync">> = lariat_client:message(Stream),
        lariat_client:close(Stream),
        [client = down(Monitor, Conn) || Monitor <- Monitors],
        [receive {Pid, Reason} -> ?assertEqual(client, Reason) end || Pid <- Elsewhere],
        noproc = down(lariat:monitor(Conn), Conn),
        nothing(),
        {ok, 1} = lariat:call(StillConn, <<"still">>),
        <<"still">> = lariat_client:message(Still),
        true = lariat:demonitor(Other),
        %% What has come is taken out of the mailbox.
        Come = lariat:monitor(Conn),
        noproc = down(lariat:monitor(Conn), Conn),
        true = lariat:demonitor(Come),
        nothing()
    end).

%% DOWN has the reason that the application gave, or what happened.
reasons(Config) ->
    on_the_node(Config, fun(#{name := Name} = Edge) ->
        Close = fun(Reason) -> fun(_, Conn) -> {ok, 1} = lariat:close(Conn, Reason) end end,
        Ends = [
            {client, fun(Stream, _) -> lariat_client:close(Stream) end},
            {normal, Close(normal)},
            {{any, <<"term">>, [1, 2]}, Close({any, <<"term">>, [1, 2]})},
            {reason_too_long, Close(lists:duplicate(2000, x))},
            {bye, fun(#{id := Id}, _) -> {ok, 1} = lariat:close(Id, bye) end},
            {protocol, fun(#{socket := Socket}, _) ->
                ok = gen_tcp:send(Socket, binary:copy(<<"x">>, 10000)) end},
            {drain, fun(_, _) -> {ok, _} = lariat_edge:call(Name, {close_all, 1000}, ?DEADLINE_MS) end}
        ],
        [
            begin
                {Stream, Conn} = open(Edge, Id),
                Monitor = lariat:monitor(Conn),
                %% The shard answers in order: it has the monitor.
                {ok, 1} = lariat:call(Conn, <<"before">>),
                <<"before">> = lariat_client:message(Stream),
                End(Stream, Conn),
                ?assertEqual(Reason, down(Monitor, Conn))
            end
         || {Id, {Reason, End}} <- lists:enumerate(Ends)
        ],
        nothing()
    end).

%% What one process says to one connection takes effect in that order, its end comes last.
order(Config) ->
    on_the_node(Config, fun(Edge) ->
        [
            begin
                {Stream, Conn} = open(Edge, Id),
                Monitor = lariat:monitor(Conn),
                [ok = lariat:send(Conn, integer_to_binary(N)) || N <- lists:seq(1, 20)],
                ok = lariat:send(Id, <<"by its id">>),
                {ok, 1} = lariat:close(Conn, Id),
                [
                    ?assertEqual(integer_to_binary(N), lariat_client:message(Stream))
                 || N <- lists:seq(1, 20)
                ],
                <<"by its id">> = lariat_client:message(Stream),
                closed = lariat_client:message(Stream),
                Id = down(Monitor, Conn)
            end
         || Id <- lists:seq(1, 50)
        ]
    end).

%% A connection is a receiver under another id like any process, until it is closed.
logins(Config) ->
    on_the_node(Config, fun(Edge) ->
        {Stream, Conn} = open(Edge, 1),
        {Other, OtherConn} = open(Edge, 2),
        ok = lariat:login(<<"alice">>, Conn),
        ok = lariat:login(<<"alice">>, OtherConn),
        ok = lariat:login(<<"alice">>, self()),
        ?assertEqual(
            lists:sort([Conn, OtherConn, self()]), lists:sort(lariat:connections(<<"alice">>))
        ),
        ok = lariat:send(<<"alice">>, <<"Hello">>),
        [<<"Hello">> = lariat_client:message(One) || One <- [Stream, Other]],
        <<"Hello">> = next(),
        ok = lariat:send(<<"alice">>, <<"news">>, #{event => <<"e">>}),
        [<<"news">> = lariat_client:message(One) || One <- [Stream, Other]],
        {event, <<"e">>, <<"news">>} = next(),
        lariat_client:close(Other),
        alone([Conn, self()]),
        %% One that is gone before it logs in is out at once.
        ok = lariat:login(<<"alice">>, OtherConn),
        alone([Conn, self()]),
        ok = lariat:logout(Conn),
        alone([self()]),
        ok = lariat:login(<<"alice">>, Conn),
        {ok, 2} = lariat:close(<<"alice">>, bye),
        closed = lariat_client:message(Stream),
        {close, bye} = next(),
        alone([self()]),
        ok = lariat:logout(self())
    end).

%% Every one of them is told once.
many_leave_at_once(Config) ->
    on_the_node(Config, fun(Edge) ->
        Opened = [open(Edge, Id) || Id <- lists:seq(1, 300)],
        Monitors = [{lariat:monitor(Conn), Conn} || {_, Conn} <- Opened, _ <- [1, 2]],
        {ok, 300} = lariat:close(lists:seq(1, 300), bye),
        [bye = down(Monitor, Conn) || {Monitor, Conn} <- Monitors],
        [closed = lariat_client:message(Stream) || {Stream, _} <- Opened],
        nothing()
    end).

%% The case in a process on the node; afterwards both sides are well.
on_the_node(Config, Case) ->
    {Edge, App} = lariat_pair:start(Config, #{}),
    _ = in(App, fun() -> Case(Edge) end),
    well(App, Edge).

%% Its connection is known to the router, too.
open(#{http := Http} = Edge, Id) ->
    Before = conns(Edge, Id),
    Stream = lariat_client:open(Http, Id, chunked),
    [Conn] = conns(Edge, Id) -- Before,
    Known = fun() -> lists:member(Conn, lariat:connections(Id)) end,
    true = lariat_site:await(Known, {connection, Id}),
    {Stream, Conn}.

conns(#{name := Name}, Id) ->
    {ok, Conns} = lariat_edge:call(Name, {connections, Id}, ?DEADLINE_MS),
    Conns.

alone(Conns) ->
    Sorted = lists:sort(Conns),
    lariat_site:await(
        fun() -> lists:sort(lariat:connections(<<"alice">>)) =:= Sorted end, {receivers, Conns}
    ).
