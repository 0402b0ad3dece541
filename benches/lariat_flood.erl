%%% Sends as fast as one node can, and the receiver that an Erlang user would write.
%%%
%%% Measures nothing but its own wall time; the bench looks at the processes from outside.
-module(lariat_flood).

-export([flood/5, start_sink/0]).

%% Microseconds from the first message until the receiver has taken the last. `How' is how to know that:
%% by a call, or by {sync, self()}. What a sender has sent before arrives before.
-spec flood({atom(), node()}, call | sync, one | {list, pos_integer()}, {pos_integer(), pos_integer()}, pos_integer()) ->
          non_neg_integer().
flood(To, How, Ids, {Senders, Each}, Bytes) ->
    Payload = binary:copy(<<"x">>, Bytes),
    Message = {ids(Ids), Payload},
    Started = erlang:monotonic_time(microsecond),
    Send = fun() -> send(Each, To, Ids, Message), synced(How, To) end,
    Monitors = [element(2, spawn_monitor(Send)) || _ <- lists:seq(1, Senders)],
    [receive {'DOWN', Monitor, _, _, normal} -> ok end || Monitor <- Monitors],
    erlang:monotonic_time(microsecond) - Started.

ids(one) -> 1000000;
ids({list, Count}) -> lists:seq(1000000, 999999 + Count).

%% A message of its own each time, as in life; a list of ids is the same list.
send(0, _, _, _) -> ok;
send(N, To, one, {First, Payload}) ->
    To ! {First + N, Payload},
    send(N - 1, To, one, {First, Payload});
send(N, To, Ids, Message) ->
    To ! Message,
    send(N - 1, To, Ids, Message).

synced(call, {_, Node}) ->
    {ok, _} = gen_server:call({lariat, Node}, info, infinity),
    ok;
synced(sync, To) ->
    To ! {sync, self()},
    receive synced -> ok end.

-spec start_sink() -> true.
start_sink() ->
    register(sink, spawn(fun() -> sink(0) end)).

sink(Count) ->
    receive
        {sync, Pid} -> Pid ! synced, sink(Count);
        {Ids, Payload} when is_binary(Payload), is_list(Ids) -> sink(Count + length(Ids));
        {Id, Payload} when is_binary(Payload), is_integer(Id) -> sink(Count + 1)
    end.
