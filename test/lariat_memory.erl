%%% What a held connection costs the edge's process in resident memory, and what stays when they have left.
%%%
%%% Waves of connections come in three steps, are held idle, and leave together: chunked streams with
%%% integers as ids or with binaries of 20 bytes, and WebSockets with integers, for which compression
%%% was agreed or not. Each kind has an edge of its own. No owner is attached: what owners are told is theirs.
%%% Kernel memory is not counted.
-module(lariat_memory).

-export([main/1]).

-include_lib("stdlib/include/assert.hrl").

%% Only a failing run waits this long.
-define(DEADLINE_MS, 60000).

%% Ports of a client that leaves wait a minute before they are free again (TIME_WAIT). Those of the first
%% address are left to the questions for metrics.
-define(SOURCES, "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6,127.0.0.7,127.0.0.8,127.0.0.9").

-define(STEPS, 3).

%% The edge looks every second whether there is memory to be given back.
-define(GIVEN_BACK_MS, 3000).

%% @doc For the bench: connections at a time (a multiple of the steps), waves of each kind, directory.
-spec main([string()]) -> no_return().
main([Count, Waves, Dir]) ->
    Site = #{dir := SiteDir} = lariat_site:start(Dir),
    Config = filename:join(SiteDir, "memory.toml"),
    Routes = [["[[http.route]]\npath = \"/", Path, "/{id}\"\nkind = \"", Kind, "\"\n"]
        || {Path, Kind} <- [{"stream", "stream"}, {"ws", "websocket"}]],
    ok = file:write_file(Config, Routes),
    Results = [
        begin
            Edge = lariat_site:edge(Site, "lariat", #{args => ["--config", Config]}),
            Result = waves(Kind, list_to_integer(Count), list_to_integer(Waves), Edge),
            0 = lariat_site:terminate(Edge),
            Result
        end
     || Kind <- kinds()
    ],
    lariat_site:stop(Site),
    Json = iolist_to_binary([[line(Result), $\n] || Result <- lists:append(Results)]),
    ok = file:write_file(filename:join(Dir, "memory.jsonl"), Json),
    io:put_chars(Json),
    halt(0).

kinds() ->
    Stream = #{ids => integer, transport => "chunked", url => "http://127.0.0.1:~b/stream/{id}", args => []},
    Socket = Stream#{transport := "websocket", url := "ws://127.0.0.1:~b/ws/{id}"},
    [
        Stream,
        Stream#{ids := binary_20_bytes, url := "http://127.0.0.1:~b/stream/fourteen-chars{id}"},
        Socket,
        Socket#{args := ["--deflate"]}
    ].

waves(Kind, Count, Waves, Edge) ->
    Fresh = resident_bytes(Edge),
    FreshOfFiles = memory(<<"RssFile">>, Edge),
    [(wave(Kind, Count, Fresh, Edge))#{fresh_of_files => FreshOfFiles} || _ <- lists:seq(1, Waves)].

%% Bytes for each connection are counted against the fresh process, the difference between the steps
%% says whether growth is linear.
wave(Kind, Count, Fresh, Edge) ->
    Before = resident_bytes(Edge),
    Step = Count div ?STEPS,
    {Loads, Held} = lists:unzip([
        begin
            Load = load(Edge, Kind, 100000 + (N - 1) * Step, Step),
            ?assertEqual(N * Step, held(Edge, Kind)),
            {Load, resident_bytes(Edge)}
        end
     || N <- lists:seq(1, ?STEPS)
    ]),
    _ = [true = port_close(Load) || Load <- Loads],
    lariat_site:await(fun() -> held(Edge, Kind) =:= 0 end, all_gone),
    timer:sleep(?GIVEN_BACK_MS),
    #{
        kind => Kind,
        connections => Step * ?STEPS,
        fresh => Fresh,
        before => Before,
        held => Held,
        per_connection => [(Bytes - Fresh) div (N * Step) || {N, Bytes} <- lists:enumerate(Held)],
        last_step_per_connection => (lists:last(Held) - hd(Held)) div ((?STEPS - 1) * Step),
        left => resident_bytes(Edge),
        left_of_files => memory(<<"RssFile">>, Edge)
    }.

load(#{http := Http}, #{url := Template, args := Args}, First, Count) ->
    Url = lists:flatten(io_lib:format(Template, [Http])),
    Ids = integer_to_list(First) ++ "-" ++ integer_to_list(First + Count - 1),
    Port = open_port({spawn_executable, lariat_site:tools()}, [
        {args, ["load", "--url", Url, "--connections", integer_to_list(Count), "--ids", Ids,
            "--sources", ?SOURCES, "--until-stdin-closes" | Args]},
        binary, {line, 65536}, stderr_to_stdout
    ]),
    receive
        {Port, {data, {_, <<"{\"event\":\"connected\"", _/binary>>}}} -> Port
    after ?DEADLINE_MS -> error(not_connected)
    end.

held(Edge, #{transport := Transport}) ->
    lariat_site:metric(Edge, iolist_to_binary(["lariat_connections{transport=\"", Transport, "\"}"])).

resident_bytes(Edge) ->
    memory(<<"VmRSS">>, Edge).

%% The resident pages of files are the program itself, more of it the more of it has run.
memory(Kind, Edge) ->
    1024 * lariat_site:memory_kb(Kind, Edge).

line(#{kind := Kind, held := Held, per_connection := PerConnection} = Result) ->
    #{ids := Ids, transport := Transport, args := Args} = Kind,
    Numbers = [
        io_lib:format(", \"~s\": ~b", [Key, maps:get(Key, Result)])
     || Key <- [connections, fresh, fresh_of_files, before, last_step_per_connection, left, left_of_files]
    ],
    Lists = [
        io_lib:format(", \"~s\": [~s]", [Key, lists:join(", ", [integer_to_list(N) || N <- List])])
     || {Key, List} <- [{held, Held}, {per_connection, PerConnection}]
    ],
    ["{\"transport\": \"", lists:join(" ", [Transport | Args]), "\", \"ids\": \"", atom_to_list(Ids), $", Numbers, Lists, $}].
