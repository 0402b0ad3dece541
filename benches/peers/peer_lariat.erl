%%% Lariat: the hidden node with one shard, and an Erlang node that sends on credit.
-module(peer_lariat).
-behaviour(peer_of_bench).
-behaviour(peers_sender).

%% The server.
-export([start/2]).
%% Who sends.
-export([open/1, send/3, all/3, finish/1]).

start(Site, _) ->
    #{node := Node, http := Http, os_pid := OsPid} =
        lariat_site:edge(Site, "lariat", #{shards => peers_program:server_cpus()}),
    ok = peers_program:to_server_cpu(OsPid),
    Sender = lariat_site:erlang(Site, "sender", [Node]),
    Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
    Knows = fun(Count) -> lariat_site:call(Sender, lariat_picture, count, []) =:= Count end,
    {ok, #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Sender,
        sends => ?MODULE, target => Node, knows => Knows}}.

open(Node) -> Node.

send(Node, Ids, Message) ->
    case lariat:send(Ids, Message) of
        ok -> Node;
        {error, busy} -> erlang:yield(), send(Node, Ids, Message)
    end.

all(Node, Connections, Message) ->
    send(Node, lists:seq(1, Connections), Message).

finish(_) -> ok.
