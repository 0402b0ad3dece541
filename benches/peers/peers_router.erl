%%% Sending to streams that are processes from another node: by a router, which knows them by id.
%%%
%%% Who sends waits for the router every 256 messages: without that its mailbox would have no bound.
-module(peers_router).
-behaviour(peers_sender).

%% Who sends.
-export([open/1, send/3, all/3, finish/1]).
%% On the server.
-export([route/0]).

-define(ASK_EVERY, 256).

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

%% @doc The router, for as long as its node lives.
-spec route() -> no_return().
route() ->
    receive
        {ask, Pid} -> Pid ! routed;
        {Ids, Message} when is_list(Ids) -> _ = [route(Id, Message) || Id <- Ids];
        {Id, Message} -> route(Id, Message)
    end,
    route().

route(Id, Message) ->
    case peers_streams:stream(Id) of
        none -> gone;
        Pid -> Pid ! {message, Message}
    end.
