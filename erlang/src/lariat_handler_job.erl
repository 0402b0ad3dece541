%%% One call of a handler's callback, in a process of its own.
%%%
%%% Runs it, judges what it answers (`lariat_answer'), and says that to the edge or to the
%%% connection itself. It keeps no time and no order: its worker does. It may be suspended while
%%% the link to the edge is full, and is killed at its deadline then, too.
-module(lariat_handler_job).

-export([ask/4, received/3, closed/3]).

-export_type([question/0]).

-type question() :: {init, lariat_handler:request()} | {batch, [binary(), ...]}.

%% @doc Somebody asks; the edge is answered.
-spec ask(lariat_handlers:handler(), lariat_picture:edge(), lariat_wire:ask_ref(), question()) ->
    pid().
ask(#{module := Module, state := State} = Handler, Edge, Ref, {init, Request}) ->
    spawn_link(fun() ->
        #{kind := Kind} = Request,
        Checked = run(
            fun() -> lariat_answer:init(Kind, Module:init(Request, State)) end, init, Handler
        ),
        answer(Checked, Edge, Ref)
    end);
ask(#{module := Module, state := State} = Handler, Edge, Ref, {batch, Bodies}) ->
    spawn_link(fun() ->
        Checked = run(
            fun() -> lariat_answer:batch(Module:handle_batch(Bodies, State)) end,
            handle_batch,
            Handler
        ),
        answer(Checked, Edge, Ref)
    end).

%% @doc A connection said something; what the handler replies goes to it.
-spec received(lariat_handlers:handler(), lariat_handler:conn(), lariat_handler:data()) -> pid().
received(#{module := Module, state := State} = Handler, #{conn := Conn} = Held, Data) ->
    spawn_link(fun() ->
        Checked = run(
            fun() -> lariat_answer:in(Module:handle_in(Held, Data, State)) end, handle_in, Handler
        ),
        case Checked of
            {ok, {say, Term}} -> say(Conn, Term);
            {ok, nothing} -> ok;
            failed -> ok
        end
    end).

%% @doc A connection is gone.
-spec closed(lariat_handlers:handler(), lariat_handler:conn(), Reason :: term()) -> pid().
closed(#{module := Module, state := State} = Handler, Held, Reason) ->
    spawn_link(fun() ->
        Closed = fun() -> {ok, Module:handle_closed(Held, Reason, State)} end,
        run(Closed, handle_closed, Handler)
    end).

-spec answer({ok, lariat_wire:answer()} | failed, lariat_picture:edge(), lariat_wire:ask_ref()) ->
    ok.
answer({ok, Answer}, Edge, Ref) ->
    lariat_edge:answer(Edge, Ref, Answer, patiently);
answer(failed, Edge, Ref) ->
    lariat_edge:answer(Edge, Ref, {reject, 500, <<"the handler failed">>}, patiently).

%% Waits while the way is full.
-spec say(lariat_wire:conn(), term()) -> ok.
say(Conn, Term) ->
    case lariat_edge:signal(Conn, Term, patiently) of
        ok -> ok;
        {error, _} -> lariat_counters:add(answers_lost, 1)
    end.

-spec run(fun(() -> {ok, Judged} | {error, term()}), atom(), lariat_handlers:handler()) ->
    {ok, Judged} | failed.
run(Callback, Function, #{name := Name, module := Module}) ->
    try Callback() of
        {ok, _} = Judged ->
            Judged;
        {error, Why} ->
            lariat_counters:add(handler_bad_answers, 1),
            Args = [Module, Function, Why, 20],
            lariat_handlers:complain(Name, "~ts:~ts answered what cannot be sent: ~0P", Args),
            failed
    catch
        Class:Reason:Stack ->
            lariat_counters:add(handler_crashes, 1),
            Args = [Module, Function, Class, Reason, 20, Stack, 30],
            lariat_handlers:complain(Name, "~ts:~ts crashed: ~ts:~0P, ~0P", Args),
            failed
    end.
