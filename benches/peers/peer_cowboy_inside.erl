%%% cowboy, and who sends in the same Erlang node.
-module(peer_cowboy_inside).
-behaviour(peer_of_bench).

-export([start/2]).

start(Site, Size) ->
    peers_streams:start(Site, peer_cowboy, peers_inside, Size).
