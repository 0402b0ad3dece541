%%% A link between a real Erlang node and the edge, in either direction, and questions with a bound.
%%%
%%% For suites whose every answer must come in time: what a case asks is evaluated on the Erlang
%%% node, in a process of its own, with `N' the edge's node and `L' its server. It knows no case.
-module(lariat_scene).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([in_site/2, in_site/3, made/2, tick_args/0, relinked/2, well/2, held/4]).
-export([release/1, native_record/0, stale/2, literal/1, value/1]).
-export([is/4, tried/3, bounded/3]).
%% Called on the Erlang node.
-export([bounded/2, flood/3, waiting/1, waited/0]).

-import(lariat_site, [call/4, await/2]).

%% What must not block is answered within milliseconds; this is what a loaded machine may add. A
%% timeout of OTP's that comes before is no answer either.
-define(BOUND_MS, 30000).

%% `net_ticktime' in the cases about it: four ticks, so one second each.
-define(TICKTIME_S, "4").

%% A case: the site, the link in the direction of the group, and at the end that it is still the
%% same link, that nothing on it was strange to the edge, and that both sides are well.
in_site(Config, Case) ->
    in_site(Config, #{}, Case).

in_site(Config, Options, Case) ->
    #{app := App, edge := Edge} = made(Config, Options),
    _ = Case(App, Edge),
    {200, _, Metrics} = lariat_client:get(maps:get(admin, Edge), "/metrics"),
    Ended = [Line || <<"lariat_links_down_total", _/binary>> = Line <- lines(Metrics),
                     binary:last(Line) =/= $0],
    ?assertEqual([], Ended),
    ?assertEqual(0, lariat_site:metric(Edge, <<"lariat_dist_unknown_controls_total">>)),
    well(App, Edge).

%% Where the edge dials, Erlang never does: the link can only be the edge's.
made(Config, Options) ->
    Site = ?config(site, Config),
    Args = ["-pa", filename:dirname(code:which(?MODULE))] ++ maps:get(erlang, Options, []),
    Tick = tick_file(Site, Options),
    case ?config(direction, Config) of
        erlang_dials ->
            #{node := Node} = Edge = lariat_site:edge(Site, "lariat", #{args => Tick}),
            App = lariat_site:plain_erlang(Site, "app", Args),
            true = call(App, net_kernel, connect_node, [Node]),
            #{app => App, edge => Edge};
        edge_dials ->
            Never = ["-kernel", "dist_auto_connect", "never"],
            App = lariat_site:plain_erlang(Site, "app", Never ++ Args),
            #{node := Node} = Edge =
                lariat_site:edge(Site, "lariat", #{args => ["--connect", "app@127.0.0.1" | Tick]}),
            await(fun() -> call(App, erlang, nodes, [hidden]) =:= [Node] end, link),
            #{app => App, edge => Edge}
    end.

%% Dialling is what a ping does, or what the edge does by itself.
relinked(App, Node) ->
    await(fun() -> tried(App, "net_adm:ping(N)", Node) =:= {value, pong} end, link).

tick_args() ->
    #{erlang => ["-kernel", "net_ticktime", ?TICKTIME_S], tick_time => ?TICKTIME_S ++ "s"}.

tick_file(#{dir := Dir}, #{tick_time := Time}) ->
    File = filename:join(Dir, "tick.toml"),
    ok = file:write_file(File, ["[dist]\ntick_time = \"", Time, "\"\n"]),
    ["--config", File];
tick_file(_Site, #{}) ->
    [].

%% Both sides are well: the node answers and delivers, the program has not panicked.
well(App, #{http := Http, node := Node, admin := Admin} = Edge) ->
    pong = bounded(App, "net_adm:ping(N)", Node),
    Stream = held(App, Node, Http, <<"witness">>),
    ok = bounded(App, "{any, N} ! {<<\"witness\">>, <<\"well\">>}, ok", Node),
    <<"well">> = lariat_client:message(Stream),
    {200, _, <<"ok\n">>} = lariat_client:get(Admin, "/healthz"),
    Log = lariat_site:log(Edge),
    ?assertEqual([], [Line || Line <- Log, binary:match(Line, <<"panicked">>) =/= nomatch]),
    lariat_client:close(Stream).

%% A stream that the edge knows under this id.
held(App, Node, Http, Id) ->
    Stream = lariat_client:open(Http, Id, chunked),
    Ask = ["gen_server:call(L, {connections, ", literal(Id), "})"],
    await(fun() -> {ok, Pids} = bounded(App, Ask, Node), Pids =/= [] end, {connection, Id}),
    Stream.

release(App) ->
    list_to_integer(call(App, erlang, system_info, [otp_release])).

%% `#nr:point{x = 7, y = 2}' as OTP 29 writes it, as Erlang source.
native_record() ->
    Names = <<119, 2, "nr", 119, 5, "point", 119, 1, "x", 119, 1, "y">>,
    ["binary_to_term(", literal(<<131, 67, 2:32, 0, Names/binary, 97, 7, 97, 2>>), ")"].

%% The pid of a connection of an earlier run of the node, as Erlang source. OTP sends to it as to
%% any other.
stale(_App, Node) ->
    Name = atom_to_binary(Node),
    literal(<<131, 88, 119, (byte_size(Name)), Name/binary, 99:32, 0:32, 1:32>>).

literal(Term) ->
    io_lib:format("~w", [Term]).

value(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

lines(Text) ->
    binary:split(Text, <<"\n">>, [global, trim_all]).

%%--------------------------------------------------------------------------------------------------
%% On the Erlang node

%% Evaluates within the bound, with `N' the node and `L' its server, and compares.
is(App, Expected, Text, Node) ->
    Comment = unicode:characters_to_list(Text),
    ?assertEqual({value, Expected}, tried(App, Text, Node), Comment).

tried(App, Text, Node) ->
    Bound = #{node => Node, ms => ?BOUND_MS},
    call(App, ?MODULE, bounded, [unicode:characters_to_list(Text), Bound]).

%% The value, at once.
bounded(#{peer := _} = App, Text, Node) ->
    {value, Value} = tried(App, Text, Node),
    Value.

%% @doc The value of the expressions, or how they ended, or `hangs' when the time was over, be it ours
%% or one of OTP's. In a process of their own, whose mailbox and dictionary nobody else needs.
-spec bounded(string(), #{node := node(), ms := pos_integer()}) ->
    {value, term()} | {throw | error | exit, term()} | hangs.
bounded(Text, #{node := Node, ms := Time}) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    Bindings = [{'L', {lariat, Node}}, {'N', Node}],
    Evaluate = fun() ->
        Result =
            try erl_eval:exprs(Expressions, Bindings) of
                {value, Value, _} -> {value, Value}
            catch
                exit:timeout -> hangs;
                exit:{timeout, _} -> hangs;
                Class:Reason -> {Class, Reason}
            end,
        exit({evaluated, Result})
    end,
    {Pid, Monitor} = spawn_monitor(Evaluate),
    receive
        {'DOWN', Monitor, process, Pid, {evaluated, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> {exit, Reason}
    after Time ->
        exit(Pid, kill),
        hangs
    end.

%% @doc Leaves a process behind that waits for the node's end.
-spec waiting(node()) -> true.
waiting(Node) ->
    Starter = self(),
    Pid = spawn(fun() ->
        true = register(waiting, self()),
        Monitor = monitor(process, {lariat, Node}),
        Starter ! {self(), waits},
        receive
            {'DOWN', Monitor, process, _, Reason} ->
                receive {whom, From} -> From ! {waited, Reason} end
        end
    end),
    receive {Pid, waits} -> true end.

%% @doc What that process was told.
-spec waited() -> term().
waited() ->
    waiting ! {whom, self()},
    receive
        {waited, Reason} -> Reason
    after ?BOUND_MS -> hangs
    end.

%% @doc Sends so many messages of 16 KB to each of these ids, and waits until they have been read;
%% answers how often a sender was suspended because the link was full. Of what fits into the link's
%% queue here (1 MiB) none is, however late the reader comes to it, if only it comes.
-spec flood(node(), [term()], pos_integer()) -> #{suspended := non_neg_integer()}.
flood(Node, Ids, Count) ->
    _ = erlang:system_monitor(self(), [busy_dist_port]),
    Message = binary:copy(<<"x">>, 16384),
    _ = [erlang:send({any, Node}, {Ids, Message}) || _ <- lists:seq(1, Count)],
    pong = net_adm:ping(Node),
    _ = erlang:system_monitor(undefined),
    #{suspended => suspensions(0)}.

suspensions(Count) ->
    receive
        {monitor, _, busy_dist_port, _} -> suspensions(Count + 1)
    after 0 -> Count
    end.
