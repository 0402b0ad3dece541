%%% A handler for suites, on the nodes under test, and what its clients do.
%%%
%%% It answers as the path or the message asks, waits until it is let go, or does what no handler
%%% should. It knows no case.
-module(lariat_answers).

-include_lib("common_test/include/ct.hrl").

-export([pair/3, app/3, handler/0]).
-export([asked/2, answered/1, post/2, held/2, still_held/2, waits/1, let_go/1, witness/1, witnessed/1]).
%% Called on the nodes.
-export([handle/1, let_go/0, witness/0, take/0]).

-import(lariat_site, [call/4, await/2]).
-import(lariat_attached, [attached/4, seen/2]).

%% @doc A pair whose edge has these routes, and whose node has this handler for those that have one.
-spec pair([term()], [atom()], lariat_pair:options()) -> lariat_pair:pair().
pair(Config, Routes, Options) ->
    Environment = [handler() | maps:get(environment, Options, [])],
    lariat_pair:start(Config, Options#{
        routes => [route(Route) || Route <- Routes], environment => Environment
    }).

%% @doc One more node of the same kind, attached to a hidden node.
-spec app([term()], string(), lariat_pair:edge()) -> lariat_site:erlang().
app(Config, Name, #{node := Node}) ->
    attached(?config(site, Config), Name, [Node], [handler()]).

%% @doc In the application's environment.
-spec handler() -> {handlers, [{binary(), module(), fun((term()) -> term())}]}.
handler() ->
    {handlers, [{<<"h">>, lariat_test_handler, fun ?MODULE:handle/1}]}.

route(open) -> "path = \"/stream/{id}\"\n";
route(api) -> "path = \"/api/{what}\"\nkind = \"request\"\nhandler = \"h\"\n";
route(ask) -> "path = \"/ask/{id}\"\naccess = \"ask\"\nhandler = \"h\"\n";
route(ws) -> "path = \"/ws/{id}\"\nkind = \"websocket\"\naccess = \"ask\"\nhandler = \"h\"\n";
route(talk) -> "path = \"/talk/{id}\"\nkind = \"websocket\"\nhandler = \"h\"\n";
route(events) -> "path = \"/events\"\nkind = \"batch\"\nhandler = \"h\"\n".

held(Http, App) ->
    Stream = lariat_client:open(Http, 99, sse),
    seen(App, 1),
    Stream.

still_held(Stream, App) ->
    await(fun() -> call(App, lariat, connections, [99]) =/= [] end, still_there),
    ok = call(App, lariat, send, [99, <<"still">>]),
    <<"still">> = lariat_client:message(Stream).

%% Asks, in a process of its own.
asked(Http, Path) when is_list(hd(Path)) ->
    spawn_monitor(fun() -> exit({answer, lariat_client:request(Http, Path)}) end);
asked(Http, Path) ->
    spawn_monitor(fun() -> exit({answer, lariat_client:get(Http, Path)}) end).

post(Path, Body) ->
    [
        ["POST ", Path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "],
        [integer_to_binary(byte_size(Body)), "\r\n\r\n", Body]
    ].

answered({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer
    end.

waits(App) ->
    await(fun() -> is_pid(call(App, erlang, whereis, [waiting])) end, waits).

let_go(App) ->
    call(App, ?MODULE, let_go, []).

%% A process on the node that keeps what is sent to the id `witness'.
witness(App) ->
    Pid = call(App, erlang, spawn, [?MODULE, witness, []]),
    ok = call(App, lariat, login, [witness, Pid]).

%% Asked on the node, because the tests' own takes no part in the distribution.
witnessed(App) ->
    {heard, Message} = await(
        fun() ->
            case call(App, ?MODULE, take, []) of
                none -> false;
                Heard -> Heard
            end
        end,
        witness
    ),
    Message.

%%--------------------------------------------------------------------------------------------------
%% On the node.

%% Says back what it was asked, waits until it is let go, or does what nobody should.
handle({init, #{kind := request, path := <<"/api/", What/binary>>} = Request}) ->
    case What of
        <<"echo">> -> {reply, 200, #{"X-Kind" => "echo"}, term_to_binary(Request)};
        <<"json">> -> {reply, 201, [{"content-type", "application/json"}], "{\"a\":1}"};
        <<"cookies">> -> {reply, 200, [{"set-cookie", "a=1"}, {"set-cookie", "b=2"}], ""};
        <<"empty">> -> {reply, 204, [], []};
        <<"no">> -> {reject, 403, "not you"};
        <<"node">> -> {reply, 200, [], atom_to_binary(node())};
        <<"crash">> -> error(as_asked);
        <<"die">> -> exit(self(), kill), receive never -> ok end;
        <<"bad">> -> {reply, 200, [{"a", "b\r\nc: d"}], ""};
        <<"hold">> -> {accept, 1, #{}};
        <<"wait">> -> wait(), {reply, 200, [], "waited"}
    end;
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"mallory">>}}}) ->
    {reject, 403, "not you"};
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"moved">>}}}) ->
    {reply, 302, #{"location" => "/elsewhere"}, ""};
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"crash">>}}}) ->
    error(as_asked);
handle({init, #{kind := stream, bindings := #{<<"id">> := <<"wait">>}}}) ->
    wait(),
    {reject, 403, "waited"};
handle({init, #{kind := stream} = Request}) ->
    case lariat_request:cookie(<<"who">>, Request) of
        {ok, Who} -> {accept, {user, Who}, #{heartbeat => 1000}};
        error -> {accept, lariat_request:id(Request), #{headers => #{"set-cookie" => "who=you"}}}
    end;
handle({init, #{kind := websocket} = Request}) ->
    {accept, lariat_request:id(Request), #{}};
handle({in, _, {text, <<"crash">>}}) ->
    error(as_asked);
handle({in, _, {text, <<"close">>}}) ->
    {close, bye};
handle({in, _, {text, <<"wait">>}}) ->
    wait(),
    {reply, "waited"};
handle({in, #{id := Id}, {_, Said}}) ->
    {reply, [io_lib:format("~p: ", [Id]), Said]};
%% Of an end the witness hears.
handle({closed, #{id := Id}, Reason}) ->
    lariat:send(witness, io_lib:format("~0p ~0p", [Id, Reason]));
handle({batch, [<<"crash">> | _]}) ->
    error(as_asked);
handle({batch, [<<"not now">> | _]}) ->
    {error, not_now};
handle({batch, Bodies}) ->
    lariat:send(witness, lists:join(" ", Bodies)),
    ok.

wait() ->
    true = register(waiting, self()),
    receive
        let_go -> ok
    end.

let_go() ->
    waiting ! let_go.

witness() ->
    true = register(witness, self()),
    keep(queue:new()).

keep(Heard) ->
    receive
        {take, Pid} when Heard =:= {[], []} ->
            Pid ! none,
            keep(Heard);
        {take, Pid} ->
            {{value, First}, Others} = queue:out(Heard),
            Pid ! {heard, First},
            keep(Others);
        Message ->
            keep(queue:in(Message, Heard))
    end.

take() ->
    witness ! {take, self()},
    receive
        none -> none;
        {heard, _} = Heard -> Heard
    end.
