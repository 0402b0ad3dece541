%%% What an edge asks, and what becomes of answers, without the application: a hidden node and plain Erlang
%%% nodes with none of our code but this file, or an edge in a VM and `lariat_nif' alone; raw clients.
%%%
%%% The terms are written out here as the wire has them; what the application makes of them is
%%% the handlers' suite. Owners of a hidden node are processes of several Erlang nodes, those of an edge in a
%%% VM processes of that VM: so that a whole node of them is lost is for the node alone.
-module(lariat_asks_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    who_is_accepted_is_held/1,
    what_is_not_held_is_answered/1,
    odd_answers_harm_nobody/1,
    owners_have_turns/1,
    the_living_answer_for_the_dead/1,
    a_lost_node_has_died/1
]).
%% Called on the nodes.
-export([run/1, serve/2, asked/2, answer/2, tell/3, info/1, metrics/0, kinds/1, attach_again/3]).

-import(lariat_site, [call/4, await/2]).

-define(CONFIG,
    "shards = 2\n[http]\nlisten = [\"127.0.0.1:0\"]\nask_timeout = \"60s\"\n"
    "[[http.route]]\npath = \"/rooms/{room}/*\"\naccess = \"ask\"\nhandler = \"chat\"\n"
    "[[http.route]]\npath = \"/stream/{id}\"\nhandler = \"told\"\n"
).

%% What the edge in a VM is called.
-define(IN_VM, edge_in_the_vm).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

all() ->
    lariat_pair:all().

groups() ->
    Both = [
        who_is_accepted_is_held,
        what_is_not_held_is_answered,
        odd_answers_harm_nobody,
        owners_have_turns,
        the_living_answer_for_the_dead
    ],
    NodeAlone = [
        a_lost_node_has_died
    ],
    lariat_pair:groups(Both, NodeAlone).

suite() ->
    [{timetrap, {minutes, 5}}].

init_per_group(Group, Config) ->
    lariat_pair:init_group(Group, Config).

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    lariat_pair:init_case(Config).

end_per_testcase(_Case, Config) ->
    lariat_pair:end_case(Config).

%% A term of an id, cookies, and the name of the handler in what is told of the connection.
who_is_accepted_is_held(Config) ->
    {Edge, Node} = edge(Config),
    {App, Owner} = owner(Config, "app", Node, [<<"chat">>]),
    Client = enter(Edge),
    {ok, {Host, Port}} = inet:sockname(Client),
    {Ref, Request} = asked(App, Owner, 1),
    ?assert(is_integer(Ref)),
    ?assertEqual(
        #{
            kind => stream,
            handler => <<"chat">>,
            method => <<"GET">>,
            path => <<"/rooms/%C3%A5/a/b%2Fc">>,
            bindings => #{<<"room">> => <<"å"/utf8>>, <<"rest">> => <<"a/b/c">>},
            query => <<"since=7&x">>,
            headers => #{
                <<"host">> => <<"test">>,
                <<"accept">> => <<"text/event-stream">>,
                <<"cookie">> => <<"a=1; b=2">>,
                <<"x-lariat">> => <<"one, two">>
            },
            peer => {Host, Port},
            body => <<>>
        },
        Request
    ),
    Options = #{
        headers => [{<<"Set-Cookie">>, <<"a=2">>}, {"set-cookie", ["b", "=3"]}],
        heartbeat => 1000,
        when_full => drop_oldest
    },
    ok = call(App, ?MODULE, answer, [Node, {answer, Ref, {accept, {user, 7}, Options}}]),
    {200, Head} = head(Client),
    ?assertMatch({match, _}, re:run(Head, "\r\nSet-Cookie: a=2\r\nset-cookie: b=3\r\n")),
    {opened, Conn, {user, 7}, Info} = told(App, Owner, opened),
    ?assertMatch(#{handler := <<"chat">>, transport := sse, peer := {Host, Port}}, Info),
    %% Its heartbeat comes long before that of the others, and what is sent to it arrives.
    until(Client, <<":\n\n">>),
    ok = call(App, ?MODULE, tell, [Node, Conn, <<"hello">>]),
    until(Client, <<"data: hello\n">>),
    %% A route that is open says its handler, too, and so does a snapshot.
    Stream = lariat_client:open(maps:get(http, Edge), 5, chunked),
    {opened, _, 5, #{handler := <<"told">>}} = told(App, Owner, opened, 2),
    ok = call(App, ?MODULE, attach_again, [Owner, Node, []]),
    await(
        fun() ->
            Handlers = [H || {opened, _, _, #{handler := H}} <- call(App, ?MODULE, kinds, [Owner])],
            lists:sort(Handlers) =:= [<<"chat">>, <<"told">>]
        end,
        snapshot
    ),
    lariat_client:close(Stream),
    well(App, Edge).

what_is_not_held_is_answered(Config) ->
    {Edge, Node} = edge(Config),
    {App, Owner} = owner(Config, "app", Node, [<<"other">>, <<"chat">>]),
    Clients = [enter(Edge) || _ <- lists:seq(1, 3)],
    [One, Two, Three] = in_order(App, Owner, Clients),
    Answers = [
        {One, {reject, 403, <<"no">>}},
        {Two, {reply, 303, #{<<"location">> => "/login"}, ["see", [$\s, <<"there">>]]}},
        {Three, {reply, 204, [], <<"never">>}}
    ],
    ok = call(App, ?MODULE, answer, [Node, {answers, Answers}]),
    [First, Second, Third] = [all(Client) || Client <- Clients],
    ?assertMatch(<<"HTTP/1.1 403 Forbidden\r\n", _/binary>>, First),
    ?assertMatch({match, _}, re:run(First, "\r\n\r\nno$")),
    ?assertMatch(<<"HTTP/1.1 303 See Other\r\n", _/binary>>, Second),
    ?assertMatch({match, _}, re:run(Second, "\r\nlocation: /login\r\n(.|\r|\n)*\r\n\r\nsee there$")),
    ?assertMatch(<<"HTTP/1.1 204 No Content\r\n", _/binary>>, Third),
    ?assertMatch({match, _}, re:run(Third, "\r\n\r\n$")),
    well(App, Edge).

%% Each costs its own client a 500 or nothing; whoever comes later finds everything as it was.
odd_answers_harm_nobody(Config) ->
    {Edge, Node} = edge(Config),
    {App, Owner} = owner(Config, "app", Node, [<<"chat">>]),
    Long = binary:copy(<<"x">>, 100000),
    Accept = fun(Options) -> {accept, 1, Options} end,
    Odd = [
        ok, 7, [], <<>>, {}, self(), make_ref(), fun() -> ok end, taken, {accept, 1},
        {accept, [1], #{}}, {accept, Long, #{}}, Accept([]), Accept(#{color => red}),
        Accept(#{heartbeat => 0}), Accept(#{heartbeat => -1}), Accept(#{heartbeat => 1 bsl 80}),
        Accept(#{heartbeat => on}), Accept(#{when_full => block}), Accept(#{headers => none}),
        Accept(#{headers => [{<<"a">>, <<"b\r\nc: d">>}]}), Accept(#{headers => [{<<"a:">>, <<"b">>}]}),
        Accept(#{headers => [{<<"a">>, Long}]}), Accept(#{headers => [{<<"a">>, <<"b">>} | tail]}),
        Accept(#{headers => [{<<"a">>, <<"b">>} || _ <- lists:seq(1, 1000)]}),
        {reply, 200, #{}, not_iodata}, {reply, 200, #{}, [256]}, {reply, 700, #{}, <<>>},
        {reply, 101, #{}, <<>>}, {reply, <<"200">>, #{}, <<>>}, {reply, 200, [{1, 2}], <<>>},
        {reply, 1 bsl 100, #{}, <<>>}, {reject, 200, <<>>}, {reject, 403, Long}, {reject, 403, #{}}
    ],
    [
        begin
            Client = enter(Edge),
            {Ref, _} = asked(App, Owner, Nth),
            ok = call(App, ?MODULE, answer, [Node, {answer, Ref, Answer}]),
            ?assertMatch({Answer, <<"HTTP/1.1 500 ", _/binary>>}, {Answer, all(Client)})
        end
     || {Nth, Answer} <- lists:enumerate(Odd)
    ],
    %% And what names nobody at all.
    [
        ok = call(App, ?MODULE, answer, [Node, Strange])
     || Strange <- [
            {answer, 1, taken}, {answer, -1, taken}, {answer, 1 bsl 70, taken}, {answer, none, taken},
            {answer, 1}, {answer, 1, taken, more}, {answers, none}, {answers, [none]}, {answers, []},
            {answers, [{1, taken} | tail]}, {answers, lists:duplicate(100000, {1, taken})}, {answers}
        ]
    ],
    Last = enter(Edge),
    {Ref, _} = asked(App, Owner, length(Odd) + 1),
    ok = call(App, ?MODULE, answer, [Node, {answer, Ref, {reject, 418, <<"well">>}}]),
    ?assertMatch(<<"HTTP/1.1 418 ", _/binary>>, all(Last)),
    ?assertEqual(length(Odd), metric(Edge, <<"lariat_asks_total{outcome=\"bad_answer\"}">>)),
    well(App, Edge).

owners_have_turns(Config) ->
    {Edge, Node} = edge(Config),
    {_, _} = owner(Config, "mute", Node, []),
    Serving = [owner(Config, Name, Node, [<<"chat">>]) || Name <- ["one", "two"]],
    Clients = [enter(Edge) || _ <- lists:seq(1, 10)],
    [
        begin
            _ = asked(App, Owner, 5),
            ?assertEqual(5, length(call(App, ?MODULE, asked, [Owner, 6])))
        end
     || {App, Owner} <- Serving
    ],
    lists:foreach(fun gen_tcp:close/1, Clients).

%% Who waits for an owner that dies is refused at once; the next is asked elsewhere.
the_living_answer_for_the_dead(Config) ->
    {Edge, Node} = edge(Config),
    {App, Owner} = owner(Config, "app", Node, [<<"chat">>]),
    First = enter(Edge),
    _ = asked(App, Owner, 1),
    true = call(App, erlang, exit, [Owner, kill]),
    ?assertMatch(<<"HTTP/1.1 503 ", _/binary>>, all(First)),
    ?assertMatch(<<"HTTP/1.1 503 ", _/binary>>, all(enter(Edge))),
    {Heir, Second} = owner(Config, "heir", Node, [<<"chat">>]),
    answers(Edge, Heir, Second, Node),
    well(Heir, Edge).

a_lost_node_has_died(Config) ->
    {Edge, Node} = edge(Config),
    {Doomed, Second} = owner(Config, "doomed", Node, [<<"chat">>]),
    Waiting = enter(Edge),
    _ = asked(Doomed, Second, 1),
    {Heir, Third} = owner(Config, "heir", Node, [<<"chat">>]),
    ok = lariat_site:kill(Doomed),
    ?assertMatch(<<"HTTP/1.1 503 ", _/binary>>, all(Waiting)),
    answers(Edge, Heir, Third, Node),
    well(Heir, Edge).

answers(Edge, App, Owner, Node) ->
    Client = enter(Edge),
    {Ref, _} = asked(App, Owner, 1),
    ok = call(App, ?MODULE, answer, [Node, {answer, Ref, {reject, 403, <<>>}}]),
    ?assertMatch(<<"HTTP/1.1 403 ", _/binary>>, all(Client)).

%%% On the nodes.

%% Runs an edge in this VM, as long as it lives.
run(File) ->
    Parent = self(),
    Keeper = spawn(fun() ->
        {ok, Edge} = lariat_nif:start(#{name => ?IN_VM, config => File}),
        ok = persistent_term:put(?MODULE, Edge),
        Parent ! {self(), runs},
        receive never -> ok end
    end),
    receive
        {Keeper, runs} -> info(?IN_VM)
    end.

running() ->
    persistent_term:get(?MODULE).

%% An owner that remembers what it is told.
serve(Node, Handlers) ->
    Parent = self(),
    Owner = spawn(fun() ->
        attach(Node, Handlers),
        Parent ! {self(), attached},
        remember([])
    end),
    receive
        {Owner, attached} -> Owner
    end.

attach(?IN_VM, Handlers) ->
    {ok, #{epoch := _}} = lariat_nif:attach(running(), #{handlers => Handlers});
attach(Node, Handlers) ->
    {ok, #{epoch := _}} =
        gen_server:call({lariat, Node}, {attach, self(), #{handlers => Handlers}}, ?DEADLINE_MS).

heard(?IN_VM, Events) -> ok = lariat_nif:heard(running(), length(Events));
heard(_, _) -> ok.

remember(Told) ->
    receive
        {lariat, Edge, _Epoch, Events} ->
            heard(Edge, Events),
            remember(Told ++ Events);
        {told, From} ->
            From ! {self(), Told},
            remember(Told);
        {attach, From, Node, Handlers} ->
            attach(Node, Handlers),
            From ! {self(), attached},
            remember([])
    end.

%% The same owner once more; it forgets what it was told.
attach_again(Owner, Node, Handlers) ->
    Owner ! {attach, self(), Node, Handlers},
    receive
        {Owner, attached} -> ok
    end.

kinds(Owner) ->
    Owner ! {told, self()},
    receive
        {Owner, Told} -> Told
    end.

%% What it was asked so far, at most so many.
asked(Owner, Most) ->
    lists:sublist([{Ref, Request} || {request, Ref, Request} <- kinds(Owner)], Most).

%% From a process that has nothing else to do with it.
answer(?IN_VM, Term) ->
    lariat_nif:cast(running(), Term);
answer(Node, Term) ->
    gen_server:cast({lariat, Node}, Term).

%% To one connection.
tell(?IN_VM, Conn, Message) ->
    lariat_nif:signal(running(), Conn, Message);
tell(_, Conn, Message) ->
    Conn ! Message,
    ok.

info(?IN_VM) ->
    lariat_nif:info(running());
info(Node) ->
    gen_server:call({lariat, Node}, info, ?DEADLINE_MS).

metrics() ->
    lariat_nif:metrics(running()).

%%% Here.

edge(Config) ->
    #{dir := Dir} = Site = ?config(site, Config),
    File = filename:join(Dir, "asks.toml"),
    ok = file:write_file(File, ?CONFIG),
    case ?config(edge, Config) of
        node ->
            #{node := Node} = Edge = lariat_site:edge(Site, "lariat", #{args => ["--config", File]}),
            {Edge, Node};
        nif ->
            Paths = [filename:dirname(code:which(Module)) || Module <- [lariat_nif, ?MODULE]],
            Vm = lariat_site:plain_erlang(Site, "vm", ["-pa" | Paths]),
            {ok, #{http_addresses := [Address]}} = call(Vm, ?MODULE, run, [File]),
            [_, Port] = binary:split(Address, <<":">>),
            %% For the owners of this case.
            _ = put(?MODULE, Vm),
            {#{node => ?IN_VM, http => binary_to_integer(Port), vm => Vm}, ?IN_VM}
    end.

%% With a node of its own, where it can have one.
owner(Config, Name, Node, Handlers) ->
    App =
        case Node of
            ?IN_VM ->
                get(?MODULE);
            _ ->
                Paths = ["-pa", filename:dirname(code:which(?MODULE))],
                lariat_site:plain_erlang(?config(site, Config), Name, Paths)
        end,
    Owner = call(App, ?MODULE, serve, [Node, Handlers]),
    %% It has turns from the beginning of its snapshot on.
    {snapshot, 'end'} = told(App, Owner, snapshot, 2),
    {App, Owner}.

enter(#{http := Port}) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?DEADLINE_MS),
    ok = gen_tcp:send(Socket, [
        "GET /rooms/%C3%A5/a/b%2Fc?since=7&x HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n",
        "Cookie: a=1\r\nX-Lariat: one\r\ncookie: b=2\r\nx-lariat: two\r\n\r\n"
    ]),
    Socket.

%% The question number `Nth' that an owner was told.
asked(App, Owner, Nth) ->
    await(fun() -> length(call(App, ?MODULE, asked, [Owner, Nth])) =:= Nth end, {asked, Nth}),
    lists:last(call(App, ?MODULE, asked, [Owner, Nth])).

%% Of each client what it is asked about.
in_order(App, Owner, Clients) ->
    _ = asked(App, Owner, length(Clients)),
    Asked = call(App, ?MODULE, asked, [Owner, length(Clients)]),
    Refs = maps:from_list([{Peer, Ref} || {Ref, #{peer := Peer}} <- Asked]),
    [
        begin
            {ok, Address} = inet:sockname(Client),
            maps:get(Address, Refs)
        end
     || Client <- Clients
    ].

told(App, Owner, Kind) ->
    told(App, Owner, Kind, 1).

told(App, Owner, Kind, Nth) ->
    Those = fun() -> [E || E <- call(App, ?MODULE, kinds, [Owner]), element(1, E) =:= Kind] end,
    await(fun() -> length(Those()) >= Nth end, {told, Kind}),
    lists:nth(Nth, Those()).

head(Socket) ->
    <<"HTTP/1.1 ", Status:3/binary, _/binary>> = Head = until(Socket, <<"\r\n\r\n">>),
    {binary_to_integer(Status), Head}.

until(Socket, What) ->
    until(Socket, What, <<>>).

until(Socket, What, Read) ->
    case binary:match(Read, What) of
        nomatch ->
            {ok, More} = gen_tcp:recv(Socket, 0, ?DEADLINE_MS),
            until(Socket, What, <<Read/binary, More/binary>>);
        _ ->
            Read
    end.

all(Socket) ->
    all(Socket, <<>>).

all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, More} -> all(Socket, <<Read/binary, More/binary>>);
        {error, closed} -> Read
    end.

%% The link is the same, the node answers, nobody waits.
well(App, #{node := Node} = Edge) ->
    ?assertMatch({ok, #{}}, call(App, ?MODULE, info, [Node])),
    await(fun() -> metric(Edge, <<"lariat_asks_waiting">>) =:= 0 end, asks),
    ?assertEqual(0, metric(Edge, <<"lariat_closed_total{reason=\"panic\"}">>)).

metric(#{vm := Vm}, Name) -> lariat_site:value(call(Vm, ?MODULE, metrics, []), Name);
metric(Edge, Name) -> lariat_site:metric(Edge, Name).
