%%% The handlers of this node: which there are, and who gets what an edge tells for them.
%%%
%%% Runs in the process of the link that heard it, and returns at once: a request or a message
%%% goes to one of the handler's workers (`lariat_handler_worker'), what is too much is refused
%%% here. Nothing is answered by way of the link. It runs no code of the application.
%%%
%%% What may wait or run is paid for here, before it is handed over, in one cell for each worker:
%%% requests in jobs, messages in bytes. Whoever is done with it gives it back. So neither a
%%% worker's mailbox nor what it keeps can grow past what the application's environment says.
-module(lariat_handlers).

-include_lib("kernel/include/logger.hrl").

%% For the supervisors.
-export([configure/0, all/0]).
%% For whoever wants to know.
-export([summary/0]).
%% For a link.
-export([names/0, opened/5, closed/3, received/4, request/3, batch/4, sweep/2, forget/1]).
%% For workers and their jobs.
-export([given_back/4, renew/2, close/3, complain/3]).

-export_type([handler/0]).

-type handler() :: #{
    name := lariat_handler:name(),
    module := module(),
    state := lariat_handler:state(),
    %% Whether it has handle_closed/3.
    hears_closed := boolean(),
    %% Registered names.
    workers := tuple(),
    jobs := counters:counters_ref(),
    bytes := counters:counters_ref(),
    jobs_max := pos_integer(),
    bytes_max := pos_integer(),
    timeout_ms := pos_integer(),
    %% When something was last complained of, and what was not since.
    complaints := atomics:atomics_ref()
}.

%% Each is a process: enough to wait for slow databases, few enough for their memory.
-define(JOBS_MAX, 1000).

%% Of what clients said and was not yet handled, for one handler.
-define(QUEUE_BYTES, 32 * 1024 * 1024).

%% As long as an edge waits, unless its http.ask_timeout says otherwise.
-define(TIMEOUT_MS, 5000).

%% About what a message takes in a queue beside its bytes; as in lariat_wire:cost/2.
-define(MESSAGE_COST, 64).

%% Often enough to be seen while it lasts, seldom enough not to fill the log.
-define(COMPLAIN_MS, 5000).

%% @doc Takes the handlers of the application's environment, and our own. Crashes on what is no
%% handler, so that a mistake stops the start and not the traffic.
-spec configure() -> ok.
configure() ->
    Own = {<<"lariat_publish">>, lariat_publish, []},
    Given = application:get_env(lariat, handlers, []),
    Handlers = maps:from_list([checked(Handler) || Handler <- [Own | Given]]),
    persistent_term:put(?MODULE, Handlers).

%% @doc Every handler.
-spec all() -> [handler()].
all() -> maps:values(persistent_term:get(?MODULE)).

%% @doc Every handler, and how much it has to do: requests that run, bytes of messages that wait.
-spec summary() ->
    #{
        lariat_handler:name() =>
            #{module := module(), requests := integer(), waiting_bytes := integer()}
    }.
summary() ->
    maps:map(
        fun(_, #{module := Module, jobs := Jobs, bytes := Bytes} = Handler) ->
            #{
                module => Module,
                requests => total(Jobs, Handler),
                waiting_bytes => total(Bytes, Handler)
            }
        end,
        persistent_term:get(?MODULE)
    ).

%% @doc What an edge is told that we serve.
-spec names() -> [lariat_handler:name()].
names() -> lists:sort(maps:keys(persistent_term:get(?MODULE))).

%% @doc A connection whose route names a handler.
-spec opened(
    lariat_picture:edge(),
    lariat_wire:conn(),
    lariat_wire:id(),
    lariat_handler:name(),
    lariat_wire:epoch()
) -> ok.
opened(Edge, Conn, Id, Name, Epoch) ->
    case persistent_term:get(?MODULE) of
        #{Name := #{name := Ours}} -> lariat_handled:put(Edge, Conn, Id, Ours, Epoch);
        #{} -> ok
    end.

%% @doc A connection is gone.
-spec closed(lariat_picture:edge(), lariat_wire:conn(), Reason :: term()) -> ok.
closed(Edge, Conn, Reason) ->
    case lariat_handled:take(Edge, Conn) of
        {ok, Row} -> tell_closed(Row, Reason);
        error -> ok
    end.

%% @doc The edge has told of all its connections: the others went while we did not hear.
-spec sweep(lariat_picture:edge(), lariat_wire:epoch()) -> ok.
sweep(Edge, Epoch) ->
    lists:foreach(
        fun(Row) -> tell_closed(Row, noconnection) end, lariat_handled:take_others(Edge, Epoch)
    ).

%% @doc The edge is no longer ours.
-spec forget(lariat_picture:edge()) -> ok.
forget(Edge) ->
    lists:foreach(
        fun(Row) -> tell_closed(Row, noconnection) end, lariat_handled:take_others(Edge, none)
    ).

%% @doc A client said something.
-spec received(lariat_picture:edge(), lariat_wire:conn(), lariat_wire:id(), lariat_handler:data()) -> ok.
received(Edge, Conn, Id, {_, Text} = Data) ->
    case lariat_handled:find(Edge, Conn) of
        {ok, {_, _, Name, _, open}} ->
            #{Name := Handler} = persistent_term:get(?MODULE),
            #{bytes := Bytes, bytes_max := Max} = Handler,
            Cost = ?MESSAGE_COST + byte_size(Text),
            Worker = worker_of(Conn, Handler),
            Held = #{id => Id, conn => Conn, edge => Edge, handler => Name},
            case
                total(Bytes, Handler) + Cost =< Max andalso
                    hand_over(Bytes, Worker, Cost, {received, Held, Data, Cost}, Handler)
            of
                true -> lariat_counters:add(handler_messages, 1);
                false -> close(Edge, Conn, Name)
            end;
        {ok, _} ->
            lariat_counters:add(handler_messages_dropped, 1);
        error ->
            lariat_counters:add(handler_unknown, 1)
    end.

%% @doc Somebody asks.
-spec request(lariat_picture:edge(), lariat_wire:ask_ref(), lariat_handler:request()) -> ok.
request(Edge, Ref, #{handler := Name} = Request) ->
    ask(Edge, Ref, Name, {init, Request}).

%% @doc Many have asked.
-spec batch(
    lariat_picture:edge(), lariat_wire:ask_ref(), lariat_handler:name(), [binary(), ...]
) -> ok.
batch(Edge, Ref, Name, Bodies) ->
    ask(Edge, Ref, Name, {batch, Bodies}).

-spec ask(
    lariat_picture:edge(),
    lariat_wire:ask_ref(),
    lariat_handler:name(),
    lariat_handler_job:question()
) -> ok.
ask(Edge, Ref, Name, Question) ->
    case persistent_term:get(?MODULE) of
        #{Name := #{jobs := Jobs, jobs_max := Max, workers := Workers} = Handler} ->
            Worker = 1 + Ref rem tuple_size(Workers),
            case
                total(Jobs, Handler) < Max andalso
                    hand_over(Jobs, Worker, 1, {ask, Edge, Ref, Question}, Handler)
            of
                true ->
                    lariat_counters:add(handler_requests, 1);
                false ->
                    lariat_counters:add(handler_refused, 1),
                    refuse(Edge, Ref, <<"too many requests at once, try again later">>)
            end;
        #{} ->
            lariat_counters:add(handler_unknown, 1),
            refuse(Edge, Ref, <<"no such handler here">>)
    end.

-spec refuse(lariat_picture:edge(), lariat_wire:ask_ref(), binary()) -> ok.
refuse(Edge, Ref, Why) ->
    lariat_edge:answer(Edge, Ref, {reject, 503, Why}, at_once).

%% @doc What was paid for a request or a message is given back.
-spec given_back(jobs | bytes, Worker :: pos_integer(), non_neg_integer(), handler()) -> ok.
given_back(Kind, Worker, Cost, Handler) ->
    counters:sub(maps:get(Kind, Handler), Worker, Cost).

%% @doc A worker begins anew, with nothing.
-spec renew(Worker :: pos_integer(), handler()) -> ok.
renew(Worker, #{jobs := Jobs, bytes := Bytes}) ->
    ok = counters:put(Jobs, Worker, 0),
    counters:put(Bytes, Worker, 0).

%% @doc Closes a connection of which a message is lost; hears no other of it.
-spec close(lariat_picture:edge(), lariat_wire:conn(), lariat_handler:name()) -> ok.
close(Edge, Conn, Name) ->
    lariat_counters:add(handler_messages_dropped, 1),
    case lariat_handled:bar(Edge, Conn) of
        true ->
            lariat_counters:add(handler_closes, 1),
            complain(Name, "too much waits for it; connections that say more are closed", []),
            say_close(Conn);
        false ->
            ok
    end.

%% A link that is full has no room for this either. The connection stays barred: what it says is
%% dropped and counted until it leaves.
-spec say_close(lariat_wire:conn()) -> ok.
say_close(Conn) ->
    case lariat_edge:signal(Conn, {close, handler_overloaded}, at_once) of
        ok -> ok;
        {error, _} -> lariat_counters:add(answers_lost, 1)
    end.

%% @doc A line in the log, unless there was one a moment ago.
-spec complain(lariat_handler:name(), io:format(), [term()]) -> ok.
complain(Name, Format, Args) ->
    #{Name := #{complaints := Complaints}} = persistent_term:get(?MODULE),
    Last = atomics:get(Complaints, 1),
    Now = erlang:monotonic_time(millisecond),
    %% Who wins may speak; so one line at a time, however many crash at once.
    case
        (Last =:= 0 orelse Now - Last >= ?COMPLAIN_MS) andalso
            atomics:compare_exchange(Complaints, 1, Last, Now) =:= ok
    of
        true ->
            Unsaid = atomics:exchange(Complaints, 2, 0),
            ?LOG_ERROR("handler ~ts: " ++ Format ++ " (~b more since the last line)",
                       [Name | Args] ++ [Unsaid]);
        false ->
            atomics:add(Complaints, 2, 1)
    end.

-spec tell_closed(lariat_handled:row(), Reason :: term()) -> ok.
tell_closed({{Edge, Conn}, Id, Name, _, _}, Reason) ->
    case persistent_term:get(?MODULE) of
        #{Name := #{hears_closed := true} = Handler} ->
            Held = #{id => Id, conn => Conn, edge => Edge, handler => Name},
            %% Not paid for: a connection closes once, and they are bounded at the edge.
            _ = hand_over(none, worker_of(Conn, Handler), 0, {closed, Held, Reason}, Handler),
            ok;
        #{} ->
            ok
    end.

-spec worker_of(lariat_wire:conn(), handler()) -> pos_integer().
worker_of(Conn, #{workers := Workers}) ->
    1 + erlang:phash2(Conn, tuple_size(Workers)).

%% Also by the sum of what others write: exact but for those who are just about to pay.
-spec total(counters:counters_ref(), handler()) -> integer().
total(Cells, #{workers := Workers}) ->
    lists:sum([counters:get(Cells, I) || I <- lists:seq(1, tuple_size(Workers))]).

%% `false': the worker is just being started again.
-spec hand_over(
    counters:counters_ref() | none, pos_integer(), non_neg_integer(), term(), handler()
) -> boolean().
hand_over(Cells, Worker, Cost, Term, #{workers := Workers}) ->
    case whereis(element(Worker, Workers)) of
        undefined ->
            false;
        Pid ->
            _ = Cells =/= none andalso counters:add(Cells, Worker, Cost),
            Pid ! Term,
            true
    end.

-spec checked(term()) -> {lariat_handler:name(), handler()}.
checked({Name, Module, State} = Handler) when is_binary(Name), is_atom(Module) ->
    re:run(Name, "^[A-Za-z0-9_-]{1,64}$", [{capture, none}, dollar_endonly]) =:= match orelse
        error({bad_handler, Handler}),
    code:ensure_loaded(Module) =:= {module, Module} orelse error({no_such_module, Handler}),
    JobsMax = positive(handler_jobs_max, ?JOBS_MAX),
    Workers = min(JobsMax, erlang:system_info(schedulers_online)),
    {Name, #{
        name => Name,
        module => Module,
        state => State,
        hears_closed => erlang:function_exported(Module, handle_closed, 3),
        workers => list_to_tuple([worker_name(Name, I) || I <- lists:seq(1, Workers)]),
        jobs => counters:new(Workers, []),
        bytes => counters:new(Workers, []),
        jobs_max => JobsMax,
        bytes_max => positive(handler_queue_bytes, ?QUEUE_BYTES),
        timeout_ms => positive(handler_timeout_ms, ?TIMEOUT_MS),
        complaints => atomics:new(2, [])
    }};
checked(Handler) ->
    error({bad_handler, Handler}).

%% Atoms, but only as many as the operator writes.
-spec worker_name(lariat_handler:name(), pos_integer()) -> atom().
worker_name(Name, I) ->
    binary_to_atom(<<"lariat_handler_", Name/binary, "_", (integer_to_binary(I))/binary>>).

-spec positive(atom(), pos_integer()) -> pos_integer().
positive(Key, Default) ->
    case application:get_env(lariat, Key, Default) of
        Value when is_integer(Value), Value > 0 -> Value;
        Value -> error({bad_value, {Key, Value}})
    end.
