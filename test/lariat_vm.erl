%%% What a VM occupies, counted in it: threads, descriptors, tables, atoms, memory.
%%%
%%% For suites and benches that compare before and after; it judges nothing.
-module(lariat_vm).

-export([occupied/0, settled/1, memory_kb/1, words/1]).

-export_type([occupied/0]).

-type occupied() :: #{
    threads := pos_integer(), descriptors := pos_integer(), schedulers := pos_integer(),
    processes := pos_integer(), ports := non_neg_integer(), ets := pos_integer(),
    persistent_terms := non_neg_integer(), atoms := pos_integer()
}.

%% Only a failing test waits this long.
-define(DEADLINE_MS, 60000).

%% @doc Now. The descriptor that reads the directory of descriptors is among them, each time.
-spec occupied() -> occupied().
occupied() ->
    {ok, Threads} = file:list_dir("/proc/self/task"),
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    #{
        threads => length(Threads),
        descriptors => length(Descriptors),
        schedulers => erlang:system_info(schedulers_online),
        processes => erlang:system_info(process_count),
        ports => erlang:system_info(port_count),
        ets => length(ets:all()),
        persistent_terms => maps:get(count, persistent_term:info()),
        atoms => erlang:system_info(atom_count)
    }.

%% @doc Waits until the VM occupies just this; answers what is different where it never does.
-spec settled(occupied()) -> ok | #{atom() => {Before :: integer(), Now :: integer()}}.
settled(Before) ->
    settled(Before, erlang:monotonic_time(millisecond) + ?DEADLINE_MS).

settled(Before, Until) ->
    Now = occupied(),
    case maps:filter(fun(Key, Value) -> maps:get(Key, Now) =/= Value end, Before) of
        Different when Different =:= #{} ->
            ok;
        Different ->
            case erlang:monotonic_time(millisecond) < Until of
                true -> receive after 20 -> settled(Before, Until) end;
                false -> maps:map(fun(Key, Value) -> {Value, maps:get(Key, Now)} end, Different)
            end
    end.

%% @doc Kilobytes of memory of the VM's process, of a kind that `/proc/self/status' knows.
-spec memory_kb(binary()) -> non_neg_integer().
memory_kb(Kind) ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Status, [Kind, ":\\s+([0-9]+)"], [{capture, [1], binary}]),
    binary_to_integer(Kb).

%% @doc Words of the tables whose names or owners belong to these modules' namespace.
-spec words(string()) -> non_neg_integer().
words(Prefix) ->
    lists:sum([
        ets:info(Table, memory)
     || Table <- ets:all(), lists:prefix(Prefix, atom_to_list(ets:info(Table, name)))
    ]).
