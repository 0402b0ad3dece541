%%% The library in a VM: its edges end with their owners, its code may be replaced and taken away, and the
%%% VM ends as if it were not there.
%%%
%%% Erlang nodes that are not distributed, with `lariat_nif' alone; what the application makes of it
%%% is in the suites that run over both edges. What its neighbours in the VM notice is
%%% `lariat_shared_vm_SUITE'.
-module(lariat_nif_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    it_stops/1,
    its_owner_dies/1,
    nobody_refers_to_it/1,
    a_thousand_lives/1,
    a_second_one_beside_it/1,
    loaded_twice/1,
    upgraded_while_it_holds/1,
    purged_and_loaded_again/1,
    wrong_arguments/1,
    the_vm_ends/1
]).
%% Called on the nodes.
-export([lives/1, hold/2]).

-import(lariat_conn, [in/2]).
-import(lariat_site, [await/2]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% Held while the VM ends.
-define(LIVE, 10000).

all() ->
    [
        it_stops,
        its_owner_dies,
        nobody_refers_to_it,
        a_thousand_lives,
        a_second_one_beside_it,
        loaded_twice,
        upgraded_while_it_holds,
        purged_and_loaded_again,
        wrong_arguments,
        the_vm_ends
    ].

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) ->
    [{site, lariat_site:start_alone(?config(priv_dir, Config))} | Config].

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

%% Its connections end in order, its port is free, and what is said to it afterwards is refused.
it_stops(Config) ->
    in(vm(Config), fun() ->
        {Edge, Port} = started(),
        Stream = lariat_client:open(Port, 1, chunked),
        ok = lariat_nif:stop(Edge),
        closed = lariat_client:message(Stream),
        true = is_free(Port),
        {error, closed} = lariat_nif:send(Edge, {1, <<"late">>}),
        {error, closed} = lariat_nif:cast(Edge, {close, 1, late}),
        ok = lariat_nif:stop(Edge),
        settled()
    end).

%% However it dies.
its_owner_dies(Config) ->
    in(vm(Config), fun() ->
        [
            begin
                Self = self(),
                Owner = spawn(fun() ->
                    {Edge, Port} = started(),
                    Self ! {self(), Edge, Port},
                    receive {exit, Reason} -> exit(Reason) end
                end),
                {Edge, Port} = receive {Owner, Its, At} -> {Its, At} end,
                Stream = lariat_client:open(Port, 1, chunked),
                End(Owner),
                ended = until_closed(Stream),
                true = is_free(Port),
                closed = until_refused(Edge)
            end
         || End <- [
                fun(Owner) -> exit(Owner, kill) end,
                fun(Owner) -> Owner ! {exit, normal} end,
                fun(Owner) -> Owner ! {exit, crash} end
            ]
        ],
        settled()
    end).

%% The owner lives, and has forgotten it.
nobody_refers_to_it(Config) ->
    in(vm(Config), fun() ->
        Port = forgotten(),
        true = erlang:garbage_collect(),
        true = is_free(Port),
        settled()
    end).

%% A process that lives on with the port alone: the edge is on no heap but one that is collected.
forgotten() ->
    {_, Port} = started(),
    Port.

%% Nothing stays of them: threads, descriptors, tables, atoms, processes; and no memory, once the
%% first ones have warmed it up.
a_thousand_lives(Config) ->
    App = vm(Config),
    Warm = memory_of_lives(App, 5),
    Before = lariat_site:call(App, lariat_vm, occupied, []),
    ok = grows_no_more(App, Warm, 3),
    ?assertEqual(ok, lariat_site:call(App, lariat_vm, settled, [Before])).

%% In 800 more lives. An allocator of the VM takes another 5 MB once in a while and keeps them: that is one
%% step, and what each life leaves is there in every stretch.
grows_no_more(App, Before, Stretches) ->
    _ = memory_of_lives(App, 15),
    Late = memory_of_lives(App, 5),
    ct:pal("RssAnon before 800 lives ~b KB, after them ~b KB~n", [Before, Late]),
    %% A page for each would be 3,200 KB.
    case Late - Before < 3200 of
        true -> ok;
        false when Stretches > 1 -> grows_no_more(App, Late, Stretches - 1);
        false -> {grows, Before, Late}
    end.

%% 40 lives in each round. The least of all rounds: what the allocators of the VM and of ours have not yet
%% given back is 30 MB at times.
memory_of_lives(App, Rounds) ->
    lists:min([lariat_site:call(App, ?MODULE, lives, [40]) || _ <- lists:seq(1, Rounds)]).

%% On the node: starts, greets a client in some of them, stops. Answers the memory afterwards.
lives(Count) ->
    _ = [
        begin
            {Edge, Port} = started(),
            _ = [
                lariat_client:close(lariat_client:open(Port, 1, chunked))
             || N rem 10 =:= 0
            ],
            ok = lariat_nif:stop(Edge)
        end
     || N <- lists:seq(1, Count)
    ],
    settled(),
    true = erlang:garbage_collect(),
    lariat_vm:memory_kb(<<"RssAnon">>).

%% Each holds its own, and the end of the one is nothing to the other.
a_second_one_beside_it(Config) ->
    in(vm(Config), fun() ->
        {One, OnePort} = started(one),
        {Two, TwoPort} = started(two),
        OneStream = lariat_client:open(OnePort, 1, chunked),
        TwoStream = lariat_client:open(TwoPort, 1, chunked),
        ok = lariat_nif:send(One, {1, <<"one">>}),
        ok = lariat_nif:send(Two, {1, <<"two">>}),
        <<"one">> = lariat_client:message(OneStream),
        <<"two">> = lariat_client:message(TwoStream),
        [{lariat_conn, one, _, _}] = conns(One),
        [{lariat_conn, two, _, _} = Conn] = conns(Two),
        %% A name of the other's.
        {error, badarg} = lariat_nif:signal(One, Conn, <<"not yours">>),
        ok = lariat_nif:stop(One),
        closed = lariat_client:message(OneStream),
        ok = lariat_nif:send(Two, {1, <<"still">>}),
        <<"still">> = lariat_client:message(TwoStream),
        ok = lariat_nif:stop(Two),
        settled()
    end).

%% The same code once more, which is an upgrade to itself; and once more, which needs a purge.
loaded_twice(Config) ->
    in(vm(Config), fun() ->
        {Edge, Port} = started(),
        Stream = lariat_client:open(Port, 1, chunked),
        [
            begin
                {module, lariat_nif} = code:load_file(lariat_nif),
                says(Edge, Stream, <<"loaded">>),
                false = code:purge(lariat_nif),
                says(Edge, Stream, <<"purged">>)
            end
         || _ <- [1, 2, 3]
        ],
        ok = lariat_nif:stop(Edge),
        closed = lariat_client:message(Stream),
        settled()
    end).

%% To a library of another file, as a release that was unpacked beside the old one has it: not while an
%% edge of the old one runs, which goes on; and then like any other.
upgraded_while_it_holds(Config) ->
    #{dir := Dir} = ?config(site, Config),
    in(vm(Config), fun() ->
        {Edge, Port} = started(),
        Stream = lariat_client:open(Port, 1, chunked),
        Ebin = filename:join([Dir, "lariat-2", "ebin"]),
        Priv = filename:join([Dir, "lariat-2", "priv"]),
        [ok = filelib:ensure_path(Path) || Path <- [Ebin, Priv]],
        [
            {ok, _} = file:copy(From, filename:join(To, filename:basename(From)))
         || {To, Pattern} <- [
                {Ebin, filename:join(code:lib_dir(lariat), "ebin/*")},
                {Priv, filename:join(code:priv_dir(lariat), "*.so")}
            ],
            From <- filelib:wildcard(Pattern)
        ],
        true = code:replace_path(lariat, Ebin),
        [
            begin
                {error, on_load_failure} = code:load_file(lariat_nif),
                says(Edge, Stream, <<"the old one goes on">>)
            end
         || _ <- [1, 2]
        ],
        ok = lariat_nif:stop(Edge),
        closed = lariat_client:message(Stream),
        {module, lariat_nif} = code:load_file(lariat_nif),
        false = code:purge(lariat_nif),
        {Second, SecondPort} = started(second),
        Other = lariat_client:open(SecondPort, 1, chunked),
        says(Second, Other, <<"the new one has come">>),
        %% A term of the old one is none of the new one.
        ?assertError(badarg, lariat_nif:send(Edge, {1, <<"nothing">>})),
        ok = lariat_nif:stop(Second),
        closed = lariat_client:message(Other)
    end).

%% While it holds a connection. Nobody can call it any more, its owner's end stops it.
purged_and_loaded_again(Config) ->
    in(vm(Config), fun() ->
        Self = self(),
        Owner = spawn(fun() ->
            {_, Port} = started(),
            Self ! {self(), Port},
            receive never -> ok end
        end),
        Port = receive {Owner, At} -> At end,
        Stream = lariat_client:open(Port, 1, chunked),
        true = code:delete(lariat_nif),
        false = code:purge(lariat_nif),
        false = code:is_loaded(lariat_nif),
        lariat_client:nothing(Stream),
        true = exit(Owner, kill),
        ended = until_closed(Stream),
        true = is_free(Port),
        {Edge, Again} = started(),
        Next = lariat_client:open(Again, 1, chunked),
        says(Edge, Next, <<"again">>),
        ok = lariat_nif:stop(Edge),
        closed = lariat_client:message(Next)
    end).

%% A word each for what cannot be started; a crash or an answer for all else, never more.
wrong_arguments(Config) ->
    in(vm(Config), fun() ->
        [
            begin
                {error, Text} = lariat_nif:start(#{name => edge, config => Wrong}),
                ?assertMatch({match, _}, re:run(Text, Culprit))
            end
         || {Wrong, Culprit} <- [
                {#{http => #{head_timeout => <<"soon">>}}, "http.head_timeout"},
                {#{http => #{hedgehog => 1}}, "hedgehog"},
                {#{dist => #{listen => <<"127.0.0.1:0">>}}, "dist"},
                {#{http => #{listen => [<<"nowhere">>]}}, "listen"},
                {"/there/is/no/such.toml", "such.toml"}
            ]
        ],
        {Edge, Port} = started(),
        {error, InUse} = lariat_nif:start(config(other, Port)),
        ?assertMatch({match, _}, re:run(InUse, integer_to_list(Port))),
        Strange = [
            nothing, 7, <<>>, [], {}, {1}, #{}, self(), make_ref(), fun() -> ok end, 1.5, 1 bsl 100,
            [1 | 2], <<1:1>>, {1, nothing}, {1, [256]}, {1, [a]}, {1, <<1:1>>}, {1, [<<"a">> | b]},
            {[1 | 2], <<"a">>}, {1, <<"a">>, []}, {1, <<"a">>, #{color => red}},
            {1, <<"a">>, #{event => <<"a\nb">>}}
        ],
        [
            _ = [tried(Call) || Call <- [
                fun() -> lariat_nif:send(Edge, Term) end,
                fun() -> lariat_nif:signal(Edge, Term, Term) end,
                fun() -> lariat_nif:cast(Edge, Term) end,
                fun() -> lariat_nif:request(Edge, Term, Term) end,
                fun() -> lariat_nif:watch(Edge, Term) end,
                fun() -> lariat_nif:send(Term, {1, <<"a">>}) end,
                fun() -> lariat_nif:heard(Term, 1) end,
                fun() -> lariat_nif:stop(Term) end
            ]]
         || Term <- Strange
        ],
        Stream = lariat_client:open(Port, 1, chunked),
        says(Edge, Stream, <<"well">>),
        ok = lariat_nif:stop(Edge),
        closed = lariat_client:message(Stream)
    end).

%% An answer, or an error of the caller's.
tried(Call) ->
    try Call() of
        ok -> ok;
        {error, _} -> ok
    catch
        error:_ -> ok
    end.

%% With 10,000 live connections and messages on their way, by init:stop/0 and by halt/0: in time, with
%% status 0, and without a word. By another VM that holds the clients: the load generator.
the_vm_ends(_Config) ->
    [
        begin
            Args = [
                "-noinput", "-pa", filename:dirname(code:which(lariat)),
                filename:dirname(code:which(?MODULE)),
                "-eval", lists:flatten(io_lib:format("~s:hold(~b, ~s).", [?MODULE, ?LIVE, How]))
            ],
            Vm = lariat_site:run(os:find_executable("erl"), Args, []),
            Port = lariat_site:await_log(Vm, "listening ([0-9]+)"),
            Load = lariat_load:start(Port, ["--connections", integer_to_list(?LIVE), "--until-stdin-closes"]),
            _ = lariat_site:await_log(Vm, "all are here"),
            ?assertEqual({How, 0}, {How, lariat_site:ended(Vm)}),
            ?assertEqual(
                [<<"listening ", (integer_to_binary(Port))/binary>>, <<"all are here">>],
                [Line || Line <- lariat_site:log(Vm), Line =/= <<>>]
            ),
            #{<<"ok">> := _} = lariat_load:stop(Load)
        end
     || How <- [stop, halt]
    ].

%% On a VM of its own.
hold(Count, How) ->
    {Edge, Port} = started(),
    {ok, _} = lariat_nif:attach(Edge, #{}),
    io:format("listening ~b~n", [Port]),
    ok = opened(Edge, Count),
    io:format("all are here~n"),
    _ = spawn_link(fun() -> talk(Edge) end),
    ok = lariat_nif:send(Edge, {lists:seq(1, 1000), <<"on its way">>}),
    case How of
        stop -> init:stop();
        halt -> erlang:halt()
    end,
    receive never -> ok end.

talk(Edge) ->
    _ = lariat_nif:send(Edge, {lists:seq(1, 1000), <<"on its way">>}),
    receive after 1 -> talk(Edge) end.

opened(_, Left) when Left =< 0 ->
    ok;
opened(Edge, Left) ->
    receive
        {lariat, _, _, Events} ->
            ok = lariat_nif:heard(Edge, length(Events)),
            opened(Edge, Left - length([opened || {opened, _, _, _} <- Events]))
    after ?DEADLINE_MS -> error({not_opened, Left})
    end.

%%% Here.

vm(Config) ->
    Paths = [filename:dirname(code:which(Module)) || Module <- [lariat, ?MODULE]],
    lariat_site:plain_erlang(?config(site, Config), "vm", ["-pa" | Paths]).

%%% On the nodes.

started() ->
    started(edge).

started(Name) ->
    {ok, Edge} = lariat_nif:start(config(Name, 0)),
    {Edge, port(Edge)}.

config(Name, Port) ->
    Listen = iolist_to_binary(["127.0.0.1:", integer_to_binary(Port)]),
    #{name => Name, config => #{shards => 2, http => #{listen => [Listen]}}}.

port(Edge) ->
    {ok, #{http_addresses := [Address]}} = lariat_nif:info(Edge),
    [_, Port] = binary:split(Address, <<":">>),
    binary_to_integer(Port).

conns(Edge) ->
    {ok, Conns} = lariat_nif:connections(Edge, 1),
    Conns.

%% Over and over where the message comes before the connection is known: it is after its head.
says(Edge, Stream, Text) ->
    ok = lariat_nif:send(Edge, {1, Text}),
    Text = lariat_client:message(Stream).

%% Somebody else may listen on it.
is_free(Port) ->
    await(
        fun() ->
            case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
                {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
                {error, eaddrinuse} -> false
            end
        end,
        {free, Port}
    ).

%% In order, or cut: who loses its owner has nobody to say it for.
until_closed(#{socket := Socket} = Stream) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, _} -> until_closed(Stream);
        {error, Reason} when Reason =:= closed; Reason =:= econnreset -> ended
    end.

until_refused(Edge) ->
    Refused = fun() -> lariat_nif:send(Edge, {1, <<"x">>}) =:= {error, closed} end,
    true = await(Refused, refused),
    closed.

%% All that the edges' owner was told: nothing panicked.
settled() ->
    receive
        {lariat_log, _, Text} ->
            nomatch = binary:match(iolist_to_binary(Text), <<"panicked">>),
            settled();
        _ ->
            settled()
    after 0 -> ok
    end.
