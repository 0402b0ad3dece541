%%% mochiweb: a process for each stream, hibernating.
-module(peer_mochiweb).
-behaviour(peer_of_bench).
-behaviour(peers_streams).

-export([start/2]).
%% The server.
-export([needs/0, listen/1, requested/1, streaming/2]).

start(Site, Size) ->
    peers_streams:start(Site, ?MODULE, peers_router, Size).

needs() ->
    {mochiweb, ["debian/usr/lib/erlang/lib/mochiweb*/ebin"], "erlang-mochiweb"}.

listen(Connections) ->
    {ok, _} = application:ensure_all_started(crypto),
    {ok, Http} = mochiweb_http:start([
        {name, held}, {ip, "127.0.0.1"}, {port, 0}, {backlog, 1024}, {nodelay, true},
        {max, Connections * 2}, {loop, fun ?MODULE:requested/1}
    ]),
    mochiweb_socket_server:get(Http, port).

requested(Request) ->
    "/stream/" ++ Id = mochiweb_request:get(path, Request),
    peers_streams:hold(list_to_integer(Id)),
    mochiweb_request:respond({200, [], chunked}, Request),
    Socket = mochiweb_request:get(socket, Request),
    ok = mochiweb_socket:setopts(Socket, [{active, once}]),
    mochiweb_request:cleanup(Request),
    %% The request, with its fields, is not kept: only what a chunk needs.
    proc_lib:hibernate(?MODULE, streaming, [list_to_integer(Id), Socket]).

streaming(Id, Socket) ->
    receive
        {message, Message} ->
            Size = integer_to_list(byte_size(Message), 16),
            ok = mochiweb_socket:send(Socket, [Size, "\r\n", Message, "\r\n"]),
            proc_lib:hibernate(?MODULE, streaming, [Id, Socket]);
        {ask, Pid} ->
            Pid ! written,
            proc_lib:hibernate(?MODULE, streaming, [Id, Socket]);
        {tcp_closed, _} ->
            peers_streams:forget(Id),
            exit(normal);
        _ ->
            exit(normal)
    end.
