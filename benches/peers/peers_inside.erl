%%% Sending to streams that are processes on the same node, straight to each.
%%%
%%% Who sends waits for those it has sent to every 256 messages, as `peers_router' does for its router: without
%%% that their mailboxes would have no bound.
-module(peers_inside).
-behaviour(peers_sender).

-export([open/1, send/3, all/3, finish/1]).

-define(ASK_EVERY, 256).

open(none) -> {none, 0}.

send({_, Sent}, Id, Message) ->
    Last = to_stream(Id, Message, none),
    case (Sent + 1) rem ?ASK_EVERY of
        0 -> written(Last);
        _ -> ok
    end,
    {Last, Sent + 1}.

all(_, Connections, Message) ->
    Last = lists:foldl(fun(Id, Last) -> to_stream(Id, Message, Last) end, none, lists:seq(1, Connections)),
    {Last, 0}.

finish({Last, _}) -> written(Last).

to_stream(Id, Message, Last) ->
    case peers_streams:stream(Id) of
        none ->
            Last;
        Pid ->
            Pid ! {message, Message},
            Pid
    end.

%% On one scheduler those before it have had their turns when this one answers.
written(none) ->
    ok;
written(Pid) ->
    Pid ! {ask, self()},
    receive written -> ok end.
