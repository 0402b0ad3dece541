%%% A held connection from both of its ends: its pid and what Erlang is told of it, and its client.
%%%
%%% For suites that treat connections as processes. What a case does it does in one process on the
%%% Erlang node, where most of this runs; it knows no case.
-module(lariat_conn).

-export([in/2, linked_to/1, open/2, raw/2, pid/2, pids/2, other/2, command/2]).
-export([down/2, down/3, next_down/0, answer/0, next/0, nothing/0, closed/2]).
-export([chunks/1, watched/2, dropped/2]).

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% In a process of its own on the Erlang node.
-spec in(lariat_site:erlang(), fun(() -> Result)) -> Result.
in(App, Fun) ->
    lariat_site:call(App, erlang, apply, [Fun, []]).

%% Whoever dials.
-spec linked_to(node()) -> true.
linked_to(Node) ->
    lariat_site:await(
        fun() ->
            net_kernel:connect_node(Node) =:= true andalso lists:member(Node, nodes(hidden))
        end,
        {link, Node}
    ).

-spec open(lariat_site:edge(), integer() | binary()) -> {lariat_client:stream(), pid()}.
open(#{http := Http, node := Node}, Id) ->
    Before = pids(Node, Id),
    Stream = lariat_client:open(Http, Id, chunked),
    [Pid] = pids(Node, Id) -- Before,
    {Stream, Pid}.

%% The shard answers in order: what was asked of it before has been done.
-spec pid(node(), term()) -> pid().
pid(Node, Id) ->
    [Pid] = pids(Node, Id),
    Pid.

-spec pids(node(), term()) -> [pid()].
pids(Node, Id) ->
    {ok, Pids} = command(Node, {connections, Id}),
    Pids.

-spec command(node(), term()) -> term().
command(Node, Command) ->
    gen_server:call({lariat, Node}, Command, ?DEADLINE_MS).

%% A pid beside a pid: the same node, another slot.
-spec other(pid(), non_neg_integer()) -> pid().
other(Pid, Slot) ->
    <<131, 88, Rest/binary>> = term_to_binary(Pid),
    Size = byte_size(Rest) - 12,
    <<Name:Size/binary, _:32, Serial:32, Creation:32>> = Rest,
    binary_to_term(<<131, 88, Name/binary, Slot:32, Serial:32, Creation:32>>).

-spec down(reference(), pid()) -> term().
down(Monitor, Pid) ->
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after ?DEADLINE_MS -> error({no_down, Pid, process_info(self(), messages)})
    end.

%% Where two reasons are right, the first stands for both.
-spec down(reference(), pid(), [term()]) -> term().
down(Monitor, Pid, [Reason | _] = Right) ->
    true = lists:member(down(Monitor, Pid), Right),
    Reason.

-spec next_down() -> tuple().
next_down() ->
    receive
        {'DOWN', _, process, _, _} = Down -> Down
    after ?DEADLINE_MS -> error(no_down)
    end.

-spec answer() -> {reference(), term()}.
answer() ->
    receive
        {Tag, _} = Answer when is_reference(Tag) -> Answer
    after ?DEADLINE_MS -> error(no_answer)
    end.

-spec next() -> term().
next() ->
    receive
        Message -> Message
    after ?DEADLINE_MS -> error(no_message)
    end.

%% Every signal on the way has arrived when the answer to a later one has.
-spec nothing() -> ok.
nothing() ->
    receive
        Message -> error({unexpected, Message})
    after 0 -> ok
    end.

%% The reason that the attached process is told.
-spec closed(node(), pid()) -> term().
closed(Node, Pid) ->
    receive
        {lariat, Node, _, Events} ->
            case lists:keyfind(Pid, 2, [Event || {closed, _, _, _} = Event <- Events]) of
                {closed, Pid, _, Reason} -> Reason;
                false -> closed(Node, Pid)
            end
    after ?DEADLINE_MS -> error({not_closed, Pid})
    end.

-spec watched(lariat_site:edge(), non_neg_integer()) -> true.
watched(Edge, Count) ->
    lariat_site:await(
        fun() -> lariat_site:metric(Edge, <<"lariat_dist_watches">>) =:= Count end,
        {watches, Count}
    ).

-spec dropped(lariat_site:edge(), binary()) -> number().
dropped(Edge, Reason) ->
    lariat_site:metric(Edge,
        <<"lariat_messages_dropped_total{reason=\"", Reason/binary, "\"}">>).

%% An SSE stream whose events are looked at as they are.
-spec raw(inet:port_number(), integer() | binary()) -> gen_tcp:socket().
raw(Http, Id) ->
    #{socket := Socket} = lariat_client:open(Http, Id, sse),
    Socket.

%% All that comes until the end, out of its chunks.
-spec chunks(gen_tcp:socket()) -> binary().
chunks(Socket) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    chunks(all(Socket, <<>>), <<>>).

chunks(<<"0\r\n\r\n">>, Read) ->
    Read;
chunks(Bytes, Read) ->
    [Hex, Rest] = binary:split(Bytes, <<"\r\n">>),
    Size = binary_to_integer(Hex, 16),
    <<Chunk:Size/binary, "\r\n", Others/binary>> = Rest,
    chunks(Others, <<Read/binary, Chunk/binary>>).

all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, Data} -> all(Socket, <<Read/binary, Data/binary>>);
        {error, closed} -> Read
    end.
