%%% An edge written in Erlang, to be run on a node of its own: speaks the protocol of an edge with
%%% processes in the place of held connections.
%%%
%%% It holds no sockets and measures nothing. What the real edge does is tested with the real
%%% edge; this one exists to say what a real one says only rarely: a resync in the middle of
%%% traffic, stale news, a refusal.
-module(lariat_test_edge).

-behaviour(gen_server).

-export([start/0, open/1, open/2, close/1, connections/0, received/0, tell/2, resync/0, resync/1]).
-export([refuse/1, grant/1, epoch/0, flood/1, news/1, options/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(edge, {
    conns = #{} :: #{pid() => term()},
    %% Of those that have one.
    handlers = #{} :: #{pid() => binary()},
    owner = none :: none | pid(),
    %% What the owner attached with.
    options = #{} :: map(),
    epoch :: integer(),
    refusal = none :: term(),
    %% Bytes of credit for whoever attaches.
    credit = none :: none | pos_integer(),
    received = [] :: [term()]
}).

start() ->
    {ok, _} = gen_server:start({local, lariat}, ?MODULE, [], []),
    true = register(lariat_credited, spawn(fun credited/0)),
    ok.

%% Says of what comes on credit that it did.
credited() ->
    receive
        Message ->
            lariat ! {credited, Message},
            credited()
    end.

open(Id) -> gen_server:call(lariat, {open, Id}).
open(Id, Handler) -> gen_server:call(lariat, {open, Id, Handler}).
close(Pid) -> gen_server:call(lariat, {close_one, Pid}).
connections() -> gen_server:call(lariat, all).
received() -> gen_server:call(lariat, received).
tell(Epoch, Events) -> gen_server:call(lariat, {tell, Epoch, Events}).
resync() -> resync([]).
resync(Between) -> gen_server:call(lariat, {resync, Between}).
refuse(Reason) -> gen_server:call(lariat, {refuse, Reason}).
grant(Bytes) -> gen_server:call(lariat, {grant, Bytes}).
epoch() -> gen_server:call(lariat, epoch).
options() -> gen_server:call(lariat, options).
%% Of the current epoch.
news(Events) -> gen_server:call(lariat, {news, Events}).
flood(Ids) -> gen_server:call(lariat, {flood, Ids}, infinity).

init([]) ->
    {ok, #edge{epoch = erlang:system_time(microsecond)}}.

handle_call({open, Id}, _, Edge) ->
    {Pid, Opened} = opened(Id, Edge),
    told([{opened, Pid, Id, info(Pid, Opened)}], Opened),
    {reply, Pid, Opened};
handle_call({open, Id, Handler}, _, #edge{handlers = Handlers} = Edge) ->
    {Pid, Opened} = opened(Id, Edge),
    Handled = Opened#edge{handlers = Handlers#{Pid => Handler}},
    told([{opened, Pid, Id, info(Pid, Handled)}], Handled),
    {reply, Pid, Handled};
handle_call(options, _, #edge{options = Options} = Edge) ->
    {reply, Options, Edge};
handle_call({news, Events}, _, Edge) ->
    told(Events, Edge),
    {reply, ok, Edge};
handle_call({flood, Ids}, _, Edge) ->
    Flooded = lists:foldl(fun(Id, E) -> element(2, opened(Id, E)) end, Edge, Ids),
    {reply, ok, Flooded};
handle_call({close_one, Pid}, _, #edge{conns = Conns} = Edge) ->
    {Id, Others} = maps:take(Pid, Conns),
    exit(Pid, kill),
    told([{closed, Pid, Id, client}], Edge),
    {reply, ok, Edge#edge{conns = Others}};
handle_call(all, _, #edge{conns = Conns} = Edge) ->
    {reply, lists:sort(maps:to_list(Conns)), Edge};
handle_call(received, _, #edge{received = Received} = Edge) ->
    {reply, lists:reverse(Received), Edge#edge{received = []}};
handle_call({tell, Epoch, Events}, _, #edge{owner = Owner} = Edge) ->
    Owner ! {lariat, node(), Epoch, Events},
    {reply, ok, Edge};
handle_call({resync, Between}, _, Edge) ->
    {reply, ok, snapshot(Between, Edge)};
handle_call({refuse, Reason}, _, Edge) ->
    {reply, ok, Edge#edge{refusal = Reason}};
handle_call({grant, Bytes}, _, Edge) ->
    {reply, ok, Edge#edge{credit = Bytes}};
handle_call(epoch, _, #edge{epoch = Epoch} = Edge) ->
    {reply, Epoch, Edge};
handle_call({attach, _, _}, _, #edge{refusal = Reason} = Edge) when Reason =/= none ->
    {reply, {error, Reason}, Edge};
handle_call({attach, Owner, #{credit := true} = Options}, From, #edge{epoch = Epoch} = Edge) ->
    Granted = [{credit, Edge#edge.credit} || Edge#edge.credit =/= none],
    gen_server:reply(From, {ok, maps:from_list([{epoch, Epoch + 1} | Granted])}),
    {noreply, snapshot([], Edge#edge{owner = Owner, options = Options})};
handle_call({send, Ids, Payload}, _, Edge) ->
    {reply, {ok, #{connections => count(Ids, Edge), queued_bytes => 0}}, got({Ids, Payload}, Edge)};
handle_call({close, Ids, Reason}, _, Edge) ->
    {reply, {ok, #{connections => count(Ids, Edge)}}, got({close, Ids, Reason}, Edge)};
handle_call(info, _, Edge) ->
    {reply, {ok, #{version => <<"test">>}}, Edge};
handle_call(hang, _, Edge) ->
    {noreply, Edge}.

handle_cast({send, _, _, _} = Command, Edge) -> {noreply, got(Command, Edge)};
handle_cast({answer, _, _} = Command, Edge) -> {noreply, got(Command, Edge)}.

handle_info(Message, Edge) -> {noreply, got(Message, Edge)}.

got(Message, #edge{received = Received} = Edge) -> Edge#edge{received = [Message | Received]}.

opened(Id, #edge{conns = Conns} = Edge) ->
    Pid = spawn(fun conn/0),
    {Pid, Edge#edge{conns = Conns#{Pid => Id}}}.

%% Says what it is sent.
conn() ->
    receive
        Message ->
            lariat ! {conn, self(), Message},
            conn()
    end.

snapshot(Between, #edge{conns = Conns, epoch = Epoch, owner = Owner} = Edge) ->
    Snapshot = [{opened, Pid, Id, info(Pid, Edge)} || {Pid, Id} <- maps:to_list(Conns)],
    New = Epoch + 1,
    Owner ! {lariat, node(), New, [{snapshot, 'begin'}]},
    _ = [Owner ! {lariat, node(), New, Chunk} || Chunk <- [Between | chunks(Snapshot)]],
    Owner ! {lariat, node(), New, [{snapshot, 'end'}]},
    Edge#edge{epoch = New}.

chunks(Events) when length(Events) > 1000 ->
    {Chunk, Others} = lists:split(1000, Events),
    [Chunk | chunks(Others)];
chunks(Events) ->
    [Events].

told(_, #edge{owner = none}) -> ok;
told(Events, #edge{owner = Owner, epoch = Epoch}) -> Owner ! {lariat, node(), Epoch, Events}.

count(Ids, #edge{conns = Conns}) ->
    length([Pid || Id <- lariat_wire:ids(Ids), {Pid, I} <- maps:to_list(Conns), I =:= Id]).

info(Pid, #edge{handlers = Handlers}) ->
    Info = #{transport => sse, peer => {{127, 0, 0, 1}, 4711}},
    case Handlers of
        #{Pid := Handler} -> Info#{handler => Handler};
        #{} -> Info
    end.
