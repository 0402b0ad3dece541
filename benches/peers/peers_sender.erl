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

-define(MESSAGE_BYTES, 64).
-define(PADDING, (<<"........................................">>)).

%% @doc So many messages to random ids up to `Connections'.
-spec flood(module(), term(), pos_integer(), pos_integer()) -> ok.
flood(Sender, Target, Connections, Count) ->
    {Handle, _} = send_some(Count, Sender, Sender:open(Target), Connections, seed()),
    Sender:finish(Handle).

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
    Sender:finish(paced(Sender, Sender:open(Target), Connections, Count, Rate, Started, seed(), 0)).

paced(_, Handle, _, Count, _, _, _, Count) ->
    Handle;
paced(Sender, Handle, Connections, Count, Rate, Started, Random, Sent) ->
    Elapsed = erlang:monotonic_time(microsecond) - Started,
    Due = min(Count, Elapsed * Rate div 1000000),
    {Next, NextRandom} = send_some(Due - Sent, Sender, Handle, Connections, Random),
    receive after 1 -> ok end,
    paced(Sender, Next, Connections, Count, Rate, Started, NextRandom, max(Due, Sent)).

%% The cheapest generator that there is: what a sender takes is to be the server's, not the bench's.
seed() ->
    rand:mwc59_seed().

send_some(Count, _, Handle, _, Random) when Count =< 0 ->
    {Handle, Random};
send_some(Count, Sender, Handle, Connections, Random) ->
    Id = 1 + ((rand:mwc59_value32(Random) * Connections) bsr 32),
    Next = Sender:send(Handle, Id, message(Id)),
    send_some(Count - 1, Sender, Next, Connections, rand:mwc59(Random)).

%% @doc So many messages to everybody.
-spec all(module(), term(), pos_integer(), pos_integer()) -> ok.
all(Sender, Target, Connections, Rounds) ->
    Message = binary:copy(<<".">>, 64),
    Send = fun(_, Handle) -> Sender:all(Handle, Connections, Message) end,
    Sender:finish(lists:foldl(Send, Sender:open(Target), lists:seq(1, Rounds))).

%% When it was sent and for whom, as the load generator reads it: 20 digits of nanoseconds. Microseconds are no
%% bignum, which would take longer than all the rest; they have 16 digits until the year 2286.
message(Id) ->
    Now = integer_to_binary(os:system_time(microsecond)),
    Digits = integer_to_binary(Id),
    Padding = ?MESSAGE_BYTES - 24 - byte_size(Digits),
    <<"m:0", Now/binary, "000#", Digits/binary, ";", ?PADDING:Padding/binary>>.
