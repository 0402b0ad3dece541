%%% A raw WebSocket client for the suites (RFC 6455): text, binary and close frames of any length.
%%%
%%% It checks what a server must do (no mask, final frames, the accept key) and answers pings; no
%%% fragments, no extensions.
-module(lariat_websocket).

-export([open/2, open/3, say/2, hear/1, ended/1, close/1, refused/3]).
%% A handshake in parts.
-export([request/2, asked/3, upgraded/1]).

-export_type([socket/0]).

-type socket() :: gen_tcp:socket().

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% The one of RFC 6455, 1.3, and what it is answered.
-define(KEY, "dGhlIHNhbXBsZSBub25jZQ==").
-define(ACCEPT, <<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>).

%% @doc Opens one; the server must agree.
-spec open(inet:port_number(), iodata()) -> socket().
open(Port, Path) ->
    {Socket, _} = open(Port, Path, []),
    Socket.

%% @doc The same with more fields, `Name: value\r\n' each; answers the head, too.
-spec open(inet:port_number(), iodata(), iodata()) -> {socket(), Head :: binary()}.
open(Port, Path, Fields) ->
    Socket = asked(Port, Path, Fields),
    {Socket, upgraded(Socket)}.

%% @doc A connection that has asked for one.
-spec asked(inet:port_number(), iodata(), iodata()) -> socket().
asked(Port, Path, Fields) ->
    Socket = lariat_client:connected(Port),
    ok = gen_tcp:send(Socket, request(Path, Fields)),
    Socket.

%% @doc Reads the answer; the server must agree.
-spec upgraded(socket()) -> Head :: binary().
upgraded(Socket) ->
    {101, Head} = lariat_client:head(Socket),
    {match, _} = re:run(Head, ["sec-websocket-accept: ", escaped(?ACCEPT)], [caseless]),
    Head.

%% @doc What a handshake is answered that is refused.
-spec refused(inet:port_number(), iodata(), iodata()) -> {100..599, binary(), binary()}.
refused(Port, Path, Fields) ->
    lariat_client:request(Port, request(Path, Fields)).

%% @doc Sends a message, or the end.
-spec say(socket(), {text | binary, iodata()} | {close, integer()}) ->
    ok | {error, closed | inet:posix()}.
say(Socket, {text, Data}) -> gen_tcp:send(Socket, frame(1, iolist_to_binary(Data)));
say(Socket, {binary, Data}) -> gen_tcp:send(Socket, frame(2, iolist_to_binary(Data)));
say(Socket, {close, Code}) -> gen_tcp:send(Socket, frame(8, <<Code:16>>)).

%% @doc The next message, or `{close, Code}', or `closed' when the connection ends without.
-spec hear(socket()) -> {text | binary, binary()} | {close, integer() | none} | closed.
hear(Socket) ->
    case next(Socket) of
        {1, Data} -> {text, Data};
        {2, Data} -> {binary, Data};
        {8, <<Code:16, _/binary>>} -> {close, Code};
        {8, <<>>} -> {close, none};
        closed -> closed
    end.

%% @doc The end that comes now, and its text; the connection must end with it.
-spec ended(socket()) -> {integer(), Text :: binary()}.
ended(Socket) ->
    {8, <<Code:16, Text/binary>>} = next(Socket),
    closed = next(Socket),
    {Code, Text}.

%% @doc Leaves in order, with a close frame.
-spec close(socket()) -> ok.
close(Socket) ->
    ok = gen_tcp:send(Socket, frame(8, <<1000:16>>)),
    {close, 1000} = hear(Socket),
    gen_tcp:close(Socket).

%% @doc What asks for one.
-spec request(iodata(), iodata()) -> iodata().
request(Path, Fields) ->
    [
        "GET ", Path, " HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " ?KEY "\r\n", Fields, "\r\n"
    ].

next(Socket) ->
    case gen_tcp:recv(Socket, 2, ?DEADLINE_MS) of
        {ok, <<1:1, 0:3, Opcode:4, 0:1, Length:7>>} ->
            case {Opcode, payload(Socket, Length)} of
                {9, Data} -> ok = gen_tcp:send(Socket, frame(10, Data)), next(Socket);
                Frame -> Frame
            end;
        {error, _} ->
            closed
    end.

payload(_, 0) -> <<>>;
payload(Socket, 126) -> <<Length:16>> = recv(Socket, 2), recv(Socket, Length);
payload(Socket, 127) -> <<Length:64>> = recv(Socket, 8), recv(Socket, Length);
payload(Socket, Length) -> recv(Socket, Length).

recv(Socket, Length) ->
    {ok, Data} = gen_tcp:recv(Socket, Length, ?DEADLINE_MS),
    Data.

frame(Opcode, Data) ->
    Mask = rand:bytes(4),
    [<<1:1, 0:3, Opcode:4, 1:1, (length_of(byte_size(Data)))/bitstring>>, Mask, masked(Data, Mask)].

length_of(Length) when Length < 126 -> <<Length:7>>;
length_of(Length) when Length < 65536 -> <<126:7, Length:16>>;
length_of(Length) -> <<127:7, Length:64>>.

masked(Data, Mask) ->
    Long = binary:copy(Mask, byte_size(Data) div 4 + 1),
    crypto:exor(Data, binary:part(Long, 0, byte_size(Data))).

escaped(Text) -> re:replace(Text, "[+/=]", "\\\\&", [global]).
