%%% A distribution peer made by hand: it shakes hands properly and then sends what it is told.
%%%
%%% For what no Erlang node would ever send. It knows the handshake of version 6 as an initiator,
%%% and nothing else (OTP, "Distribution Protocol").
-module(lariat_peer).

-export([connect/3, drain/1]).

%% The flags that OTP 25 demands, one that stands for them, and those of OTP 26.
-define(FLAGS, 16#d075f5fbc).

-define(DEADLINE_MS, 60000).

%% @doc A socket on which frames may follow.
-spec connect(inet:port_number(), node(), string()) -> gen_tcp:socket().
connect(Port, Node, Cookie) ->
    {ok, Socket} = gen_tcp:connect(
        {127, 0, 0, 1}, Port, [binary, {active, false}, {packet, 2}], ?DEADLINE_MS
    ),
    Name = atom_to_binary(Node),
    ok = gen_tcp:send(Socket, <<"N", ?FLAGS:64, 1:32, (byte_size(Name)):16, Name/binary>>),
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, <<"s", "ok">>} -> ok;
        %% Its last link has been closed but is not yet forgotten: replace it, as a node would.
        {ok, <<"s", "alive">>} -> ok = gen_tcp:send(Socket, <<"s", "true">>)
    end,
    {ok, <<"N", _:64, Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0, ?DEADLINE_MS),
    ok = gen_tcp:send(Socket, <<"r", 7:32, (digest(Cookie, Challenge))/binary>>),
    Answer = digest(Cookie, 7),
    {ok, <<"a", Answer/binary>>} = gen_tcp:recv(Socket, 0, ?DEADLINE_MS),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Socket.

%% @doc Reads until the other side ends it; answers how.
-spec drain(gen_tcp:socket()) -> {error, closed | timeout | inet:posix()}.
drain(Socket) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, _} -> drain(Socket);
        %% A reset says the same: bytes of ours were still unread.
        {error, econnreset} -> {error, closed};
        {error, _} = Error -> Error
    end.

digest(Cookie, Challenge) ->
    erlang:md5([Cookie, integer_to_list(Challenge)]).
