%%% What a server must offer to be measured beside the others, and how messages are sent to it.
%%%
%%% The sending half runs on an Erlang node of its own, in one process: `flood' as fast as the
%%% server takes them, `paced' so many a second, in steps of a millisecond. It measures nothing.
-module(peer_of_bench).

-export([flood/4, paced/5, all/4]).

-export_type([started/0]).

-type started() :: #{
    %% Where a client asks for its stream, with `{id}', and where for one that gets what all get.
    url := string(),
    all_url := string(),
    %% More arguments for the load generator.
    args := [string()],
    %% The processes that are the server.
    os_pids := [pos_integer()],
    %% The node that sends, and what its process begins with.
    sender := lariat_site:erlang(),
    target := term(),
    %% Whether everybody of so many that are connected is known to who sends.
    knows := fun((non_neg_integer()) -> boolean())
}.

%% Starts the server on the CPU for servers, or says why there is none.
-callback start(lariat_site:site(), #{connections := pos_integer(), peers := file:filename()}) ->
    {ok, started()} | {absent, string()}.
%% On the sending node: before the first message, for each, for one to all, and after the last.
-callback open(Target :: term()) -> Handle :: term().
-callback send(Handle, Id :: pos_integer(), binary()) -> Handle when Handle :: term().
-callback all(Handle, Connections :: pos_integer(), binary()) -> Handle when Handle :: term().
-callback finish(Handle :: term()) -> ok.

%% A message is 64 bytes.
-define(PADDING, <<"....................................................">>).

%% @doc So many messages to random ids up to `Connections'.
-spec flood(module(), term(), pos_integer(), pos_integer()) -> ok.
flood(Peer, Target, Connections, Count) ->
    Peer:finish(send_some(Count, Peer, Peer:open(Target), Connections)).

%% @doc The same, so many a second.
-spec paced(module(), term(), pos_integer(), pos_integer(), pos_integer()) -> ok.
paced(Peer, Target, Connections, Count, Rate) ->
    Started = erlang:monotonic_time(microsecond),
    Peer:finish(paced(Peer, Peer:open(Target), Connections, Count, Rate, Started, 0)).

paced(_, Handle, _, Count, _, _, Count) ->
    Handle;
paced(Peer, Handle, Connections, Count, Rate, Started, Sent) ->
    Elapsed = erlang:monotonic_time(microsecond) - Started,
    Due = min(Count, Elapsed * Rate div 1000000),
    Next = send_some(Due - Sent, Peer, Handle, Connections),
    receive after 1 -> ok end,
    paced(Peer, Next, Connections, Count, Rate, Started, max(Due, Sent)).

send_some(Count, _, Handle, _) when Count =< 0 ->
    Handle;
send_some(Count, Peer, Handle, Connections) ->
    Id = rand:uniform(Connections),
    send_some(Count - 1, Peer, Peer:send(Handle, Id, message(Id)), Connections).

%% @doc So many messages to everybody.
-spec all(module(), term(), pos_integer(), pos_integer()) -> ok.
all(Peer, Target, Connections, Rounds) ->
    Message = binary:copy(<<".">>, 64),
    Send = fun(_, Handle) -> Peer:all(Handle, Connections, Message) end,
    Peer:finish(lists:foldl(Send, Peer:open(Target), lists:seq(1, Rounds))).

%% When it was sent and for whom, as the load generator reads it.
message(Id) ->
    Now = integer_to_binary(os:system_time(nanosecond)),
    Zeros = binary:part(<<"00000000000000000000">>, 0, 20 - byte_size(Now)),
    Stamp = <<"m:", Zeros/binary, Now/binary, "#", (integer_to_binary(Id))/binary, ";">>,
    <<Stamp/binary, (binary:part(?PADDING, 0, 64 - byte_size(Stamp)))/binary>>.
