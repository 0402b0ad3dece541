%%% Credit: how much of what we sent may still be on its way through one edge.
%%%
%%% Two numbers that all senders share without a message: no process, no table (`lariat_picture'
%%% keeps the credit in the row of its edge), and no decision about when to attach
%%% (`lariat_link'). A sender takes the cost of a message before it sends; the edge says when
%%% that is free again.
%%%
%%%   outstanding  bytes of cost taken and not yet given back
%%%   sending      senders that have taken and not yet sent
%%%
%%% Both sides begin with each attach at nothing outstanding. For the two to agree, the edge must
%%% hear whatever was taken before from us before the attach, and the rest after. So the old
%%% credit is closed: from then on nobody can take of it; and who has taken is waited for before
%%% the attach is sent. The order of the three steps in `take/2' is what makes that safe.
%%%
%%% Killing a sender between taking and sending leaves its cost outstanding, and so does a
%%% message that the edge cannot read. `lariat_link' notices, and attaches again.
-module(lariat_credit).

%% For senders.
-export([take/2, sent/1, give_back/2]).
%% For the link.
-export([new/1, close/1, await_senders/1, acked/2, outstanding/1, info/1]).

-export_type([t/0]).

-type t() :: none | closed | {atomics:atomics_ref(), Window :: pos_integer()}.
%% `none': the edge grants none, or we are not attached; sends go without. `closed': we are
%% about to attach; nothing can be taken.

-define(OUTSTANDING, 1).
-define(SENDING, 2).

%% Above every window, and far enough from the end of 64 bits.
-define(CLOSED, (1 bsl 60)).

%% The default of `credit_bytes', a quarter of what an edge grants: some 15,000 small messages. An
%% answer takes a few milliseconds, in which an edge writes a thousand, so who runs into it is faster
%% than the edge; a larger window would only let messages wait longer in its queues, where they wait
%% an eighth of a second at this one.
-define(WINDOW_MAX, 2 * 1024 * 1024).

%% A sender needs microseconds from taking to sending. One that was killed there is not waited
%% for longer than this.
-define(SENDERS_TIMEOUT_MS, 1000).

%% @doc Takes the cost of a message. `credited': the caller must send it on credit, and then say
%% `sent/1', or `give_back/2' when it could not. `plain': send it without. `busy': not now. A
%% message that costs more than the whole window is taken when nothing is outstanding.
-spec take(t(), pos_integer()) -> credited | plain | busy.
take(none, _) ->
    plain;
take(closed, _) ->
    busy;
take({Ref, Window}, Cost) ->
    %% First a look: those who are told busy must not make others busy by their attempts.
    case fits(atomics:get(Ref, ?OUTSTANDING) + Cost, Window, Cost) of
        true ->
            ok = atomics:add(Ref, ?SENDING, 1),
            case fits(atomics:add_get(Ref, ?OUTSTANDING, Cost), Window, Cost) of
                true ->
                    credited;
                false ->
                    ok = give_back({Ref, Window}, Cost),
                    busy
            end;
        false ->
            busy
    end.

-spec fits(integer(), pos_integer(), pos_integer()) -> boolean().
fits(Sum, Window, Cost) -> Sum =< Window orelse Sum =:= Cost.

%% @doc What was taken has been sent: the edge will give it back.
-spec sent(t()) -> ok.
sent({Ref, _}) ->
    atomics:sub(Ref, ?SENDING, 1).

%% @doc What was taken has not been sent.
-spec give_back(t(), pos_integer()) -> ok.
give_back({Ref, _}, Cost) ->
    ok = atomics:sub(Ref, ?OUTSTANDING, Cost),
    atomics:sub(Ref, ?SENDING, 1).

%% @doc The credit that an edge granted, or as much of it as we want (`credit_bytes').
-spec new(Granted :: pos_integer()) -> t().
new(Granted) ->
    case application:get_env(lariat, credit_bytes, ?WINDOW_MAX) of
        Most when is_integer(Most), Most > 0 ->
            {atomics:new(2, [{signed, true}]), min(Granted, Most)};
        Other ->
            error({bad_credit_bytes, Other})
    end.

%% @doc From now on nothing can be taken of it.
-spec close(t()) -> ok.
close({Ref, _}) -> atomics:add(Ref, ?OUTSTANDING, ?CLOSED);
close(_) -> ok.

%% @doc Waits until all who had taken of a closed credit have sent.
-spec await_senders(t()) -> ok.
await_senders(Credit) ->
    await_senders(Credit, erlang:monotonic_time(millisecond) + ?SENDERS_TIMEOUT_MS).

-spec await_senders(t(), integer()) -> ok.
await_senders({Ref, _} = Credit, Until) ->
    Late = erlang:monotonic_time(millisecond) >= Until,
    case atomics:get(Ref, ?SENDING) of
        Sending when Sending > 0, not Late ->
            receive after 1 -> await_senders(Credit, Until) end;
        _ ->
            ok
    end;
await_senders(_, _) ->
    ok.

%% @doc The edge gave this much back.
-spec acked(t(), non_neg_integer()) -> ok.
acked({Ref, _}, Bytes) -> atomics:sub(Ref, ?OUTSTANDING, Bytes);
acked(_, _) -> ok.

%% @doc Bytes of cost that are outstanding.
-spec outstanding(t()) -> integer().
outstanding({Ref, _}) -> atomics:get(Ref, ?OUTSTANDING) rem ?CLOSED;
outstanding(_) -> 0.

%% @doc For people.
-spec info(t()) -> none | closed | #{outstanding := integer(), window := pos_integer()}.
info({_, Window} = Credit) -> #{outstanding => outstanding(Credit), window => Window};
info(NoCredit) -> NoCredit.
