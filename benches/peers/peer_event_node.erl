%%% A C node on libevent and ei (`event_node.c'). Its brake is the socket: Erlang suspends who
%%% sends.
-module(peer_event_node).
-behaviour(peer_of_bench).
-behaviour(peers_sender).

%% The server.
-export([start/2]).
%% Who sends.
-export([open/1, send/3, all/3, finish/1]).

start(Site, #{connections := Connections, peers := Peers}) ->
    #{cookie := Cookie, epmd_port := Port} = Site,
    Program = filename:join(Peers, "event_node"),
    case filelib:is_regular(Program) of
        false ->
            {absent, "event_node was not built: it needs libevent-dev and erlang-dev"};
        true ->
            Args = ["event_node", Cookie, integer_to_list(Connections)],
            Env = [{"ERL_EPMD_PORT", integer_to_list(Port)}],
            {OsPid, Http} = peers_program:start(Program, Args, Env, "ready ([0-9]+)"),
            Sender = lariat_site:plain_erlang(Site, "sender", peers_program:paths()),
            Url = "http://127.0.0.1:" ++ binary_to_list(Http) ++ "/stream/{id}",
            {ok, #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Sender,
                sends => ?MODULE, target => {any, 'event_node@127.0.0.1'}, knows => fun(_) -> true end}}
    end.

open({_, Node} = Target) ->
    true = net_kernel:connect_node(Node),
    Target.

send(Target, Ids, Message) ->
    Target ! {Ids, Message},
    Target.

all(Target, Connections, Message) ->
    send(Target, lists:seq(1, Connections), Message).

finish(_) -> ok.
