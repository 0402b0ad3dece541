%%% No server: each message is made, and sent nowhere. What that costs is the sender's share of what a server
%%% costs that has its sender inside.
-module(peer_none).
-behaviour(peers_sender).

-export([open/1, send/3, all/3, finish/1]).

open(none) -> none.

send(none, _, _) -> none.

all(none, _, _) -> none.

finish(none) -> ok.
