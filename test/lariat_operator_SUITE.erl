%%% What an operator does with an edge in the VM: give it another config, another certificate, and have it
%%% take its leave.
%%%
%%% On an Erlang node of each case's own, which is not distributed. What the same does to a hidden node is told
%%% by signals, and tested with the program (`test/reload.rs', `test/drain.rs'); which keys may change is the
%%% config's own test.
-module(lariat_operator_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_file_is_read_again/1,
    what_is_wrong_changes_nothing/1,
    what_needs_a_new_start_is_named/1,
    a_new_config_outlives_a_crash/1,
    certificates_are_read_again/1,
    connections_leave_at_a_rate/1,
    readiness_turns_first/1,
    at_the_deadline_the_rest_is_cut/1,
    stopping_the_application_drains/1,
    the_end_of_the_vm_drains/1,
    others_are_told_elsewhere/1
]).

-import(lariat_conn, [in/2]).
-import(lariat_site, [await/2]).

-define(EDGE, live).
-define(INSTANCE, lariat_edge_instance_live).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    [
        a_file_is_read_again,
        what_is_wrong_changes_nothing,
        what_needs_a_new_start_is_named,
        a_new_config_outlives_a_crash,
        certificates_are_read_again,
        connections_leave_at_a_rate,
        readiness_turns_first,
        at_the_deadline_the_rest_is_cut,
        stopping_the_application_drains,
        the_end_of_the_vm_drains,
        others_are_told_elsewhere
    ].

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) ->
    Site = lariat_site:start_alone(proplists:get_value(priv_dir, Config)),
    [{site, Site} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(proplists:get_value(site, Config)).

%% Limits and routes change under a stream that notices nothing.
a_file_is_read_again(Config) ->
    on_a_node(Config, fun() ->
        File = file(Config, "connections_max = 1\n"),
        Port = attached(File),
        Stream = lariat_client:open(Port, 1, chunked),
        await(fun() -> status(Port, "/stream/2") =:= 503 end, limit),
        File = file(Config, "connections_max = 3\n[[http.route]]\npath = \"/new/{id}\"\n"),
        {ok, Reloaded} = lariat:reload(?EDGE),
        ?assertEqual(
            #{
                changed => [<<"http.connections_max">>, <<"http.route">>],
                kept => [],
                certificates => 0
            },
            Reloaded
        ),
        404 = status(Port, "/stream/2"),
        {_, _} = lariat_client:open(Port, "/new/2", chunked, ""),
        await(fun() -> lariat:connections(1) =/= [] end, known),
        ok = lariat:send(1, <<"still">>),
        <<"still">> = lariat_client:message(Stream),
        {ok, #{changed := []}} = lariat_edge_nif:reload(?EDGE)
    end).

what_is_wrong_changes_nothing(Config) ->
    on_a_node(Config, fun() ->
        File = file(Config, "connections_max = 1\n"),
        Port = attached(File),
        _ = lariat_client:open(Port, 1, chunked),
        await(fun() -> status(Port, "/stream/2") =:= 503 end, limit),
        Says = fun(Word, {error, Text}) ->
            ?assert(is_binary(Text)),
            ?assertNotEqual(nomatch, string:find(Text, Word), Text)
        end,
        File = file(Config, "connections_max = 5\nhead_timeout = \"soon\"\n"),
        Says("http.head_timeout", lariat:reload(?EDGE)),
        Says("hedgehog", lariat:reload(?EDGE, #{http => #{hedgehog => 1}})),
        Says("no_such_file.toml", lariat:reload(?EDGE, "/no/no_such_file.toml")),
        Says("config", lariat:reload(?EDGE, 7)),
        503 = status(Port, "/stream/2"),
        %% The file is still the one that it has.
        File = file(Config, "connections_max = 5\n"),
        {ok, #{changed := [<<"http.connections_max">>]}} = lariat:reload(?EDGE),
        {_, _} = lariat_client:open(Port, "/stream/2", chunked, "")
    end).

what_needs_a_new_start_is_named(Config) ->
    App = app(Config),
    in(App, fun() ->
        ok = logger:set_primary_config(level, info),
        Port = attached(map(0, #{})),
        #{http := Http} = New = map(0, #{demo => true}),
        Other = New#{shards := 3, http := Http#{listen := [<<"127.0.0.1:1">>]}},
        {ok, #{changed := [<<"http.demo">>], kept := Kept}} = lariat:reload(?EDGE, Other),
        ?assertEqual([<<"http.listen, http.listener">>, <<"shards">>], lists:sort(Kept)),
        200 = status(Port, "/")
    end),
    %% With the values.
    Logged = fun(Regexp) ->
        lists:any(fun(Line) -> re:run(Line, Regexp) =/= nomatch end, lariat_site:log(App))
    end,
    await(fun() -> Logged("not changed: this key needs a restart.*\"shards\".*2.*3") end, fixed),
    await(fun() -> Logged("config changed.*\"http.demo\".*false.*true") end, live),
    await(fun() -> Logged("config reloaded") end, reloaded).

a_new_config_outlives_a_crash(Config) ->
    on_a_node(Config, fun() ->
        Old = map(0, #{}),
        _ = attached(Old),
        {ok, _} = lariat:reload(?EDGE, map(0, #{route => [#{path => <<"/new/{id}">>}]})),
        First = whereis(?INSTANCE),
        exit(First, kill),
        await(
            fun() ->
                case lariat_edge_instance:running(?EDGE) of
                    {_, Pid} -> Pid =/= First;
                    none -> false
                end
            end,
            another_life
        ),
        {_, _} = lariat_client:open(port(?EDGE), "/new/1", chunked, ""),
        %% But not being let go of.
        ok = lariat:detach(?EDGE),
        Port = attached(Old),
        404 = status(Port, "/new/1"),
        _ = lariat_client:open(Port, 1, chunked)
    end).

%% The files are replaced where they are. Who is connected stays, who comes is shown the new one.
certificates_are_read_again(Config) ->
    on_a_node(Config, fun() ->
        {ok, _} = application:ensure_all_started(ssl),
        #{dir := Dir} = proplists:get_value(site, Config),
        [Certificate, Key] = Files = [filename:join(Dir, Name) || Name <- ["cert.pem", "key.pem"]],
        First = write_certificate(Files),
        Listener = #{
            address => <<"127.0.0.1:0">>, certificate => list_to_binary(Certificate),
            key => list_to_binary(Key)
        },
        Port = attached(#{shards => 2, http => #{listener => [Listener]}}),
        {First, Held} = shown(Port),
        ok = ssl:send(Held, "GET /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        _ = until(Held, <<"\r\n\r\n">>),
        await(fun() -> lariat:connections(1) =/= [] end, known),
        Second = write_certificate(Files),
        {First, _} = shown(Port),
        {ok, #{certificates := 1, changed := []}} = lariat:reload(?EDGE),
        {Second, _} = shown(Port),
        ok = lariat:send(1, <<"still">>),
        _ = until(Held, <<"still">>),
        %% A torn one is not shown.
        ok = file:write_file(Certificate, "torn"),
        {error, Text} = lariat:reload(?EDGE),
        ?assertNotEqual(nomatch, string:find(Text, "cert.pem")),
        {Second, _} = shown(Port)
    end).

%% Everybody is told when to return, at another time each, and why it closed.
connections_leave_at_a_rate(Config) ->
    on_a_node(Config, fun() ->
        Port = attached(map(0, #{retry => <<"2s">>, drain_spread => <<"30s">>})),
        Opened = [open(Port, Id) || Id <- lists:seq(1, 20)],
        ok = lariat:drain(?EDGE, #{rate => 10, timeout => 50000}),
        Waits = [last_retry_ms(rest(Stream)) || {Stream, _} <- Opened],
        ?assert(lists:min(Waits) >= 1000 andalso lists:max(Waits) =< 31000),
        ?assert(lists:max(Waits) - lists:min(Waits) > 5000, Waits),
        ?assertEqual(lists:duplicate(20, drain), [down(Monitor) || {_, Monitor} <- Opened]),
        ?assertEqual({error, no_such_edge}, lariat:info(?EDGE)),
        ?assertMatch({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, []))
    end).

%% Accepting goes on for the grace. Who lets go of it meanwhile does not wait for that.
readiness_turns_first(Config) ->
    on_a_node(Config, fun() ->
        Port = attached(map(0, #{})),
        ?assert(lariat_edge_nif:is_ready(?EDGE)),
        {Stream, Monitor} = open(Port, 1),
        {error, badarg} = lariat:drain(?EDGE, #{rate => 0}),
        {error, badarg} = lariat:drain(?EDGE, #{speed => 1}),
        {ok, #{ready := true}} = lariat:info(?EDGE),
        Self = self(),
        Grace = #{grace => 600000, timeout => 1200000},
        Drain = spawn_link(fun() -> Self ! {self(), lariat:drain(?EDGE, Grace)} end),
        await(fun() -> not lariat_edge_nif:is_ready(?EDGE) end, not_ready),
        {ok, #{ready := false}} = lariat:info(?EDGE),
        {_, Late} = open(Port, 2),
        ok = lariat:send(1, <<"still">>),
        _ = until(Stream, <<"still">>),
        ok = lariat:detach(?EDGE),
        receive {Drain, ok} -> ok after ?DEADLINE_MS -> error(still_draining) end,
        [shutdown, shutdown] = [down(Monitor), down(Late)],
        ?assertNot(lariat_edge_nif:is_ready(?EDGE))
    end).

at_the_deadline_the_rest_is_cut(Config) ->
    on_a_node(Config, fun() ->
        Port = attached((map(0, #{}))#{
            shards := 1, drain_timeout => <<"1s">>, drain_rate => 1
        }),
        Opened = [open(Port, Id) || Id <- lists:seq(1, 20)],
        ok = lariat:drain(?EDGE),
        Reasons = [down(Monitor) || {_, Monitor} <- Opened],
        ?assert(lists:member(shutdown, Reasons)),
        %% In order and asked to return, they too.
        [?assertEqual(1, length(retries(rest(Stream)))) || {Stream, _} <- Opened]
    end).

%% All edges at the same time, while handlers and monitors still work.
stopping_the_application_drains(Config) ->
    on_a_node(Config, fun() ->
        Opened = [
            begin
                ok = lariat:attach(#{nif => Edge, config => map(0, #{})}),
                open(port(Edge), Id)
            end
         || {Id, Edge} <- [{1, one}, {2, two}, {3, three}]
        ],
        ok = application:stop(lariat),
        [
            begin
                ?assertEqual(1, length(retries(rest(Stream)))),
                drain = down(Monitor)
            end
         || {Stream, Monitor} <- Opened
        ]
    end).

the_end_of_the_vm_drains(Config) ->
    App = app(Config),
    Port = in(App, fun() -> attached(map(0, #{})) end),
    Streams = [lariat_client:open(Port, Id, sse) || Id <- lists:seq(1, 100)],
    ok = lariat_site:call(App, init, stop, []),
    [
        begin
            Rest = rest(Stream),
            ?assertEqual(1, length(retries(Rest))),
            ?assertMatch({match, _}, re:run(Rest, "\r\n0\r\n\r\n$"))
        end
     || Stream <- Streams
    ],
    _ = lariat_site:ended(App).

others_are_told_elsewhere(Config) ->
    on_a_node(Config, fun() ->
        {error, no_such_edge} = lariat:drain(?EDGE),
        {error, no_such_edge} = lariat:reload(?EDGE),
        ok = lariat:attach('elsewhere@127.0.0.1'),
        {error, not_in_this_vm} = lariat:drain('elsewhere@127.0.0.1'),
        {error, not_in_this_vm} = lariat:reload('elsewhere@127.0.0.1', #{})
    end).

%%% Here.

on_a_node(Config, Case) ->
    _ = in(app(Config), Case),
    ok.

app(Config) ->
    lariat_site:erlang(proplists:get_value(site, Config), "app", [], []).

%%% There.

attached(Config) ->
    ok = lariat:attach(#{nif => ?EDGE, config => Config}),
    port(?EDGE).

port(Edge) ->
    Up = fun() ->
        #{edges := #{Edge := #{state := State}}} = lariat:info(),
        State =:= up
    end,
    await(Up, {up, Edge}),
    {ok, #{http_addresses := [Address]}} = lariat:info(Edge),
    [_, Port] = binary:split(Address, <<":">>),
    binary_to_integer(Port).

map(Port, Http) ->
    Address = iolist_to_binary(["127.0.0.1:", integer_to_binary(Port)]),
    #{shards => 2, http => Http#{listen => [Address], heartbeat => <<"off">>}}.

file(Config, Http) ->
    #{dir := Dir} = proplists:get_value(site, Config),
    File = filename:join(Dir, "edge.toml"),
    ok = file:write_file(File, ["[http]\nlisten = [\"127.0.0.1:0\"]\n", Http]),
    File.

status(Port, Path) ->
    {Status, _, _} = lariat_client:get(Port, Path),
    Status.

%% Its client, and a monitor of it.
open(Port, Id) ->
    Stream = lariat_client:open(Port, Id, sse),
    await(fun() -> lariat:connections(Id) =/= [] end, {known, Id}),
    [Conn] = lariat:connections(Id),
    {Stream, lariat:monitor(Conn)}.

down(Monitor) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> Reason
    after ?DEADLINE_MS -> error(no_down)
    end.

%% Everything that is still to come.
rest(#{socket := Socket}) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    rest(Socket, <<"\r\n">>).

rest(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, More} -> rest(Socket, <<Read/binary, More/binary>>);
        {error, closed} -> Read
    end.

retries(Text) ->
    case re:run(Text, "retry: ([0-9]+)", [global, {capture, [1], binary}]) of
        {match, Found} -> [binary_to_integer(Ms) || [Ms] <- Found];
        nomatch -> []
    end.

last_retry_ms(Text) ->
    lists:last(retries(Text)).

until(#{socket := Socket}, Text) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    until(fun() -> gen_tcp:recv(Socket, 0, ?DEADLINE_MS) end, Text, <<>>);
until(Tls, Text) ->
    until(fun() -> ssl:recv(Tls, 0, ?DEADLINE_MS) end, Text, <<>>).

until(Receive, Text, Read) ->
    case binary:match(Read, Text) of
        nomatch ->
            {ok, More} = Receive(),
            until(Receive, Text, <<Read/binary, (iolist_to_binary(More))/binary>>);
        _ ->
            Read
    end.

%% What a client is shown, and its connection.
shown(Port) ->
    {ok, Tls} = ssl:connect({127, 0, 0, 1}, Port, [
        binary, {active, false}, {verify, verify_none}
    ], ?DEADLINE_MS),
    {ok, Certificate} = ssl:peercert(Tls),
    {Certificate, Tls}.

%% A new one and its key, as somebody who renews it writes them.
write_certificate([Certificate, Key]) ->
    Chain = #{root => [], intermediates => [], peer => [{key, {namedCurve, secp256r1}}]},
    #{server_config := Made} = public_key:pkix_test_data(#{
        server_chain => Chain, client_chain => Chain
    }),
    {cert, Der} = lists:keyfind(cert, 1, Made),
    {key, {Type, KeyDer}} = lists:keyfind(key, 1, Made),
    Pem = fun(Entry) -> public_key:pem_encode([Entry]) end,
    ok = file:write_file(Certificate, Pem({'Certificate', Der, not_encrypted})),
    ok = file:write_file(Key, Pem({Type, KeyDer, not_encrypted})),
    Der.
