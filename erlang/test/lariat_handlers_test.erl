%%% Handlers without an edge: this module stands in for one, and is told the answers. With an
%%% edge: lariat_link_test.
-module(lariat_handlers_test).

-include_lib("eunit/include/eunit.hrl").

-import(lariat_test_nodes, [await/1]).

%% What lariat_edge and logger call.
-export([answer/4, log/2]).

-define(EDGE, lariat_handlers_test).

%% Each case with a fresh application, which has one handler, `h': the case's function.
handlers_test_() ->
    [
        {atom_to_list(Name), {timeout, 120, fun() -> run(Handle, Env, Case) end}}
     || {Name, Env, Handle, Case} <- [
            {answers_are_sent, [], fun replying/1, fun answers_are_sent/0},
            {bad_answers_are_500, [], fun replying/1, fun bad_answers_are_500/0},
            {a_crash_is_its_own, [], fun replying/1, fun a_crash_is_its_own/0},
            {the_log_is_not_flooded, [], fun replying/1, fun the_log_is_not_flooded/0},
            {a_killed_job_is_answered_for, [], fun replying/1, fun a_killed_job_is_answered_for/0},
            {the_deadline_kills, [{handler_timeout_ms, 20}], fun waiting/1, fun the_deadline_kills/0},
            {too_many_are_refused, [{handler_jobs_max, 3}], fun waiting/1, fun too_many_are_refused/0},
            {unknown_handlers_are_refused, [], fun replying/1, fun unknown_handlers_are_refused/0},
            {batches, [], fun replying/1, fun batches/0},
            {messages_are_in_order, [], fun waiting/1, fun messages_are_in_order/0},
            {a_slow_one_delays_only_itself, [], fun waiting/1, fun a_slow_one_delays_only_itself/0},
            {messages_wait_for_a_slot, [{handler_jobs_max, 1}], fun waiting/1, fun messages_wait_for_a_slot/0},
            {replies_go_to_the_connection, [], fun replying/1, fun replies_go_to_the_connection/0},
            {a_crash_keeps_the_connection, [], fun replying/1, fun a_crash_keeps_the_connection/0},
            {a_late_message_is_given_up, [{handler_timeout_ms, 20}], fun waiting/1, fun a_late_message_is_given_up/0},
            {one_connection_is_bounded, [], fun waiting/1, fun one_connection_is_bounded/0},
            {all_messages_are_bounded, [{handler_queue_bytes, 1000}], fun waiting/1, fun all_messages_are_bounded/0},
            {closed_is_last_and_once, [], fun waiting/1, fun closed_is_last_and_once/0},
            {a_sweep_closes_those_not_told, [], fun waiting/1, fun a_sweep_closes_those_not_told/0},
            {connections_without_a_handler_of_ours, [], fun replying/1,
                fun connections_without_a_handler_of_ours/0},
            {a_worker_begins_anew, [], fun waiting/1, fun a_worker_begins_anew/0},
            {publishes, [], fun replying/1, fun publishes/0}
        ]
    ].

run(Handle, Env, Case) ->
    %% What an earlier case left.
    _ = all(),
    true = register(?EDGE, self()),
    ok = lariat_counters:create(),
    put(counters_before, lariat_counters:all()),
    ok = logger:set_primary_config(level, error),
    _ = logger:set_handler_config(default, level, none),
    ok = logger:add_handler(?MODULE, ?MODULE, #{}),
    [application:set_env(lariat, Key, Value) || {Key, Value} <- Env],
    application:set_env(lariat, handlers, [{<<"h">>, lariat_test_handler, Handle}]),
    {ok, Supervisor} = lariat_sup:start_link(),
    ok = lariat_picture:set_edge(?EDGE, #{module => ?MODULE, state => up, epoch => 1}),
    try
        Case(),
        %% Whatever happened, all that was paid is given back.
        await(fun() -> outstanding() =:= {0, 0} end)
    after
        unlink(Supervisor),
        Monitor = erlang:monitor(process, Supervisor),
        exit(Supervisor, shutdown),
        receive
            {'DOWN', Monitor, process, _, _} -> ok
        end,
        [application:unset_env(lariat, Key) || {Key, _} <- [{handlers, none} | Env]],
        ok = logger:remove_handler(?MODULE),
        _ = logger:set_handler_config(default, level, all),
        ok = logger:set_primary_config(level, notice),
        true = unregister(?EDGE)
    end.

%% Answers what the request, the message or the first body says.
replying({init, #{body := Body}}) -> said(Body);
replying({in, _, {_, Text}}) -> said(Text);
replying({batch, [First | _] = Bodies}) -> tell({batch, Bodies}), said(First);
replying({closed, _, _}) -> ok.

said(Text) ->
    case binary_to_term(Text) of
        crash -> error(as_asked);
        {exit, Reason} -> exit(self(), Reason), receive never -> ok end;
        Term -> Term
    end.

%% Tells what it was called with, and waits for the answer.
waiting(What) ->
    tell({called, self(), What}),
    receive
        {go, Answer} -> Answer
    end.

tell(What) -> ?EDGE ! What.

answer(_, Ref, Answer, _) ->
    tell({answer, Ref, Answer}),
    ok.

log(#{msg := {Format, Args}}, _) when is_list(Args) ->
    tell({logged, lists:flatten(io_lib:format(Format, Args))});
log(#{}, _) ->
    ok.

answers_are_sent() ->
    Options = #{headers => #{"Set-Cookie" => ["a", <<"=1">>]}, heartbeat => off, when_full => close},
    ?assertEqual(
        {accept, 7, Options#{headers => [{<<"Set-Cookie">>, <<"a=1">>}]}},
        asked(stream, {accept, 7, Options})
    ),
    ?assertEqual({accept, {a, 1.0}, #{}}, asked(websocket, {accept, {a, 1.0}, #{}})),
    ?assertEqual(
        {reply, 200, [{<<"content-type">>, <<"text/plain">>}], <<"hello">>},
        asked(request, {reply, 200, [{"content-type", "text/plain"}], ["hel", <<"lo">>]})
    ),
    ?assertEqual({reply, 204, [], <<>>}, asked(stream, {reply, 204, #{}, []})),
    ?assertEqual({reject, 403, <<"not you">>}, asked(poll, {reject, 403, "not you"})).

bad_answers_are_500() ->
    Bad = [
        {request, {accept, 7, #{}}},
        {stream, {accept, "alice", #{}}},
        {stream, {accept, 1, []}},
        {stream, {accept, 1, #{hartbeat => off}}},
        {stream, {accept, 1, #{heartbeat => 999}}},
        {stream, {accept, 1, #{when_full => wait}}},
        {stream, {accept, 1, #{headers => [{"a", "b\r\nc: d"}]}}},
        {request, {reply, 200, [{"a\n", "b"}], ""}},
        {request, {reply, 200, [{"", "b"}], ""}},
        {request, {reply, 200, [{[255], "b"}], ""}},
        {request, {reply, 200, [{"a:", "b"}], ""}},
        {request, {reply, 200, [{"a", [127]}], ""}},
        {request, {reply, 200, lists:duplicate(129, {"a", "b"}), ""}},
        {request, {reply, 200, [{"a", binary:copy(<<"b">>, 17000)}], ""}},
        {request, {reject, 400, binary:copy(<<"b">>, 5000)}},
        {request, {reply, 200, [{a, "b"}], ""}},
        {request, {reply, 200, ["a: b"], ""}},
        {request, {reply, 200, none, ""}},
        {request, {reply, 200, #{}, body}},
        {request, {reply, 199, #{}, ""}},
        {request, {reply, "200", #{}, ""}},
        {request, {reject, 200, "fine"}},
        {request, {reject, 404, nowhere}},
        {request, ok},
        {request, taken}
    ],
    [?assertEqual(failed(), asked(Kind, Answer)) || {Kind, Answer} <- Bad],
    ?assertEqual(length(Bad), counted(handler_bad_answers)).

a_crash_is_its_own() ->
    ?assertEqual(failed(), asked(request, crash)),
    ?assertEqual({reject, 404, <<>>}, asked(request, {reject, 404, ""})),
    ?assertEqual(1, counted(handler_crashes)).

%% A line at once, however many crash.
the_log_is_not_flooded() ->
    [?assertEqual(failed(), asked(request, crash)) || _ <- lists:seq(1, 200)],
    ?assertEqual(200, counted(handler_crashes)),
    Lines = [Line || {logged, Line} <- all()],
    ?assert(length(Lines) >= 1),
    ?assert(length(Lines) < 20),
    ?assertMatch("handler h: lariat_test_handler:init crashed: error:as_asked" ++ _, hd(Lines)).

%% By a signal, which nothing in it can catch.
a_killed_job_is_answered_for() ->
    ?assertEqual(failed(), asked(request, {exit, kill})),
    ?assertEqual(failed(), asked(request, {exit, something})),
    ?assertEqual(2, counted(handler_crashes)).

the_deadline_kills() ->
    ok = ask(1, request, wait),
    {called, Pid, {init, _}} = next(called),
    ?assertEqual({answer, 1, {reject, 504, <<"the handler took too long">>}}, next(answer)),
    await(fun() -> not is_process_alive(Pid) end),
    ?assertEqual(1, counted(handler_timeouts)).

too_many_are_refused() ->
    [ok = ask(Ref, request, wait) || Ref <- [1, 2, 3]],
    Called = [Pid || _ <- [1, 2, 3], {called, Pid, _} <- [next(called)]],
    ok = ask(4, request, wait),
    ?assertMatch({answer, 4, {reject, 503, _}}, next(answer)),
    ?assertEqual(1, counted(handler_refused)),
    %% One ends, another may begin.
    hd(Called) ! {go, {reject, 400, ""}},
    ?assertMatch({answer, _, {reject, 400, <<>>}}, next(answer)),
    await(fun() -> outstanding() =:= {2, 0} end),
    ok = ask(5, request, wait),
    {called, Fifth, _} = next(called),
    [Pid ! {go, {reject, 400, ""}} || Pid <- [Fifth | tl(Called)]],
    [?assertMatch({answer, _, {reject, 400, <<>>}}, next(answer)) || _ <- [1, 2, 3]].

unknown_handlers_are_refused() ->
    ok = lariat_handlers:request(?EDGE, 1, #{kind => request, handler => <<"x">>}),
    ?assertMatch({answer, 1, {reject, 503, _}}, next(answer)),
    ok = lariat_handlers:batch(?EDGE, 2, <<"x">>, [<<>>]),
    ?assertMatch({answer, 2, {reject, 503, _}}, next(answer)),
    ?assertEqual(2, counted(handler_unknown)).

batches() ->
    Batch = fun(Ref, First) ->
        Bodies = [term_to_binary(First), <<"two">>],
        ok = lariat_handlers:batch(?EDGE, Ref, <<"h">>, Bodies),
        ?assertEqual({batch, Bodies}, next(batch)),
        {answer, Ref, Answer} = next(answer),
        Answer
    end,
    ?assertEqual(taken, Batch(1, ok)),
    ?assertMatch({reject, 503, _}, Batch(2, {error, disc_full})),
    ?assertEqual(failed(), Batch(3, crash)),
    ?assertEqual(failed(), Batch(4, maybe)).

messages_are_in_order() ->
    Pid = opened(1),
    [ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<I>>}) || I <- lists:seq(1, 50)],
    [?assertEqual({text, <<I>>}, go(ok)) || I <- lists:seq(1, 50)],
    ?assertEqual(50, counted(handler_messages)).

%% Any number of others, on whichever worker.
a_slow_one_delays_only_itself() ->
    Slow = opened(slow),
    ok = lariat_handlers:received(?EDGE, Slow, slow, {text, <<"slow">>}),
    {called, Job, {in, #{id := slow}, _}} = next(called),
    ok = lariat_handlers:received(?EDGE, Slow, slow, {text, <<"behind">>}),
    [
        begin
            ok = lariat_handlers:received(?EDGE, opened(Id), Id, {binary, <<Id>>}),
            ?assertEqual({binary, <<Id>>}, go(ok))
        end
     || Id <- lists:seq(1, 20)
    ],
    Job ! {go, ok},
    ?assertEqual({text, <<"behind">>}, go(ok)).

messages_wait_for_a_slot() ->
    [ok = lariat_handlers:received(?EDGE, opened(Id), Id, {text, <<Id>>}) || Id <- [1, 2, 3]],
    {called, First, _} = next(called),
    ?assertMatch([_], calls()),
    First ! {go, ok},
    ?assertEqual({text, <<2>>}, go(ok)),
    ?assertEqual({text, <<3>>}, go(ok)).

replies_go_to_the_connection() ->
    Say = fun(Answer) ->
        ok = lariat_handlers:received(?EDGE, opened(1), 1, {binary, term_to_binary(Answer)}),
        next(to_conn)
    end,
    ?assertEqual({to_conn, <<"hello">>}, Say({reply, ["hel", "lo"]})),
    ?assertEqual({to_conn, {binary, <<"x">>}}, Say({reply, {binary, ["x"]}})),
    ?assertEqual({to_conn, {event, "e", "x"}}, Say({reply, {event, "e", "x"}})),
    ?assertEqual({to_conn, {close, bye}}, Say({close, bye})).

a_crash_keeps_the_connection() ->
    Pid = opened(1),
    Answers = [crash, {reply, no_iodata}, {reply, {text, no}}, {exit, kill}, {reply, "well"}],
    [
        ok = lariat_handlers:received(?EDGE, Pid, 1, {binary, term_to_binary(Answer)})
     || Answer <- Answers
    ],
    ?assertEqual({to_conn, <<"well">>}, next(to_conn)),
    ?assertEqual({2, 2}, {counted(handler_crashes), counted(handler_bad_answers)}).

a_late_message_is_given_up() ->
    Pid = opened(1),
    ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<"late">>}),
    {called, Late, _} = next(called),
    ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<"next">>}),
    {called, Next, {in, _, {text, <<"next">>}}} = next(called),
    ?assertNot(is_process_alive(Late)),
    Next ! {go, ok},
    ?assert(counted(handler_timeouts) >= 1).

one_connection_is_bounded() ->
    Pid = opened(1),
    Large = {text, binary:copy(<<"x">>, 300000)},
    [ok = lariat_handlers:received(?EDGE, Pid, 1, Large) || _ <- lists:seq(1, 4)],
    ?assertEqual({to_conn, {close, handler_overloaded}}, next(to_conn)),
    %% What it says now is not heard; what it said before is.
    ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<"more">>}),
    [?assertEqual(Large, go(ok)) || _ <- [1, 2, 3]],
    ?assertEqual({2, 1}, {counted(handler_messages_dropped), counted(handler_closes)}),
    ok = lariat_handlers:closed(?EDGE, Pid, handler_overloaded),
    ?assertMatch({closed, #{id := 1}, handler_overloaded}, go_closed()),
    %% Another is not concerned.
    ok = lariat_handlers:received(?EDGE, opened(2), 2, {text, <<"fine">>}),
    ?assertEqual({text, <<"fine">>}, go(ok)).

all_messages_are_bounded() ->
    [First, Second | _] = Pids = [opened(Id) || Id <- [1, 2, 3]],
    Text = {text, binary:copy(<<"x">>, 600)},
    ok = lariat_handlers:received(?EDGE, First, 1, Text),
    ok = lariat_handlers:received(?EDGE, Second, 2, Text),
    ?assertEqual({to_conn, {close, handler_overloaded}}, next(to_conn)),
    ?assertEqual(Text, go(ok)),
    await(fun() -> outstanding() =:= {0, 0} end),
    ok = lariat_handlers:received(?EDGE, lists:last(Pids), 3, Text),
    ?assertEqual(Text, go(ok)).

closed_is_last_and_once() ->
    Pid = opened(1),
    [ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<I>>}) || I <- [1, 2]],
    ok = lariat_handlers:closed(?EDGE, Pid, client),
    ok = lariat_handlers:closed(?EDGE, Pid, client),
    [?assertEqual({text, <<I>>}, go(ok)) || I <- [1, 2]],
    ?assertEqual(
        {closed, #{id => 1, conn => Pid, edge => ?EDGE, handler => <<"h">>}, client}, go_closed()
    ),
    ?assertEqual(0, lariat_handled:count()),
    %% What comes later is of nobody.
    ok = lariat_handlers:received(?EDGE, Pid, 1, {text, <<"late">>}),
    ?assertEqual(1, counted(handler_unknown)),
    await(fun() -> outstanding() =:= {0, 0} end),
    ?assertEqual([], calls()).

a_sweep_closes_those_not_told() ->
    [One, Two, Three] = [opened(Id) || Id <- [1, 2, 3]],
    ok = lariat_handlers:opened(?EDGE, Two, 2, <<"h">>, 2),
    ok = lariat_handlers:sweep(?EDGE, 2),
    Closed = [{Pid, Reason} || _ <- [1, 2], {closed, #{conn := Pid}, Reason} <- [go_closed()]],
    ?assertEqual(lists:sort([{One, noconnection}, {Three, noconnection}]), lists:sort(Closed)),
    ok = lariat_handlers:forget(?EDGE),
    ?assertMatch({closed, #{conn := Two}, noconnection}, go_closed()),
    ?assertEqual(0, lariat_handled:count()).

connections_without_a_handler_of_ours() ->
    ok = lariat_handlers:opened(?EDGE, self(), 1, <<"x">>, 1),
    ?assertEqual(0, lariat_handled:count()),
    ok = lariat_handlers:closed(?EDGE, self(), client).

%% What it kept is lost, and nothing stays paid for.
a_worker_begins_anew() ->
    [#{workers := Workers}] = [H || #{name := <<"h">>} = H <- lariat_handlers:all()],
    [ok = ask(Ref, request, wait) || Ref <- lists:seq(1, 10)],
    Jobs = [Pid || _ <- lists:seq(1, 10), {called, Pid, _} <- [next(called)]],
    Old = [whereis(Name) || Name <- tuple_to_list(Workers)],
    [exit(Pid, kill) || Pid <- Old],
    await(fun() -> [Pid || Pid <- Jobs, is_process_alive(Pid)] =:= [] end),
    await(fun() ->
        New = [whereis(Name) || Name <- tuple_to_list(Workers)],
        lists:all(fun is_pid/1, New) andalso New -- Old =:= New
    end),
    await(fun() -> outstanding() =:= {0, 0} end),
    ok = ask(11, request, wait),
    {called, Pid, _} = next(called),
    Pid ! {go, {reject, 404, "x"}},
    ?assertEqual({answer, 11, {reject, 404, <<"x">>}}, next(answer)).

%% To processes that logged in; with connections: the suite of handlers.
publishes() ->
    Publish = fun(What) ->
        Request = request(request, none),
        ok = lariat_handlers:request(?EDGE, 1, Request#{
            handler := <<"lariat_publish">>, publish => What
        }),
        {answer, 1, Answer} = next(answer),
        Answer
    end,
    Json = [{<<"content-type">>, <<"application/json">>}],
    ok = lariat:login(1, self()),
    ?assertEqual({reply, 200, Json, <<"{\"reached\":1}">>}, Publish(#{to => [1], message => <<"a">>})),
    ?assertEqual({to_me, <<"a">>}, mine()),
    ?assertEqual(
        {reply, 200, Json, <<"{\"reached\":1}">>},
        Publish(#{to => [1], message => <<"b">>, event => <<"e">>, id => <<"9">>})
    ),
    ?assertEqual({to_me, {event, <<"e">>, <<"9">>, <<"b">>}}, mine()),
    %% Nobody is known, and the picture of no edge is missing.
    ?assertEqual({reply, 200, Json, <<"{\"reached\":0}">>}, Publish(#{to => [2], message => <<"c">>})),
    ok = lariat_picture:set_edge(?EDGE, #{module => ?MODULE, state => down, epoch => none}),
    ?assertEqual(
        {reply, 503, Json, <<"{\"error\":\"noconnection\"}">>},
        Publish(#{to => [2], message => <<"c">>})
    ),
    ?assertMatch({reject, 400, _}, begin
        ok = lariat_handlers:request(?EDGE, 2, (request(request, none))#{
            handler := <<"lariat_publish">>
        }),
        {answer, 2, Answer} = next(answer),
        Answer
    end),
    ok = lariat:logout(self()).

mistakes_stop_the_start_test_() ->
    [
        ?_assertError({Why, Handler}, configured(Handler))
     || {Why, Handler} <- [
            {bad_handler, {"h", lists, x}},
            {bad_handler, {<<"a b">>, lists, x}},
            {bad_handler, {<<"a\n">>, lists, x}},
            {bad_handler, {<<>>, lists, x}},
            {bad_handler, {binary:copy(<<"h">>, 65), lists, x}},
            {bad_handler, nonsense},
            {no_such_module, {<<"h">>, no_such_module_at_all, x}}
        ]
    ].

configured(Handler) ->
    application:set_env(lariat, handlers, [Handler]),
    try
        lariat_handlers:configure()
    after
        application:unset_env(lariat, handlers)
    end.

request(Kind, Answer) ->
    #{
        kind => Kind, handler => <<"h">>, method => <<"GET">>, path => <<"/">>, bindings => #{},
        query => <<>>, headers => #{}, peer => undefined, body => term_to_binary(Answer)
    }.

ask(Ref, Kind, Answer) ->
    lariat_handlers:request(?EDGE, Ref, request(Kind, Answer)).

asked(Kind, Answer) ->
    Ref = erlang:unique_integer([positive]),
    ok = ask(Ref, Kind, Answer),
    receive
        {answer, Ref, Answered} -> Answered
    after 60000 -> error({not_answered, Kind, Answer})
    end.

failed() -> {reject, 500, <<"the handler failed">>}.

%% A connection that passes on what it is sent.
opened(Id) ->
    Test = self(),
    Pid = spawn_link(fun() -> pass_on(Test) end),
    ok = lariat_handlers:opened(?EDGE, Pid, Id, <<"h">>, 1),
    Pid.

pass_on(Test) ->
    receive
        Message -> Test ! {to_conn, Message}
    end,
    pass_on(Test).

%% Lets the next call of a waiting handler go on.
go(Answer) ->
    {called, Pid, {in, _, Data}} = next(called),
    Pid ! {go, Answer},
    Data.

go_closed() ->
    {called, Pid, {closed, _, _} = Closed} = next(called),
    Pid ! {go, ok},
    Closed.

next(Tag) ->
    receive
        Message when element(1, Message) =:= Tag -> Message
    after 60000 -> error({nothing, Tag, all()})
    end.

mine() ->
    receive
        Message when is_binary(Message); element(1, Message) =:= event -> {to_me, Message}
    after 60000 -> error(nothing)
    end.

%% The jobs of connections that run now, asked of the workers, so that nothing is on its way.
calls() ->
    [#{workers := Workers}] = [H || #{name := <<"h">>} = H <- lariat_handlers:all()],
    States = [sys:get_state(Name) || Name <- tuple_to_list(Workers)],
    [Pid || State <- States, Pid <- maps:keys(element(4, State))].

all() ->
    receive
        Message -> [Message | all()]
    after 0 -> []
    end.

outstanding() ->
    #{<<"h">> := #{requests := Requests, waiting_bytes := Bytes}} = lariat_handlers:summary(),
    {Requests, Bytes}.

%% Since the case began: its process is the test's, and counters only grow.
counted(Name) ->
    Now = maps:get(Name, lariat_counters:all()),
    Now - maps:get(Name, get(counters_before)).
