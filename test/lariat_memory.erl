%%% What a held stream costs the edge's process in resident memory, and what stays when they have left.
%%%
%%% Waves of streams come in three steps, are held idle, and leave together; half of the waves have
%%% integers as ids, half binaries of 20 bytes. No owner is attached: what owners are told is theirs.
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

%% @doc For the bench: streams at a time (a multiple of the steps), waves of each kind, directory.
-spec main([string()]) -> no_return().
main([Count, Waves, Dir]) ->
    Site = lariat_site:start(Dir),
    Kinds = [{integer, ""}, {binary_20_bytes, "fourteen-chars"}],
    Results = [
        begin
            Edge = lariat_site:edge(Site, "lariat"),
            Result = waves(Kind, Prefix, list_to_integer(Count), list_to_integer(Waves), Edge),
            0 = lariat_site:terminate(Edge),
            Result
        end
     || {Kind, Prefix} <- Kinds
    ],
    lariat_site:stop(Site),
    Json = iolist_to_binary([[line(Result), $\n] || Result <- lists:append(Results)]),
    ok = file:write_file(filename:join(Dir, "memory.jsonl"), Json),
    io:put_chars(Json),
    halt(0).

waves(Kind, Prefix, Count, Waves, Edge) ->
    Fresh = resident_bytes(Edge),
    FreshOfFiles = memory(<<"RssFile">>, Edge),
    [(wave(Kind, Prefix, Count, Fresh, Edge))#{fresh_of_files => FreshOfFiles} || _ <- lists:seq(1, Waves)].

%% Bytes for each stream are counted against the fresh process, the difference between the steps
%% says whether growth is linear.
wave(Kind, Prefix, Count, Fresh, Edge) ->
    Before = resident_bytes(Edge),
    Step = Count div ?STEPS,
    {Loads, Held} = lists:unzip([
        begin
            Load = load(Edge, Prefix, 100000 + (N - 1) * Step, Step),
            ?assertEqual(N * Step, streams(Edge)),
            {Load, resident_bytes(Edge)}
        end
     || N <- lists:seq(1, ?STEPS)
    ]),
    _ = [true = port_close(Load) || Load <- Loads],
    lariat_site:await(fun() -> streams(Edge) =:= 0 end, all_gone),
    timer:sleep(?GIVEN_BACK_MS),
    #{
        kind => Kind,
        streams => Step * ?STEPS,
        fresh => Fresh,
        before => Before,
        held => Held,
        per_stream => [(Bytes - Fresh) div (N * Step) || {N, Bytes} <- lists:enumerate(Held)],
        last_step_per_stream => (lists:last(Held) - hd(Held)) div ((?STEPS - 1) * Step),
        left => resident_bytes(Edge),
        left_of_files => memory(<<"RssFile">>, Edge)
    }.

load(#{http := Http}, Prefix, First, Count) ->
    Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/" ++ Prefix ++ "{id}",
    Ids = integer_to_list(First) ++ "-" ++ integer_to_list(First + Count - 1),
    Port = open_port({spawn_executable, lariat_site:tools()}, [
        {args, ["load", "--url", Url, "--connections", integer_to_list(Count), "--ids", Ids,
            "--sources", ?SOURCES, "--until-stdin-closes"]},
        binary, {line, 65536}, stderr_to_stdout
    ]),
    receive
        {Port, {data, {_, <<"{\"event\":\"connected\"", _/binary>>}}} -> Port
    after ?DEADLINE_MS -> error(not_connected)
    end.

streams(Edge) ->
    lariat_site:metric(Edge, <<"lariat_connections{transport=\"chunked\"}">>).

resident_bytes(Edge) ->
    memory(<<"VmRSS">>, Edge).

%% The resident pages of files are the program itself, more of it the more of it has run.
memory(Kind, Edge) ->
    1024 * lariat_site:memory_kb(Kind, Edge).

line(#{kind := Kind, held := Held, per_stream := PerStream} = Result) ->
    Numbers = [
        io_lib:format(", \"~s\": ~b", [Key, maps:get(Key, Result)])
     || Key <- [streams, fresh, fresh_of_files, before, last_step_per_stream, left, left_of_files]
    ],
    Lists = [
        io_lib:format(", \"~s\": [~s]", [Key, lists:join(", ", [integer_to_list(N) || N <- List])])
     || {Key, List} <- [{held, Held}, {per_stream, PerStream}]
    ],
    ["{\"ids\": \"", atom_to_list(Kind), $", Numbers, Lists, $}].
