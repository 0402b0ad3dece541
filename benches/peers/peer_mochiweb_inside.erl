%%% mochiweb, and who sends in the same Erlang node, straight to the process of each stream.
%%%
%%% Who sends waits for those it has sent to every 256 messages, as `peer_mochiweb' does for its router:
%%% without that their mailboxes would have no bound.
-module(peer_mochiweb_inside).
-behaviour(peer_of_bench).

-export([start/2, open/1, send/3, all/3, finish/1]).

-define(ASK_EVERY, 256).

start(Site, Size) ->
    case peer_mochiweb:server(Site, Size) of
        {absent, _} = Absent ->
            Absent;
        {ok, #{os_pid := OsPid} = Server, Http} ->
            Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
            {ok, #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Server,
                target => none, knows => fun(_) -> true end}}
    end.

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
    case ets:lookup(streams, Id) of
        [{_, Pid}] ->
            Pid ! {message, Message},
            Pid;
        [] ->
            Last
    end.

%% On one scheduler those before it have had their turns when this one answers.
written(none) ->
    ok;
written(Pid) ->
    Pid ! {ask, self()},
    receive written -> ok end.
