%%% A raw HTTP client for the suites: held streams and single requests.
%%%
%%% It checks framing strictly: a chunk that is none fails the test. No keep-alive, no redirects.
-module(lariat_client).

-export([get/2, request/2]).
-export([open/3, open/4, message/1, nothing/1, close/1]).
-export([connected/1, head/1]).

-export_type([stream/0]).

-type stream() :: #{socket := gen_tcp:socket(), transport := chunked | sse, id := term()}.

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% How long nothing must come for it to count as nothing. Not a wait for something: what would
%% come wrongly comes within a millisecond on loopback, and the next message finds it as well.
-define(SILENCE_MS, 100).

%% @doc One ordinary request: status, head, body.
-spec get(inet:port_number(), string()) -> {100..599, binary(), binary()}.
get(Port, Path) ->
    request(Port, ["GET ", Path, " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"]).

%% @doc Sends these bytes and reads to the end: status, head, body.
-spec request(inet:port_number(), iodata()) -> {100..599, binary(), binary()}.
request(Port, Bytes) ->
    {ok, Socket} = connect(Port),
    ok = gen_tcp:send(Socket, Bytes),
    [Head, Body] = binary:split(all(Socket, []), <<"\r\n\r\n">>),
    <<"HTTP/1.1 ", Status:3/binary, _/binary>> = Head,
    {binary_to_integer(Status), Head, Body}.

%% @doc A held stream of an id, opened and greeted.
-spec open(inet:port_number(), integer() | binary(), chunked | sse) -> stream().
open(Port, Id, Transport) ->
    {ok, Socket} = connect(Port),
    Accept = case Transport of sse -> "Accept: text/event-stream\r\n"; chunked -> "" end,
    Segment =
        case Id of
            _ when is_integer(Id) -> integer_to_list(Id);
            _ -> [io_lib:format("%~2.16.0B", [Byte]) || <<Byte>> <= Id]
        end,
    ok = gen_tcp:send(Socket, ["GET /stream/", Segment, " HTTP/1.1\r\nHost: a\r\n", Accept, "\r\n"]),
    Stream = #{socket => Socket, transport => Transport, id => Id},
    {200, _} = head(Socket),
    ok = inet:setopts(Socket, [{packet, line}]),
    case Transport of
        sse -> <<"retry: ", _/binary>> = chunk(Socket);
        chunked -> ok
    end,
    Stream.

%% @doc A held stream at any path, opened with more fields (`Name: value\r\n' each) and greeted;
%% answers the head, too.
-spec open(inet:port_number(), iodata(), chunked | sse, iodata()) -> {stream(), Head :: binary()}.
open(Port, Path, Transport, Fields) ->
    Socket = connected(Port),
    Accept = case Transport of sse -> "Accept: text/event-stream\r\n"; chunked -> "" end,
    ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nHost: a\r\n", Accept, Fields, "\r\n"]),
    {200, Head} = head(Socket),
    Stream = #{socket => Socket, transport => Transport, id => Path},
    ok = inet:setopts(Socket, [{packet, line}]),
    case Transport of
        sse -> <<"retry: ", _/binary>> = chunk(Socket);
        chunked -> ok
    end,
    {Stream, Head}.

%% @doc The next message, or `closed' when the body has ended in order.
-spec message(stream()) -> binary() | closed.
message(#{socket := Socket, transport := Transport} = Stream) ->
    case {Transport, chunk(Socket)} of
        {_, <<>>} -> closed;
        {chunked, <<"\n">>} -> message(Stream);
        {chunked, Data} -> Data;
        {sse, <<":", _/binary>>} -> message(Stream);
        {sse, <<"retry: ", _/binary>>} -> message(Stream);
        {sse, Event} -> data(binary:split(Event, <<"\n">>, [global]))
    end.

%% @doc Nothing comes, and the stream is still open.
-spec nothing(stream()) -> ok.
nothing(#{socket := Socket}) ->
    {error, timeout} = gen_tcp:recv(Socket, 0, ?SILENCE_MS),
    ok.

%% @doc Leaves.
-spec close(stream()) -> ok.
close(#{socket := Socket}) ->
    gen_tcp:close(Socket).

%% @doc A connection on which nothing was said yet.
-spec connected(inet:port_number()) -> gen_tcp:socket().
connected(Port) ->
    {ok, Socket} = connect(Port),
    Socket.

%% @doc Reads the head of an answer, and nothing behind it: its status, and its fields as they are.
-spec head(gen_tcp:socket()) -> {100..599, binary()}.
head(Socket) ->
    ok = inet:setopts(Socket, [{packet, line}]),
    {ok, <<"HTTP/1.1 ", Status:3/binary, _/binary>>} = line(Socket),
    Head = fields(Socket, []),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {binary_to_integer(Status), Head}.

%% Bound to one address: Erlang binds before it connects, and to any address there is no port left when
%% a load generator has its connections from many.
connect(Port) ->
    Options = [binary, {active, false}, {packet, raw}, {ip, {127, 0, 0, 1}}],
    gen_tcp:connect({127, 0, 0, 1}, Port, Options, ?DEADLINE_MS).

all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, Data} -> all(Socket, [Data | Read]);
        {error, closed} -> iolist_to_binary(lists:reverse(Read))
    end.

fields(Socket, Fields) ->
    case line(Socket) of
        {ok, <<"\r\n">>} -> iolist_to_binary(lists:reverse(Fields));
        {ok, Field} -> fields(Socket, [Field | Fields])
    end.

chunk(Socket) ->
    {ok, Line} = line(Socket),
    Size = binary_to_integer(binary:part(Line, 0, byte_size(Line) - 2), 16),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, <<Data:Size/binary, "\r\n">>} = gen_tcp:recv(Socket, Size + 2, ?DEADLINE_MS),
    ok = inet:setopts(Socket, [{packet, line}]),
    Data.

line(Socket) ->
    gen_tcp:recv(Socket, 0, ?DEADLINE_MS).

data(Lines) ->
    iolist_to_binary(lists:join("\n", [Data || <<"data: ", Data/binary>> <- Lines])).
