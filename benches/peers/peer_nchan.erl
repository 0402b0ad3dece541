%%% nchan, a module of nginx: one worker, a POST for each message over eight connections that are
%%% kept.
%%%
%%% Its streams are server-sent events, because it streams chunks only to who asks with a TE field.
%%% A message to all is one POST to a channel that all of them listen to.
-module(peer_nchan).
-behaviour(peer_of_bench).
-behaviour(peers_sender).

%% The server.
-export([start/2]).
%% Who sends.
-export([open/1, send/3, all/3, finish/1]).

%% Requests under way: eight connections, sixteen on each.
-define(SOCKETS, 8).
-define(UNDER_WAY, 16).

start(Site, #{connections := Connections, peers := Peers}) ->
    Debian = filename:join(Peers, "debian"),
    Module = filename:join(Debian, "usr/lib/nginx/modules/ngx_nchan_module.so"),
    Nginx = filename:join(Debian, "usr/sbin/nginx"),
    case filelib:is_regular(Module) andalso filelib:is_regular(Nginx) of
        false ->
            {absent, "there is no nchan: Debian's packages are nginx and libnginx-mod-nchan"};
        true ->
            #{dir := Dir} = Site,
            Http = lariat_site:free_port(),
            Config = filename:join(Dir, "nginx.conf"),
            ok = file:write_file(Config, config(Dir, Module, Http, Connections)),
            ok = filelib:ensure_dir(filename:join(Dir, "var/lib/nginx/x")),
            {Master, _} = peers_program:start(Nginx, ["-c", Config, "-p", Dir], [], none),
            Workers = fun() -> peers_program:children(Master) end,
            Worker = lariat_site:await(fun() -> Workers() =/= [] andalso hd(Workers()) end, worker),
            Sender = lariat_site:plain_erlang(Site, "sender", peers_program:paths()),
            Url = "http://127.0.0.1:" ++ integer_to_list(Http),
            {ok, #{url => Url ++ "/stream/{id}", all_url => Url ++ "/all/{id}",
                args => ["--transport", "sse"], os_pids => [Master, Worker], sender => Sender,
                sends => ?MODULE, target => Http, knows => fun(_) -> true end}}
    end.

config(Dir, Module, Http, Connections) ->
    [
        "daemon off;\nworker_processes 1;\nload_module ", Module, ";\n",
        %% Started as root, its worker is another user by default, who may not write here.
        case os:cmd("id -u") of "0\n" -> "user root;\n"; _ -> "" end,
        "pid ", Dir, "/nginx.pid;\nerror_log ", Dir, "/nginx.log;\n",
        "events { worker_connections ", integer_to_list(2 * Connections + 64), "; }\n",
        "http {\naccess_log off;\nkeepalive_requests 1000000000;\ntcp_nodelay on;\n",
        "nchan_message_buffer_length 0;\n",
        "server { listen 127.0.0.1:", integer_to_list(Http), " backlog=1024;\n",
        "location ~ ^/stream/([0-9]+)$ { nchan_subscriber eventsource; nchan_channel_id u$1; }\n",
        "location ~ ^/all/ { nchan_subscriber eventsource; nchan_channel_id all; }\n",
        "location ~ ^/post/([a-z0-9]+)$ { nchan_publisher http; nchan_channel_id $1; }\n",
        "} }\n"
    ].

open(Http) ->
    %% From an address that no stream comes from: its ports are free.
    Options = [binary, {active, false}, {nodelay, true}, {ip, {127, 0, 0, 9}}],
    [{connect(Http, Options), 0} || _ <- lists:seq(1, ?SOCKETS)].

connect(Http, Options) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Http, Options),
    Socket.

send(Sockets, Id, Message) ->
    post(Sockets, [$u | integer_to_list(Id)], Message).

all(Sockets, _, Message) ->
    post(Sockets, "all", Message).

post([{Socket, UnderWay} | Others], Channel, Message) ->
    Length = integer_to_list(byte_size(Message)),
    ok = gen_tcp:send(Socket, ["POST /post/", Channel, " HTTP/1.1\r\nHost: a\r\nContent-Length: ",
        Length, "\r\n\r\n", Message]),
    Others ++ [room({Socket, UnderWay + 1})].

room({Socket, ?UNDER_WAY}) -> {Socket, answers(Socket, ?UNDER_WAY, <<>>)};
room(Some) -> Some.

%% Waits for so many answers.
answers(_, 0, _) ->
    0;
answers(Socket, Count, Rest) ->
    {ok, More} = gen_tcp:recv(Socket, 0, 60000),
    Data = <<Rest/binary, More/binary>>,
    Found = length(binary:matches(Data, <<"HTTP/1.1 2">>)),
    %% One byte less than what is looked for: an answer may begin there, and none is found twice.
    Keep = min(9, byte_size(Data)),
    answers(Socket, Count - Found, binary:part(Data, byte_size(Data), -Keep)).

finish(Sockets) ->
    _ = [begin 0 = answers(Socket, UnderWay, <<>>), ok = gen_tcp:close(Socket) end
         || {Socket, UnderWay} <- Sockets],
    ok.
