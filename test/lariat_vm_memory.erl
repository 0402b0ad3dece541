%%% What a held connection costs a VM that has the edge in it: resident memory, what the router keeps, and
%%% the memory of processes.
%%%
%%% Waves of idle streams come in steps and leave together. One Erlang node with the application, so its
%%% picture has a row for each connection. The kernel's memory is not counted, nor judged is any number
%%% but that of the connections. What the node alone costs is `lariat_memory'.
-module(lariat_vm_memory).

-export([main/1, run/3]).
%% Called on the node.
-export([measured/0]).

-include_lib("stdlib/include/assert.hrl").

%% Ports of a client that leaves wait a minute before they are free again (TIME_WAIT).
-define(SOURCES, "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5").

-define(STEPS, 3).

-define(EDGE, edge_in_the_vm).

%% @doc For the bench: connections at a time (a multiple of the steps), waves, directory.
-spec main([string()]) -> no_return().
main([Count, Waves, Dir]) ->
    Site = lariat_site:start_alone(Dir),
    Results = run(Site, list_to_integer(Count), list_to_integer(Waves)),
    Lines = [iolist_to_binary([line(Result), $\n]) || Result <- Results],
    ok = file:write_file(filename:join(Dir, "vm_memory.jsonl"), Lines),
    io:put_chars(Lines),
    halt(0).

%% @doc What was measured fresh, at each step of each wave, and when all had left.
-spec run(lariat_site:site(), pos_integer(), pos_integer()) -> [map()].
run(Site, Count, Waves) ->
    Edge = #{nif => ?EDGE, config => #{http => #{listen => [<<"127.0.0.1:0">>]}}},
    App = lariat_attached:attached(Site, "app", [Edge]),
    {ok, #{http_addresses := [Address]}} = lariat_site:call(App, lariat, info, [?EDGE]),
    [_, Port] = binary:split(Address, <<":">>),
    Fresh = measure(App),
    lists:append([
        wave(App, binary_to_integer(Port), Count, Fresh#{wave => Wave})
     || Wave <- lists:seq(1, Waves)
    ]).

wave(App, Port, Count, Fresh) ->
    Step = Count div ?STEPS,
    {Loads, Held} = lists:unzip([
        begin
            Load = lariat_load:start(Port, [
                "--connections", integer_to_list(Step), "--ids", ids(N, Step), "--sources", ?SOURCES,
                "--until-stdin-closes"
            ]),
            #{<<"open">> := Step} = lariat_load:heard(Load, <<"connected">>),
            lariat_attached:seen(App, N * Step),
            {ok, #{connections := Open}} = lariat_site:call(App, lariat, info, [?EDGE]),
            ?assertEqual(N * Step, Open),
            {Load, each(measure(App), Fresh, N * Step)}
        end
     || N <- lists:seq(1, ?STEPS)
    ]),
    _ = [lariat_load:stop(Load) || Load <- Loads],
    lariat_attached:seen(App, 0),
    Held ++ [(measure(App))#{connections => 0, wave => maps:get(wave, Fresh)}].

ids(N, Step) ->
    First = 100000 + (N - 1) * Step,
    integer_to_list(First) ++ "-" ++ integer_to_list(First + Step - 1).

%% Bytes for each connection, against the fresh VM.
each(#{resident := Resident, router := Router, processes := Processes} = Now, Fresh, Count) ->
    Each = fun(Bytes, Key) -> (Bytes - maps:get(Key, Fresh)) div Count end,
    Now#{
        wave => maps:get(wave, Fresh),
        connections => Count,
        resident_each => Each(Resident, resident),
        router_each => Each(Router, router),
        beyond_router_each => Each(Resident, resident) - Each(Router, router),
        processes_each => Each(Processes, processes)
    }.

measure(App) ->
    lariat_site:call(App, ?MODULE, measured, []).

%% @doc On the node, in bytes. What is garbage is nobody's cost.
-spec measured() -> #{atom() => integer()}.
measured() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    #{
        resident => 1024 * lariat_vm:memory_kb(<<"RssAnon">>),
        router => erlang:system_info(wordsize) * lariat_vm:words("lariat"),
        processes => erlang:memory(processes),
        binaries => erlang:memory(binary)
    }.

line(Result) ->
    Fields = [
        io_lib:format("\"~s\": ~b", [Key, maps:get(Key, Result)])
     || Key <- [
            wave, connections, resident, router, processes, binaries, resident_each, router_each,
            beyond_router_each, processes_each
        ],
        is_map_key(Key, Result)
    ],
    ["{", lists:join(", ", Fields), "}"].
