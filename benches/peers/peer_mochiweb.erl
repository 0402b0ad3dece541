%%% mochiweb: a process for each stream, hibernating, and a router that knows them by id.
%%%
%%% Who sends waits for the router every 256 messages: without that its mailbox would have no bound.
-module(peer_mochiweb).
-behaviour(peer_of_bench).

-export([start/2, open/1, send/3, all/3, finish/1]).
%% For whoever sends on the server itself.
-export([server/2]).
%% On the server.
-export([serve/1, requested/1, streaming/2]).

-define(ASK_EVERY, 256).

start(Site, Size) ->
    case server(Site, Size) of
        {absent, _} = Absent ->
            Absent;
        {ok, #{node := Node, os_pid := OsPid}, Http} ->
            Sender = lariat_site:plain_erlang(Site, "sender", peers_program:paths()),
            Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
            {ok, #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Sender,
                target => {router, Node}, knows => fun(_) -> true end}}
    end.

%% @doc An Erlang node on the CPU for servers in which mochiweb listens, and the port.
-spec server(lariat_site:site(), #{connections := pos_integer(), peers := file:filename(), _ => _}) ->
    {ok, lariat_site:erlang(), inet:port_number()} | {absent, string()}.
server(Site, #{connections := Connections, peers := Peers}) ->
    Ebins = filelib:wildcard(filename:join(Peers, "debian/usr/lib/erlang/lib/mochiweb*/ebin")),
    case Ebins of
        [] ->
            {absent, "there is no mochiweb: Debian's package is erlang-mochiweb"};
        [Ebin | _] ->
            Args = peers_program:scheduler_args() ++ ["-pa", Ebin | peers_program:paths()],
            #{os_pid := OsPid} = Server = lariat_site:plain_erlang(Site, "mochiweb", Args),
            ok = peers_program:to_server_cpu(OsPid),
            {ok, Server, lariat_site:call(Server, ?MODULE, serve, [Connections])}
    end.

open(Target) -> {Target, 0}.

send({Target, Sent}, Ids, Message) ->
    Target ! {Ids, Message},
    case (Sent + 1) rem ?ASK_EVERY of
        0 -> ask(Target);
        _ -> ok
    end,
    {Target, Sent + 1}.

all(Handle, Connections, Message) ->
    send(Handle, lists:seq(1, Connections), Message).

finish({Target, _}) -> ask(Target).

ask(Target) ->
    Target ! {ask, self()},
    receive routed -> ok end.

%% @doc Listens; answers the port.
serve(Connections) ->
    Started = self(),
    spawn(fun() ->
        true = register(router, self()),
        streams = ets:new(streams, [named_table, public]),
        {ok, _} = application:ensure_all_started(crypto),
        {ok, Http} = mochiweb_http:start([
            {name, held}, {ip, "127.0.0.1"}, {port, 0}, {backlog, 1024}, {nodelay, true},
            {max, Connections * 2}, {loop, fun ?MODULE:requested/1}
        ]),
        Started ! {listens, mochiweb_socket_server:get(Http, port)},
        route()
    end),
    receive {listens, Port} -> Port end.

route() ->
    receive
        {ask, Pid} -> Pid ! routed;
        {Ids, Message} when is_list(Ids) -> _ = [route(Id, Message) || Id <- Ids];
        {Id, Message} -> route(Id, Message)
    end,
    route().

route(Id, Message) ->
    case ets:lookup(streams, Id) of
        [{_, Pid}] -> Pid ! {message, Message};
        [] -> gone
    end.

requested(Request) ->
    "/stream/" ++ Id = mochiweb_request:get(path, Request),
    ets:insert(streams, {list_to_integer(Id), self()}),
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
            ets:delete_object(streams, {Id, self()}),
            exit(normal);
        _ ->
            exit(normal)
    end.
