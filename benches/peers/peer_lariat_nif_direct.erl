%%% Lariat inside the VM, and who sends calls the NIF library for each message, without the router.
%%%
%%% It asks nobody who is there, as the router would (`lariat:send/2'), and looks the edge up once.
-module(peer_lariat_nif_direct).
-behaviour(peer_of_bench).
-behaviour(peers_sender).

%% The server.
-export([start/2]).
%% Who sends.
-export([open/1, send/3, all/3, finish/1]).

start(Site, Size) ->
    case peer_lariat_nif:start(Site, Size) of
        {ok, Started} -> {ok, Started#{sends := ?MODULE}};
        {absent, _} = Absent -> Absent
    end.

open(Name) ->
    {Edge, _} = lariat_edge_instance:running(Name),
    Edge.

send(Edge, Ids, Message) ->
    case lariat_nif:send(Edge, {Ids, Message}) of
        ok -> Edge;
        {error, busy} -> receive after 1 -> send(Edge, Ids, Message) end
    end.

all(Edge, Connections, Message) ->
    send(Edge, lists:seq(1, Connections), Message).

finish(_) -> ok.
