%%% What ordinary requests cost, beside a mochiweb handler that does the same: posts that Erlang takes in
%%% batches, and requests that a handler answers.
%%%
%%% Both take turns, round after round, in one run, and have both CPUs, which the load generator shares:
%%% what counts is the ratio. A batch's handler splits the lines of each body and counts them; what it has
%%% counted in the end is what was answered with 202, or the bench fails.
-module(posts_table).

-export([main/1]).
%% In the nodes.
-export([count/0, init/2, handle_batch/2, serve/0, requested/1]).

-define(COUNTED, posts_counted).

main([What, Seconds, Rounds, Peers, Dir]) ->
    Site = lariat_site:start(Dir),
    Servers = [lariat(Site, Dir) | mochiweb(Site, Peers)],
    Loads = loads(What),
    Results = [
        {Load, Name, measure(Server, What, Load, Seconds)}
     || _ <- lists:seq(1, list_to_integer(Rounds)), Load <- Loads, {Name, Server} <- Servers
    ],
    io:format("~n~-31s ~-10s ~12s ~12s ~9s ~9s ~8s~n",
        ["load", "server", "requests/s", "events/s", "p50 ms", "p99 ms", "ratio"]),
    _ = [row(Load, Name, Results) || Load <- Loads, {Name, _} <- Servers],
    lariat_site:stop(Site),
    halt(0).

%% Title, and arguments of the load generator.
loads("batch") ->
    [
        {"10 events a post, 16 in flight", ["--events", "10", "--pipeline", "16"]},
        {"10 events a post, 1 in flight", ["--events", "10"]},
        {"1 event a post, 16 in flight", ["--pipeline", "16"]},
        {"1 event a post, 1 in flight", []}
    ];
loads("requests") ->
    [
        {"64 connections", ["--get", "--connections", "64"]},
        {"1 connection", ["--get", "--connections", "1"]}
    ].

row({Title, _} = Load, Name, Results) ->
    Mine = median([Result || {L, N, Result} <- Results, L =:= Load, N =:= Name]),
    Base = median([Result || {L, N, Result} <- Results, L =:= Load, N =:= "mochiweb"]),
    #{requests := Requests, events := Events, p50 := P50, p99 := P99} = Mine,
    Ratio = case Base of
        #{requests := Others} -> io_lib:format("~.2f", [Requests / Others]);
        none -> "-"
    end,
    io:format("~-31s ~-10s ~12w ~12w ~9.2f ~9.2f ~8s~n",
        [Title, Name, round(Requests), round(Events), P50, P99, Ratio]).

median([]) ->
    none;
median(Results) ->
    Sorted = lists:sort([{R, Result} || #{requests := R} = Result <- Results]),
    {_, Result} = lists:nth((length(Sorted) + 1) div 2, Sorted),
    Result.

measure(#{url := Url, erlang := Erlang}, What, {_, Args}, Seconds) ->
    Before = lariat_site:call(Erlang, ?MODULE, count, []),
    Path = case What of "batch" -> "/in"; "requests" -> "/app" end,
    Command = lists:join(" ", [lariat_site:tools(), "post", "--url", Url ++ Path,
        "--duration", Seconds ++ "s" | Args]),
    Text = os:cmd(lists:flatten(Command)),
    Number = fun(Key) -> number(Key, Text) end,
    case re:run(Text, "\"ok\":true") of
        {match, _} -> ok;
        nomatch -> error({not_answered, Text})
    end,
    Result = #{
        requests => Number("requests_per_second"), events => Number("events_per_second"),
        p50 => Number("p50_ms"), p99 => Number("p99_ms")
    },
    %% The second before the count began is on top.
    Counted = lariat_site:call(Erlang, ?MODULE, count, []) - Before,
    Answered = Number("events_per_second") * Number("seconds"),
    case What of
        "batch" when Counted < Answered * 0.999 -> error({lost, Counted, Answered});
        _ -> Result
    end.

number(Key, Text) ->
    {match, [Digits]} = re:run(Text, "\"" ++ Key ++ "\":([0-9.]+)", [{capture, [1], list}]),
    try list_to_float(Digits) catch error:badarg -> float(list_to_integer(Digits)) end.

lariat(Site, Dir) ->
    Config = filename:join(Dir, "posts.toml"),
    ok = file:write_file(Config,
        "[[http.route]]\npath = \"/in\"\nkind = \"batch\"\nhandler = \"in\"\n"
        "[[http.route]]\npath = \"/app\"\nkind = \"request\"\nhandler = \"app\"\n"),
    #{node := Node, http := Http} = lariat_site:edge(Site, "lariat", #{args => ["--config", Config]}),
    Paths = ["-pa", filename:dirname(code:which(lariat)) | peers_program:paths()],
    Mnesia = filename:join(Dir, "mnesia-posts"),
    _ = file:del_dir_r(Mnesia),
    Erlang = lariat_site:plain_erlang(Site, "posts", Paths ++ ["-mnesia", "dir", "\"" ++ Mnesia ++ "\""]),
    _ = lariat_site:call(Erlang, application, load, [lariat]),
    Handlers = [{<<"in">>, ?MODULE, none}, {<<"app">>, ?MODULE, none}],
    _ = [ok = lariat_site:call(Erlang, application, set_env, [lariat, Key, Value])
        || {Key, Value} <- [{edges, [Node]}, {handlers, Handlers}]],
    {ok, _} = lariat_site:call(Erlang, application, ensure_all_started, [lariat]),
    Url = "http://127.0.0.1:" ++ integer_to_list(Http),
    Url2 = Url ++ "/app",
    true = lariat_site:await(fun() ->
        string:find(os:cmd(lariat_site:tools() ++ " post --get --connections 1 --duration 100ms --url " ++
            Url2), "\"ok\":true") =/= nomatch
    end, handlers),
    {"lariat", #{url => Url, erlang => Erlang}}.

mochiweb(Site, Peers) ->
    case filelib:wildcard(filename:join(Peers, "debian/usr/lib/erlang/lib/mochiweb*/ebin")) of
        [] ->
            io:format("no mochiweb: Debian's package is erlang-mochiweb~n"),
            [];
        [Ebin | _] ->
            Erlang = lariat_site:plain_erlang(Site, "mochiweb", ["-pa", Ebin | peers_program:paths()]),
            Http = lariat_site:call(Erlang, ?MODULE, serve, []),
            [{"mochiweb", #{url => "http://127.0.0.1:" ++ integer_to_list(Http), erlang => Erlang}}]
    end.

%% @doc Events counted so far.
count() ->
    case persistent_term:get(?COUNTED, none) of
        none -> 0;
        Counter -> counters:get(Counter, 1)
    end.

counted(Body) ->
    Counter = case persistent_term:get(?COUNTED, none) of
        none ->
            New = counters:new(1, [atomics]),
            persistent_term:put(?COUNTED, New),
            New;
        Known ->
            Known
    end,
    counters:add(Counter, 1, length(binary:split(Body, <<"\n">>, [global, trim]))).

%% Lariat's handler.

init(_Request, _) ->
    {reply, 200, [{<<"Content-Type">>, <<"text/plain">>}], <<"Hello">>}.

handle_batch(Bodies, _) ->
    lists:foreach(fun counted/1, Bodies).

%% Mochiweb's.

serve() ->
    Started = self(),
    spawn(fun() ->
        {ok, _} = application:ensure_all_started(crypto),
        {ok, Http} = mochiweb_http:start([
            {name, posts}, {ip, "127.0.0.1"}, {port, 0}, {backlog, 1024}, {nodelay, true},
            {max, 10000}, {loop, fun ?MODULE:requested/1}
        ]),
        Started ! {listens, mochiweb_socket_server:get(Http, port)},
        receive stop -> ok end
    end),
    receive {listens, Port} -> Port end.

requested(Request) ->
    case mochiweb_request:get(path, Request) of
        "/in" ->
            counted(mochiweb_request:recv_body(Request)),
            mochiweb_request:respond({202, [], <<>>}, Request);
        "/app" ->
            mochiweb_request:respond({200, [{"Content-Type", "text/plain"}], <<"Hello">>}, Request)
    end.
