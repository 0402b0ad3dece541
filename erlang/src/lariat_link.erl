%%% The link to one edge: keeps us attached to it, and its part of the picture true.
%%%
%%% It carries no messages: those go from the caller straight to the edge. It decides nothing
%%% about news (`lariat_news') and asks the edge through `lariat_edge' only. Nothing it does
%%% blocks: connecting and asking happen in processes of their own.
%%%
%%%   state     | event                     | next state
%%%   --------- | ------------------------- | ----------------------------------------------
%%%   down      | pause over, not connected | down: a helper connects; then pause, or attaching
%%%   down      | connected                 | attaching
%%%   attaching | accepted                  | syncing
%%%   attaching | refused, or no answer     | down, with a longer pause
%%%   syncing   | {snapshot, 'end'}         | up
%%%   syncing   | silence                   | down, with a longer pause
%%%   up        | {snapshot, 'begin'}       | syncing: the edge starts over, the old picture
%%%             |                           | stays in use until {snapshot, 'end'}
%%%   any       | the edge went             | down: the picture of this edge is forgotten
%%%
%%% What being there, connecting, coming and going are, the edge's module knows.
%%%
%%% What is for handlers is handed on (`lariat_handlers'), and answered by others.
%%%
%%% News that arrive before the answer to attach are postponed, not lost.
%%%
%%% Credit (`lariat_credit') begins with each attach and ends in state down. A resync that the
%%% edge begins keeps it: what is outstanding stays so. While attaching none can be taken.
-module(lariat_link).

-behaviour(gen_statem).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/2]).
%% gen_statem.
-export([callback_mode/0, init/1, terminate/3]).
-export([down/3, attaching/3, syncing/3, up/3]).

%% The first retry is fast enough that a restart of either side is hardly noticed; the last is
%% slow enough that a dead edge costs nothing, and a returning one is seen by nodeup anyway.
-define(PAUSE_MS, {100, 10000}).

%% The failure that is worth a warning: some half a second after the first.
-define(WARN_ATTEMPT, 2).

%% An edge answers attach at once; five seconds are what gen_server allows.
-define(ATTACH_TIMEOUT_MS, 5000).

%% An edge sends a batch at least each few milliseconds while it has a snapshot to tell.
-define(SILENCE_MS, 30000).

%% An edge gives credit back within milliseconds, or seconds when it is swamped. What does not
%% come back in this time, while nothing else does, is lost.
-define(CREDIT_LOST_MS, 30000).

%% Often enough to be seen while it lasts, seldom enough not to fill the log.
-define(WARN_MS, 5000).

-record(link, {
    module :: module(),
    edge :: lariat_picture:edge(),
    news = lariat_news:new() :: lariat_news:t(),
    credit = none :: lariat_credit:t(),
    %% The credit before, whose last senders are waited for.
    closed = none :: lariat_credit:t(),
    %% Bytes that came back since we attached.
    acked = 0 :: non_neg_integer(),
    %% Failures since we were last up.
    attempt = 0 :: non_neg_integer(),
    %% The helper that connects or attaches.
    helper = none :: none | {pid(), reference()},
    %% When the snapshot was asked for, for the log.
    since_ms = 0 :: integer(),
    %% When we last warned of overload.
    warned_ms = none :: none | integer()
}).

-type handled() :: gen_statem:event_handler_result(atom()) | gen_statem:state_enter_result(atom()).

%% @doc Starts the link to an edge.
-spec start_link(module(), lariat_picture:edge()) -> gen_statem:start_ret().
start_link(Module, Edge) ->
    gen_statem:start_link(?MODULE, {Module, Edge}, []).

%% @private
-spec callback_mode() -> [state_functions | state_enter].
callback_mode() -> [state_functions, state_enter].

%% @private
-spec init({module(), lariat_picture:edge()}) -> gen_statem:init_result(down).
init({Module, Edge}) ->
    process_flag(trap_exit, true),
    logger:update_process_metadata(#{edge => Edge}),
    ok = Module:subscribe(Edge),
    Link = #link{module = Module, edge = Edge},
    case lariat_picture:edge(Edge) of
        {ok, Row} ->
            %% What was taken before a crash of ours comes back to nobody; state down closes it. And
            %% what was being put into the picture at that moment may not have been counted.
            Crashed = Link#link{credit = maps:get(credit, Row, none)},
            {ok, down, Crashed, {next_event, internal, recount}};
        error ->
            %% Whoever attaches it finds it as soon as that returns.
            ok = show(down, Link),
            {ok, down, Link}
    end.

%% @private
-spec terminate(term(), atom(), #link{}) -> ok.
terminate(Reason, _State, #link{edge = Edge} = Link) ->
    _ = stop_helper(Link),
    %% The edge sees us end, as it monitors its owners: there is nothing to tell it. After a
    %% crash the picture stays usable until our successor has heard a new snapshot.
    case Reason of
        shutdown -> lariat_picture:drop_edge(Edge);
        _ -> ok
    end.

%% @private Not attached. Pauses, connects, pauses again.
-spec down(gen_statem:event_type() | enter, term(), #link{}) -> handled().
down(enter, _, Attached) ->
    #link{module = Module, edge = Edge, news = News, attempt = Attempt} =
        Link = without_credit(Attached),
    show(down, Link),
    %% While there is a connection, what we know may still be true, and sends still arrive.
    _ = Module:connected(Edge) orelse lariat_picture:forget(Edge),
    {keep_state, Link#link{news = lariat_news:detached(News)}, pause(Attempt)};
down(internal, recount, #link{edge = Edge}) ->
    ok = lariat_picture:recount(Edge),
    keep_state_and_data;
down(state_timeout, try_again, #link{module = Module, edge = Edge} = Link) ->
    case Module:connected(Edge) of
        true -> {next_state, attaching, Link};
        false -> {keep_state, start_helper(fun() -> Module:connect(Edge) end, Link)}
    end;
down(info, {'DOWN', Ref, process, _, {helped, ok}}, #link{helper = {_, Ref}} = Link) ->
    {next_state, attaching, Link#link{helper = none}};
down(info, {'DOWN', Ref, process, _, Result}, #link{helper = {_, Ref}} = Link) ->
    Failed = failed(not_connected(Result), Link#link{helper = none}),
    {keep_state, Failed, pause(Failed#link.attempt)};
down(Type, Event, Link) ->
    case change(Type, Event, Link) of
        up -> {next_state, attaching, stop_helper(Link)};
        %% The helper's answer, or the end of the pause, is still to come.
        down -> keep_state_and_data;
        _ -> other(Type, Event, Link)
    end.

%% @private Connected; the edge has been asked to take us as its owner.
-spec attaching(gen_statem:event_type() | enter, term(), #link{}) -> handled().
attaching(enter, _, #link{module = Module, edge = Edge, closed = Closed} = Link) ->
    %% Not plain: a producer at full speed would be bounded by nothing until we are attached.
    show(syncing, Link#link{credit = closed}),
    Owner = self(),
    Ask = fun() ->
        ok = lariat_credit:await_senders(Closed),
        Options = #{credit => true, handlers => lariat_handlers:names()},
        Module:call(Edge, {attach, Owner, Options})
    end,
    Asked = start_helper(Ask, Link#link{since_ms = now_ms()}),
    {keep_state, Asked, {state_timeout, ?ATTACH_TIMEOUT_MS, no_answer}};
attaching(info, {'DOWN', Ref, process, _, Result}, #link{helper = {_, Ref}} = Link) ->
    case Result of
        {helped, {ok, #{epoch := Epoch} = Granted}} when is_integer(Epoch) ->
            lariat_counters:add(attaches, 1),
            News = lariat_news:attached(Epoch, Link#link.news),
            Credit = credit(Granted),
            {next_state, syncing, Link#link{
                helper = none, news = News, credit = Credit, closed = none, acked = 0
            }};
        _ ->
            {next_state, down, failed({not_attached, Result}, Link#link{helper = none})}
    end;
attaching(state_timeout, no_answer, Link) ->
    {next_state, down, failed({not_attached, timeout}, stop_helper(Link))};
attaching(info, {lariat, Edge, _, _}, #link{edge = Edge}) ->
    {keep_state_and_data, postpone};
attaching(Type, Event, Link) ->
    other(Type, Event, Link).

%% @private Hearing a snapshot.
-spec syncing(gen_statem:event_type() | enter, term(), #link{}) -> handled().
syncing(enter, _, Link) ->
    show(syncing, Link),
    {keep_state_and_data, silence()};
syncing({timeout, silence}, _, Link) ->
    {next_state, down, failed({no_snapshot_within_ms, ?SILENCE_MS}, Link)};
syncing(info, {lariat, Edge, Epoch, Events}, #link{edge = Edge} = Link) ->
    Heard = hear(Epoch, Events, Link),
    case lariat_news:phase(Heard#link.news) of
        live -> {next_state, up, Heard};
        syncing -> {keep_state, Heard, silence()}
    end;
syncing(Type, Event, Link) ->
    other(Type, Event, Link).

%% @private The picture is exact, but for what is on its way.
-spec up(gen_statem:event_type() | enter, term(), #link{}) -> handled().
up(enter, _, #link{edge = Edge} = Link) ->
    Up = Link#link{attempt = 0},
    show(up, Up),
    ?LOG_NOTICE("edge ~ts is up: ~b connections, told in ~b ms", [
        Edge, lariat_picture:count(Edge), now_ms() - Link#link.since_ms
    ]),
    {keep_state, Up, [{{timeout, silence}, cancel}, watch_credit(Up)]};
up({timeout, credit}, {Outstanding, Acked}, #link{credit = Credit, acked = Acked} = Link) when
    Outstanding > 0
->
    %% Nothing came back for so long that nothing can be on its way.
    case lariat_credit:outstanding(Credit) of
        Lost when Lost > 0 ->
            lariat_counters:add(credit_lost, Lost),
            {next_state, down, failed({credit_did_not_come_back, Lost}, Link)};
        _ ->
            {keep_state_and_data, watch_credit(Link)}
    end;
up({timeout, credit}, _, Link) ->
    {keep_state_and_data, watch_credit(Link)};
up(info, {lariat, Edge, Epoch, Events}, #link{edge = Edge} = Link) ->
    Heard = hear(Epoch, Events, Link),
    case lariat_news:phase(Heard#link.news) of
        live -> {keep_state, Heard};
        syncing -> {next_state, syncing, Heard#link{since_ms = now_ms()}}
    end;
up(Type, Event, Link) ->
    other(Type, Event, Link).

%% What is the same in every state.
-spec other(gen_statem:event_type(), term(), #link{}) -> handled().
other(info, {lariat, Edge, Epoch, Events}, #link{edge = Edge} = Link) ->
    %% Down: whatever comes is of a link that was lost.
    {keep_state, hear(Epoch, Events, Link)};
other({timeout, _}, _, _) ->
    keep_state_and_data;
other(info, {'EXIT', _, Reason}, _) ->
    {stop, Reason};
other(Type, Event, #link{edge = Edge} = Link) ->
    case change(Type, Event, Link) of
        down ->
            lariat_counters:add(link_losses, 1),
            ?LOG_WARNING("edge ~ts: link lost; its connections are unknown until it returns", [Edge]),
            {next_state, down, stop_helper(Link)};
        unknown ->
            lariat_counters:add(strays, 1),
            ?LOG_INFO("link: stray ~0P ignored", [Event, 20]),
            keep_state_and_data;
        _ ->
            keep_state_and_data
    end.

-spec change(gen_statem:event_type(), term(), #link{}) -> up | down | none | unknown.
change(info, Message, #link{module = Module, edge = Edge}) -> Module:change(Edge, Message);
change(_, _, _) -> unknown.

-spec hear(term(), term(), #link{}) -> #link{}.
hear(Epoch, [_ | _] = Events, #link{module = Module, edge = Edge, news = News} = Link) when
    is_integer(Epoch)
->
    {Effects, Heard} = lariat_news:batch(Epoch, Events, News),
    lariat_counters:add(events_applied, lists:sum([execute(Edge, Effect) || Effect <- Effects])),
    ok = Module:heard(Edge, length(Events)),
    Acked = lists:sum([Bytes || {acked, Bytes} <- Effects]),
    ok = lariat_credit:acked(Link#link.credit, Acked),
    warned(lists:keymember(overloaded, 1, Effects), Link#link{
        news = Heard, acked = Link#link.acked + Acked
    });
hear(Epoch, [], Link) when is_integer(Epoch) ->
    Link;
hear(_, _, Link) ->
    lariat_counters:add(events_unknown, 1),
    Link.

%% Answers how many events of those that make up the picture this was.
-spec execute(lariat_picture:edge(), lariat_news:effect()) -> 0 | 1.
execute(Edge, {put, Conn, Id, Epoch}) ->
    ok = lariat_picture:put(Edge, Conn, Id, Epoch),
    1;
execute(Edge, {drop, Conn, Id, Reason}) ->
    case lariat_picture:drop(Edge, Conn, Id) of
        true -> ok;
        false -> lariat_counters:add(closed_unknown, 1)
    end,
    ok = lariat_handlers:closed(Edge, Conn, Reason),
    1;
execute(Edge, {sweep, Epoch}) ->
    _ = lariat_picture:sweep(Edge, Epoch),
    ok = lariat_handlers:sweep(Edge, Epoch),
    0;
execute(Edge, {handled, Conn, Id, Name, Epoch}) ->
    ok = lariat_handlers:opened(Edge, Conn, Id, Name, Epoch),
    0;
execute(Edge, {received, Conn, Id, Data}) ->
    ok = lariat_handlers:received(Edge, Conn, Id, Data),
    0;
execute(Edge, {request, Ref, Request}) ->
    ok = lariat_handlers:request(Edge, Ref, Request),
    0;
execute(Edge, {batch, Ref, Name, Bodies}) ->
    ok = lariat_handlers:batch(Edge, Ref, Name, Bodies),
    0;
execute(_, {congested, _, _, _}) ->
    lariat_counters:add(edge_congested, 1),
    0;
execute(_, {drained, _, _}) ->
    lariat_counters:add(edge_drained, 1),
    0;
execute(_, {overloaded, Count, Bytes}) ->
    lariat_counters:add(edge_overloaded_messages, Count),
    lariat_counters:add(edge_overloaded_bytes, Bytes),
    0;
execute(_, {acked, _}) ->
    0;
execute(_, {stale, Events}) ->
    lariat_counters:add(events_stale, Events),
    0;
execute(_, {unknown, Event}) ->
    lariat_counters:add(events_unknown, 1),
    ?LOG_DEBUG("event ~0P is not known to this version", [Event, 20]),
    0.

%% An overloaded edge says so with each batch; the log gets a line each few seconds.
-spec warned(boolean(), #link{}) -> #link{}.
warned(false, Link) ->
    Link;
warned(true, #link{edge = Edge, warned_ms = WarnedMs} = Link) ->
    Now = now_ms(),
    case WarnedMs =:= none orelse Now - WarnedMs >= ?WARN_MS of
        true ->
            ?LOG_WARNING("edge ~ts is overloaded and drops messages, edge_overloaded_messages in "
                         "lariat:info() says how many; send less, or add an edge", [Edge]),
            Link#link{warned_ms = Now};
        false ->
            Link
    end.

%% One warning for each time we were up, not one for each attempt, and not for the first: a
%% program that we run ourselves needs a moment before it can be reached.
-spec failed(term(), #link{}) -> #link{}.
failed(Reason, #link{edge = Edge, attempt = Attempt} = Link) ->
    lariat_counters:add(attach_failures, 1),
    case Attempt of
        ?WARN_ATTEMPT -> ?LOG_WARNING("edge ~ts: ~0P; trying again until it is there", [Edge, Reason, 20]);
        _ -> ?LOG_DEBUG("edge ~ts: ~0P, attempt ~b", [Edge, Reason, 20, Attempt])
    end,
    Link#link{attempt = Attempt + 1}.

-spec not_connected(term()) -> term().
not_connected({helped, {error, Why}}) -> Why;
not_connected(Crash) -> Crash.

-spec show(lariat_picture:edge_state(), #link{}) -> ok.
show(State, #link{module = Module, edge = Edge, news = News, credit = Credit}) ->
    Row = #{
        module => Module,
        state => State,
        epoch => lariat_news:epoch(News),
        credit => Credit,
        link => self()
    },
    lariat_picture:set_edge(Edge, Row).

%% Edges that know no credit grant none.
-spec credit(#{epoch := integer(), _ => _}) -> lariat_credit:t().
credit(#{credit := Bytes}) when is_integer(Bytes), Bytes > 0 -> lariat_credit:new(Bytes);
credit(#{}) -> none.

%% Whoever has taken of it may still send; nobody else can.
-spec without_credit(#link{}) -> #link{}.
without_credit(#link{credit = {_, _} = Credit} = Link) ->
    ok = lariat_credit:close(Credit),
    Link#link{credit = none, closed = Credit};
without_credit(Link) ->
    Link#link{credit = none}.

-spec watch_credit(#link{}) -> gen_statem:action().
watch_credit(#link{credit = Credit, acked = Acked}) ->
    Ms = application:get_env(lariat, credit_lost_ms, ?CREDIT_LOST_MS),
    {{timeout, credit}, Ms, {lariat_credit:outstanding(Credit), Acked}}.

-spec pause(non_neg_integer()) -> gen_statem:action().
pause(0) ->
    {state_timeout, 0, try_again};
pause(Attempt) ->
    Ms = lariat_backoff:delay_ms(Attempt - 1, ?PAUSE_MS, rand:uniform()),
    {state_timeout, Ms, try_again}.

-spec silence() -> gen_statem:action().
silence() -> {{timeout, silence}, ?SILENCE_MS, silence}.

-spec start_helper(fun(() -> term()), #link{}) -> #link{}.
start_helper(Fun, #link{helper = none} = Link) ->
    Link#link{helper = spawn_monitor(fun() -> exit({helped, Fun()}) end)}.

-spec stop_helper(#link{}) -> #link{}.
stop_helper(#link{helper = none} = Link) ->
    Link;
stop_helper(#link{helper = {Pid, Monitor}} = Link) ->
    exit(Pid, kill),
    true = erlang:demonitor(Monitor, [flush]),
    Link#link{helper = none}.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
