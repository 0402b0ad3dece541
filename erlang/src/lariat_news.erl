%%% Judges the news of one edge: which events count, and what they do to the picture.
%%%
%%% Pure: a value in, a value and effects out. It touches no table and sends nothing;
%%% `lariat_link' executes the effects, in order.
%%%
%%%   phase      | news of the current epoch              | news of a larger epoch
%%%   ---------- | -------------------------------------- | -------------------------------------
%%%   detached   | (there is none) stale                  | stale: the edge's answer to attach
%%%              |                                        | comes before its news
%%%   syncing    | applied; {snapshot, 'end'} sweeps what | from {snapshot, 'begin'} on: syncing
%%%              | was not told again, then -> live       | with that epoch; without one, stale
%%%   live       | applied; {snapshot, 'begin'}           | the same
%%%              | -> syncing                             |
%%%
%%% News of a smaller epoch is stale in every phase, credit that comes back included: it was taken
%%% before we attached, and is not outstanding any more. So are requests: the edge has refused
%%% them when it lost us. While syncing the old picture stays: only
%%% the sweep at the end removes, so a resync never makes a held connection unreachable.
%%% `received' is held back while syncing, because the connection may not have been told of yet: until
%%% the sweep, or until too much is held. A connection's end comes after what it said.
%%%
%%% `opened' may repeat and `closed' may name a connection that is not known: both are harmless.
-module(lariat_news).

-export([new/0, attached/2, detached/1, batch/3, phase/1, epoch/1]).

-export_type([t/0, phase/0, effect/0]).

-type phase() :: detached | syncing | live.

-record(news, {
    phase = detached :: phase(),
    %% The epoch that counts; meaningless while detached.
    epoch = 0 :: lariat_wire:epoch(),
    %% Whether {snapshot, 'begin'} of this epoch has come: an 'end' without it sweeps nothing.
    begun = false :: boolean(),
    %% What clients said while syncing, last first, and how many bytes that were since then. The
    %% loss of the link loses none.
    held = [] :: [effect()],
    held_bytes = 0 :: non_neg_integer()
}).

-opaque t() :: #news{}.

%% A snapshot takes milliseconds, or a second when it is large. What is told sooner for want of room
%% may be of a connection that is not known.
-define(HELD_BYTES_MAX, 4 * 1024 * 1024).

%% About what a message takes beside its bytes; as in lariat_wire:cost/2.
-define(MESSAGE_COST, 64).

%% What may stand in a guard; as lariat_wire:conn().
-define(IS_CONN(Conn),
    (is_pid(Conn) orelse (tuple_size(Conn) =:= 4 andalso element(1, Conn) =:= lariat_conn))
).

-type effect() ::
    {put, lariat_wire:conn(), lariat_wire:id(), lariat_wire:epoch()}
    %% After put, when its route names a handler.
    | {handled, lariat_wire:conn(), lariat_wire:id(), lariat_handler:name(),
        lariat_wire:epoch()}
    | {drop, lariat_wire:conn(), lariat_wire:id(), Reason :: term()}
    | {received, lariat_wire:conn(), lariat_wire:id(), lariat_handler:data()}
    | {request, lariat_wire:ask_ref(), lariat_handler:request()}
    | {batch, lariat_wire:ask_ref(), lariat_handler:name(), [binary(), ...]}
    | {sweep, lariat_wire:epoch()}
    | {congested, lariat_wire:conn(), lariat_wire:id(), Bytes :: non_neg_integer()}
    | {drained, lariat_wire:conn(), lariat_wire:id()}
    | {overloaded, Count :: non_neg_integer(), Bytes :: non_neg_integer()}
    | {acked, Bytes :: non_neg_integer()}
    | {stale, Events :: pos_integer()}
    | {unknown, term()}.

%% @doc Before anything was heard.
-spec new() -> t().
new() -> #news{}.

%% @doc The edge accepted us as owner and said which epoch its snapshot has.
-spec attached(lariat_wire:epoch(), t()) -> t().
attached(Epoch, #news{} = News) -> News#news{phase = syncing, epoch = Epoch, begun = false}.

%% @doc The link is gone; what still arrives over it is stale.
-spec detached(t()) -> t().
detached(#news{} = News) -> News#news{phase = detached}.

%% @doc Where we are.
-spec phase(t()) -> phase().
phase(#news{phase = Phase}) -> Phase.

%% @doc The epoch that counts.
-spec epoch(t()) -> lariat_wire:epoch() | none.
epoch(#news{phase = detached}) -> none;
epoch(#news{epoch = Epoch}) -> Epoch.

%% @doc One batch of events.
-spec batch(lariat_wire:epoch(), [lariat_wire:event()], t()) -> {[effect()], t()}.
batch(_, [], News) ->
    {[], News};
batch(_, Events, #news{phase = detached} = News) ->
    {[{stale, length(Events)}], News};
batch(Epoch, Events, #news{epoch = Current} = News) when Epoch < Current ->
    {[{stale, length(Events)}], News};
batch(Epoch, Events, #news{epoch = Epoch} = News) ->
    apply_all(Events, News, []);
batch(Epoch, Events, News) ->
    case lists:splitwith(fun(Event) -> Event =/= {snapshot, 'begin'} end, Events) of
        {Stale, []} -> {[{stale, length(Stale)}], News};
        {[], Current} -> apply_all(Current, attached(Epoch, News), []);
        {Stale, Current} -> apply_all(Current, attached(Epoch, News), [{stale, length(Stale)}])
    end.

-spec apply_all([lariat_wire:event()], t(), [effect()]) -> {[effect()], t()}.
apply_all([], News, Effects) ->
    {lists:reverse(Effects), News};
apply_all([{opened, Conn, Id, Info} | Events], #news{epoch = Epoch} = News, Effects) when
    ?IS_CONN(Conn), is_map(Info)
->
    Put = [{put, Conn, Id, Epoch} | Effects],
    case Info of
        #{handler := Name} -> apply_all(Events, News, [{handled, Conn, Id, Name, Epoch} | Put]);
        #{} -> apply_all(Events, News, Put)
    end;
apply_all([{closed, Conn, Id, Reason} | Events], #news{held = Held} = News, Effects) when
    ?IS_CONN(Conn)
->
    {Said, Others} = lists:partition(fun({received, Who, _, _}) -> Who =:= Conn end, Held),
    Released = [{drop, Conn, Id, Reason} | Said ++ Effects],
    apply_all(Events, News#news{held = Others}, Released);
apply_all([{received, Conn, _Id, {Kind, Text}} = Event | Events], News, Effects) when
    ?IS_CONN(Conn), is_binary(Text), Kind =:= text orelse Kind =:= binary
->
    case News of
        #news{phase = syncing, held = Held, held_bytes = Bytes} when Bytes < ?HELD_BYTES_MAX ->
            Cost = ?MESSAGE_COST + byte_size(Text),
            Holding = News#news{held = [Event | Held], held_bytes = Bytes + Cost},
            apply_all(Events, Holding, Effects);
        #news{held = Held} ->
            apply_all(Events, released(News), [Event | Held] ++ Effects)
    end;
apply_all([{request, Ref, #{kind := _, handler := _}} = Event | Events], News, Effects) when
    is_integer(Ref), Ref >= 0
->
    apply_all(Events, News, [Event | Effects]);
apply_all([{batch, Ref, _Name, [_ | _]} = Event | Events], News, Effects) when
    is_integer(Ref), Ref >= 0
->
    apply_all(Events, News, [Event | Effects]);
apply_all([{congested, Conn, _Id, Bytes} = Event | Events], News, Effects) when
    ?IS_CONN(Conn), is_integer(Bytes), Bytes >= 0
->
    apply_all(Events, News, [Event | Effects]);
apply_all([{drained, Conn, _Id} = Event | Events], News, Effects) when ?IS_CONN(Conn) ->
    apply_all(Events, News, [Event | Effects]);
apply_all([{overloaded, Count, Bytes} | Events], News, Effects) when
    is_integer(Count), is_integer(Bytes), Count >= 0, Bytes >= 0
->
    apply_all(Events, News, [{overloaded, Count, Bytes} | Effects]);
apply_all([{ack, Bytes} | Events], News, Effects) when is_integer(Bytes), Bytes >= 0 ->
    apply_all(Events, News, [{acked, Bytes} | Effects]);
apply_all([{snapshot, 'begin'} | Events], News, Effects) ->
    apply_all(Events, News#news{phase = syncing, begun = true}, Effects);
apply_all([{snapshot, 'end'} | Events], #news{begun = true, epoch = Epoch} = News, Effects) ->
    #news{held = Held} = News,
    Live = released(News#news{phase = live, begun = false}),
    apply_all(Events, Live, Held ++ [{sweep, Epoch} | Effects]);
apply_all([Event | Events], News, Effects) ->
    apply_all(Events, News, [{unknown, Event} | Effects]).

-spec released(t()) -> t().
released(News) ->
    News#news{held = [], held_bytes = 0}.
