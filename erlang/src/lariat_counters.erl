%%% Every counter of the Erlang side, declared once: name and meaning.
%%%
%%% No gauges (the tables know their own size) and no export format: `lariat:info/0' returns
%%% them as a map. Numbers grow for the life of the VM; a restart of the application keeps them.
-module(lariat_counters).

-export([create/0, add/2, all/0, declared/0]).

-export_type([name/0]).

-type name() ::
    messages_sent
    | receivers_addressed
    | sends_nobody
    | sends_busy
    | sends_out_of_credit
    | sends_noconnection
    | sends_failed
    | events_applied
    | events_stale
    | events_unknown
    | closed_unknown
    | edge_congested
    | edge_drained
    | edge_overloaded_messages
    | edge_overloaded_bytes
    | attaches
    | attach_failures
    | link_losses
    | strays
    | credit_lost
    | program_exits
    | handler_requests
    | handler_refused
    | handler_messages
    | handler_messages_dropped
    | handler_closes
    | handler_unknown
    | handler_crashes
    | handler_timeouts
    | handler_bad_answers
    | answers_lost
    | monitors_refused.

%% @doc Makes the counters; does nothing when they exist already. Their reference lives in
%% `persistent_term', which is never rewritten, so no collection of the whole VM is caused.
-spec create() -> ok.
create() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Size = length(declared()),
            persistent_term:put(?MODULE, counters:new(Size, [write_concurrency]));
        _ ->
            ok
    end.

%% @doc Adds to one counter.
-spec add(name(), non_neg_integer()) -> ok.
add(Name, N) ->
    counters:add(persistent_term:get(?MODULE), index(Name), N).

%% @doc All counters.
-spec all() -> #{name() => non_neg_integer()}.
all() ->
    Counters = persistent_term:get(?MODULE),
    maps:from_list([{Name, counters:get(Counters, index(Name))} || {Name, _} <- declared()]).

%% @doc What is counted, and what each name means.
-spec declared() -> [{name(), Help :: string()}].
declared() ->
    [
        {messages_sent, "messages handed to an edge or a process, one per edge or process"},
        {receivers_addressed, "connections and processes that these messages were for"},
        {sends_nobody, "sends and publishes for which no receiver was known"},
        {sends_busy, "edges that did not take a message: their link was full, or their credit used up"},
        {sends_out_of_credit, "of these, those whose credit was used up, or about to be renewed"},
        {sends_noconnection, "edges that did not take a message because they were not connected"},
        {sends_failed, "calls to an edge that it refused, or that timed out"},
        {events_applied, "events from edges applied to the picture"},
        {events_stale, "events discarded because their epoch had passed"},
        {events_unknown, "events of a kind this version does not know"},
        {closed_unknown, "closed events for connections that were not in the picture"},
        {edge_congested, "times an edge said that a client reads too slowly, and much waits for it"},
        {edge_drained, "times it said of such a client that nothing waits any more"},
        {edge_overloaded_messages, "messages that edges say they dropped at a shard's door"},
        {edge_overloaded_bytes, "bytes of payload in those messages"},
        {attaches, "times an edge accepted us as owner"},
        {attach_failures, "times an edge could not be reached or did not accept us"},
        {link_losses, "times the link to an attached edge went down"},
        {credit_lost, "bytes of credit that an edge did not give back, until we attached again"},
        {strays, "messages that a process of ours received and did not expect"},
        {program_exits, "times a Rust program that we run ended without being asked to"},
        {handler_requests, "requests and batches handed to handlers"},
        {handler_refused, "requests and batches refused because a handler had too many at once"},
        {handler_messages, "messages of clients handed to handlers"},
        {handler_messages_dropped, "messages of clients that had no room to wait in"},
        {handler_closes, "connections closed because a message of theirs had no room"},
        {handler_unknown, "requests for handlers, messages of connections that are unknown here"},
        {handler_crashes, "calls of handlers that crashed"},
        {handler_timeouts, "calls of handlers that were killed at their deadline"},
        {handler_bad_answers, "calls of handlers that answered what cannot be sent"},
        {answers_lost, "answers and replies that could not be sent to their edge"},
        {monitors_refused, "monitors of connections that an edge in this VM took no more of"}
    ].

-spec index(name()) -> pos_integer().
index(messages_sent) -> 1;
index(receivers_addressed) -> 2;
index(sends_nobody) -> 3;
index(sends_busy) -> 4;
index(sends_out_of_credit) -> 5;
index(sends_noconnection) -> 6;
index(sends_failed) -> 7;
index(events_applied) -> 8;
index(events_stale) -> 9;
index(events_unknown) -> 10;
index(closed_unknown) -> 11;
index(edge_overloaded_messages) -> 12;
index(edge_overloaded_bytes) -> 13;
index(attaches) -> 14;
index(attach_failures) -> 15;
index(link_losses) -> 16;
index(credit_lost) -> 17;
index(strays) -> 18;
index(program_exits) -> 19;
index(edge_congested) -> 20;
index(edge_drained) -> 21;
index(handler_requests) -> 22;
index(handler_refused) -> 23;
index(handler_messages) -> 24;
index(handler_messages_dropped) -> 25;
index(handler_closes) -> 26;
index(handler_unknown) -> 27;
index(handler_crashes) -> 28;
index(handler_timeouts) -> 29;
index(handler_bad_answers) -> 30;
index(answers_lost) -> 31;
index(monitors_refused) -> 32.
