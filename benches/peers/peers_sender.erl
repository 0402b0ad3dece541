%%% How messages are sent to a server of the bench: by one process, `flood' as fast as the server takes them,
%%% `paced' so many a second, in steps of a millisecond.
%%%
%%% It runs on an Erlang node of its own, or on the server's. It measures nothing.
-module(peers_sender).

-export([flood/4, each/4, paced/5, all/4]).

%% On the sending node: before the first message, for each, for one to all, and after the last.
-callback open(Target :: term()) -> Handle :: term().
-callback send(Handle, Id :: pos_integer(), binary()) -> Handle when Handle :: term().
-callback all(Handle, Connections :: pos_integer(), binary()) -> Handle when Handle :: term().
-callback finish(Handle :: term()) -> ok.

%% A message is 64 bytes.
-define(PADDING, <<"....................................................">>).

%% @doc So many messages to random ids up to `Connections'.
-spec flood(module(), term(), pos_integer(), pos_integer()) -> ok.
flood(Sender, Target, Connections, Count) ->
    Sender:finish(send_some(Count, Sender, Sender:open(Target), Connections)).

%% @doc So many messages to each id, in turn, as fast as the server takes them.
-spec each(module(), term(), pos_integer(), pos_integer()) -> ok.
each(Sender, Target, Connections, Rounds) ->
    Send = fun(Id, Handle) -> Sender:send(Handle, Id, message(Id)) end,
    Round = fun(_, Handle) -> lists:foldl(Send, Handle, lists:seq(1, Connections)) end,
    Sender:finish(lists:foldl(Round, Sender:open(Target), lists:seq(1, Rounds))).

%% @doc Messages to random ids, so many a second.
-spec paced(module(), term(), pos_integer(), pos_integer(), pos_integer()) -> ok.
paced(Sender, Target, Connections, Count, Rate) ->
    Started = erlang:monotonic_time(microsecond),
    Sender:finish(paced(Sender, Sender:open(Target), Connections, Count, Rate, Started, 0)).

paced(_, Handle, _, Count, _, _, Count) ->
    Handle;
paced(Sender, Handle, Connections, Count, Rate, Started, Sent) ->
    Elapsed = erlang:monotonic_time(microsecond) - Started,
    Due = min(Count, Elapsed * Rate div 1000000),
    Next = send_some(Due - Sent, Sender, Handle, Connections),
    receive after 1 -> ok end,
    paced(Sender, Next, Connections, Count, Rate, Started, max(Due, Sent)).

send_some(Count, _, Handle, _) when Count =< 0 ->
    Handle;
send_some(Count, Sender, Handle, Connections) ->
    Id = rand:uniform(Connections),
    send_some(Count - 1, Sender, Sender:send(Handle, Id, message(Id)), Connections).

%% @doc So many messages to everybody.
-spec all(module(), term(), pos_integer(), pos_integer()) -> ok.
all(Sender, Target, Connections, Rounds) ->
    Message = binary:copy(<<".">>, 64),
    Send = fun(_, Handle) -> Sender:all(Handle, Connections, Message) end,
    Sender:finish(lists:foldl(Send, Sender:open(Target), lists:seq(1, Rounds))).

%% When it was sent and for whom, as the load generator reads it.
message(Id) ->
    Now = integer_to_binary(os:system_time(nanosecond)),
    Zeros = binary:part(<<"00000000000000000000">>, 0, 20 - byte_size(Now)),
    Stamp = <<"m:", Zeros/binary, Now/binary, "#", (integer_to_binary(Id))/binary, ";">>,
    <<Stamp/binary, (binary:part(?PADDING, 0, 64 - byte_size(Stamp)))/binary>>.
