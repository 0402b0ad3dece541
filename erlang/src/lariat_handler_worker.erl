%%% A worker of a handler: has its jobs done in order, in time, and not too many at once.
%%%
%%% It runs no code of the application, so nothing of that can hold it up. Each callback runs in
%%% a process of its own (`lariat_handler_job'), linked to us, which answers the edge itself; we
%%% hear how it ends, and answer for it when it could not. What may wait is bounded by
%%% `lariat_handlers' before it comes here.
%%%
%%% A request is a job at once. What a connection says, and its end, are a queue of that
%%% connection; at most one job of a queue runs. A queue is here while something of it waits or
%%% runs: a connection that says nothing takes nothing.
-module(lariat_handler_worker).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([start_link/2]).
%% gen_server.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% What one connection may have waiting: sixteen of the largest messages that an edge takes unless
%% told otherwise.
-define(CONN_BYTES_MAX, 1024 * 1024).

%% One timer for all jobs, this often in the time that one may take: so much later it may be killed.
%% A timer for each would be a fifth of what a job costs us.
-define(WATCHES, 8).

%% We keep what others made, so little of ours would make us collect it.
-define(FULLSWEEP_AFTER, 20).

-type item() ::
    {received, lariat_handler:data(), Cost :: pos_integer()}
    | {closed, Reason :: term()}.

-record(queue, {
    held :: lariat_handler:conn(),
    items = queue:new() :: queue:queue(item()),
    %% Of its messages, the one that is being handled included.
    bytes = 0 :: non_neg_integer()
}).

-type purpose() ::
    {ask, lariat_picture:edge(), lariat_wire:ask_ref()}
    | {conn, lariat_wire:conn()}.

-record(job, {
    began_ms :: integer(),
    for :: purpose(),
    late = false :: boolean()
}).

-record(worker, {
    handler :: lariat_handlers:handler(),
    index :: pos_integer(),
    jobs = #{} :: #{pid() => #job{}},
    %% Whether jobs are being watched for their deadline.
    is_watching = false :: boolean(),
    queues = #{} :: #{lariat_wire:conn() => #queue{}},
    %% Jobs of connections that may still begin.
    slots :: non_neg_integer(),
    %% Connections whose next job waits for a slot.
    ready = queue:new() :: queue:queue(lariat_wire:conn())
}).

%% @doc Starts a worker under its name.
-spec start_link(lariat_handlers:handler(), pos_integer()) -> gen_server:start_ret().
start_link(#{workers := Workers} = Handler, Index) ->
    Name = element(Index, Workers),
    Options = [{spawn_opt, [{fullsweep_after, ?FULLSWEEP_AFTER}]}],
    gen_server:start_link({local, Name}, ?MODULE, {Handler, Index}, Options).

%% @private
-spec init({lariat_handlers:handler(), pos_integer()}) -> {ok, #worker{}}.
init({#{workers := Workers, jobs_max := JobsMax} = Handler, Index}) ->
    process_flag(trap_exit, true),
    ok = lariat_handlers:renew(Index, Handler),
    {ok, #worker{
        handler = Handler, index = Index, slots = max(1, JobsMax div tuple_size(Workers))
    }}.

%% @private
-spec handle_call(term(), gen_server:from(), #worker{}) -> {noreply, #worker{}}.
handle_call(Stray, _From, Worker) ->
    stray(Stray, Worker).

%% @private
-spec handle_cast(term(), #worker{}) -> {noreply, #worker{}}.
handle_cast(Stray, Worker) ->
    stray(Stray, Worker).

%% @private
-spec handle_info(term(), #worker{}) -> {noreply, #worker{}}.
handle_info({ask, Edge, Ref, Question}, #worker{handler = Handler} = Worker) ->
    Job = lariat_handler_job:ask(Handler, Edge, Ref, Question),
    {noreply, begun(Job, {ask, Edge, Ref}, Worker)};
handle_info({received, Held, Data, Cost}, #worker{queues = Queues} = Worker) ->
    #{conn := Conn, edge := Edge, handler := Name} = Held,
    case Queues of
        #{Conn := #queue{bytes = Bytes}} when Bytes + Cost > ?CONN_BYTES_MAX ->
            ok = give_back(bytes, Cost, Worker),
            ok = lariat_handlers:close(Edge, Conn, Name),
            {noreply, Worker};
        #{} ->
            {noreply, queued(Held, {received, Data, Cost}, Cost, Worker)}
    end;
handle_info({closed, Held, Reason}, Worker) ->
    {noreply, queued(Held, {closed, Reason}, 0, Worker)};
handle_info({'EXIT', Pid, Reason}, #worker{jobs = Jobs} = Worker) ->
    case maps:take(Pid, Jobs) of
        {Job, Others} -> {noreply, ended(Job, Reason, Worker#worker{jobs = Others})};
        %% A process that the application linked to us.
        error -> {noreply, Worker}
    end;
handle_info(watch, #worker{jobs = Jobs} = Worker) when map_size(Jobs) =:= 0 ->
    {noreply, Worker#worker{is_watching = false}};
handle_info(watch, #worker{jobs = Jobs, handler = #{timeout_ms := TimeoutMs}} = Worker) ->
    Deadline = erlang:monotonic_time(millisecond) - TimeoutMs,
    {noreply, watching(Worker#worker{
        jobs = maps:map(fun(Pid, Job) -> watched(Pid, Job, Deadline) end, Jobs)
    })};
handle_info(Stray, Worker) ->
    stray(Stray, Worker).

%% Behind what the connection said before.
-spec queued(lariat_handler:conn(), item(), Cost :: non_neg_integer(), #worker{}) -> #worker{}.
queued(#{conn := Conn} = Held, Item, Cost, #worker{queues = Queues, ready = Ready} = Worker) ->
    case Queues of
        #{Conn := #queue{items = Items, bytes = Bytes} = Queue} ->
            Longer = Queue#queue{items = queue:in(Item, Items), bytes = Bytes + Cost},
            Worker#worker{queues = Queues#{Conn := Longer}};
        #{} ->
            Queue = #queue{held = Held, items = queue:from_list([Item]), bytes = Cost},
            run_ready(Worker#worker{
                queues = Queues#{Conn => Queue}, ready = queue:in(Conn, Ready)
            })
    end.

%% Begins the job at the head of each queue whose turn it is, as long as there are slots.
-spec run_ready(#worker{}) -> #worker{}.
run_ready(#worker{slots = 0} = Worker) ->
    Worker;
run_ready(#worker{handler = Handler, queues = Queues, slots = Slots, ready = Ready} = Worker) ->
    case queue:out(Ready) of
        {{value, Conn}, Others} ->
            #{Conn := #queue{held = Held, items = Items}} = Queues,
            Job =
                case queue:get(Items) of
                    {received, Data, _} -> lariat_handler_job:received(Handler, Held, Data);
                    {closed, Reason} -> lariat_handler_job:closed(Handler, Held, Reason)
                end,
            run_ready(
                begun(Job, {conn, Conn}, Worker#worker{slots = Slots - 1, ready = Others})
            );
        {empty, _} ->
            Worker
    end.

-spec begun(pid(), purpose(), #worker{}) -> #worker{}.
begun(Pid, For, #worker{jobs = Jobs, is_watching = IsWatching} = Worker) ->
    Job = #job{began_ms = erlang:monotonic_time(millisecond), for = For},
    Begun = Worker#worker{jobs = Jobs#{Pid => Job}},
    case IsWatching of
        true -> Begun;
        false -> watching(Begun)
    end.

-spec watching(#worker{}) -> #worker{}.
watching(#worker{handler = #{timeout_ms := TimeoutMs}} = Worker) ->
    _ = erlang:send_after(max(1, TimeoutMs div ?WATCHES), self(), watch),
    Worker#worker{is_watching = true}.

-spec watched(pid(), #job{}, Deadline :: integer()) -> #job{}.
watched(Pid, #job{began_ms = BeganMs, late = false} = Job, Deadline) when BeganMs =< Deadline ->
    exit(Pid, kill),
    Job#job{late = true};
watched(_, Job, _) ->
    Job.

-spec ended(#job{}, Reason :: term(), #worker{}) -> #worker{}.
ended(#job{for = For, late = Late}, Reason, Worker) ->
    #worker{handler = #{name := Name, timeout_ms := TimeoutMs}} = Worker,
    case Reason of
        normal ->
            ok;
        killed when Late ->
            lariat_counters:add(handler_timeouts, 1),
            lariat_handlers:complain(Name, "killed, it took more than ~b ms", [TimeoutMs]),
            answer(For, 504, <<"the handler took too long">>);
        _ ->
            %% By a signal: what it crashes with by itself it tells itself.
            lariat_counters:add(handler_crashes, 1),
            lariat_handlers:complain(Name, "ended by a signal: ~0P", [Reason, 20]),
            answer(For, 500, <<"the handler failed">>)
    end,
    settled(For, Worker).

%% Perhaps a second time, which the edge ignores: it may have answered, and then been killed.
-spec answer(purpose(), 500 | 504, binary()) -> ok.
answer({ask, Edge, Ref}, Status, Why) ->
    lariat_edge:answer(Edge, Ref, {reject, Status, Why}, at_once);
answer({conn, _}, _, _) ->
    ok.

-spec settled(purpose(), #worker{}) -> #worker{}.
settled({ask, _, _}, Worker) ->
    ok = give_back(jobs, 1, Worker),
    Worker;
settled({conn, Conn}, #worker{queues = Queues, slots = Slots, ready = Ready} = Worker) ->
    #{Conn := #queue{items = Items, bytes = Bytes} = Queue} = Queues,
    {{value, Done}, Others} = queue:out(Items),
    Cost =
        case Done of
            {received, _, Paid} -> Paid;
            {closed, _} -> 0
        end,
    ok = give_back(bytes, Cost, Worker),
    run_ready(
        case queue:is_empty(Others) of
            true ->
                Worker#worker{queues = maps:remove(Conn, Queues), slots = Slots + 1};
            false ->
                Shorter = Queue#queue{items = Others, bytes = Bytes - Cost},
                Worker#worker{
                    queues = Queues#{Conn := Shorter},
                    slots = Slots + 1,
                    ready = queue:in(Conn, Ready)
                }
        end
    ).

-spec give_back(jobs | bytes, non_neg_integer(), #worker{}) -> ok.
give_back(Kind, Cost, #worker{handler = Handler, index = Index}) ->
    lariat_handlers:given_back(Kind, Index, Cost, Handler).

-spec stray(term(), #worker{}) -> {noreply, #worker{}}.
stray(Stray, Worker) ->
    lariat_counters:add(strays, 1),
    ?LOG_INFO("handler worker: stray ~0P ignored", [Stray, 20]),
    {noreply, Worker}.
