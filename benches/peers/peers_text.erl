%%% What `peers_table' measured, as a table that people read and as JSON. It measures and judges nothing.
-module(peers_text).

-export([table/2, json/2]).

-type result() :: {ok, #{version => string(), atom() => number()}} | {absent, binary()}.
-type run() :: {Round :: pos_integer(), Server :: binary(), result()}.

-define(COLUMNS, [
    {bytes_per_connection, "B/conn"},
    {connects_per_second, "conn/s"},
    {cpu_us_per_connection, "CPU us/conn"},
    {fan_out_per_second, "fan-out/s"},
    {unicast_per_second, "unicast/s"},
    {rested_per_second, "rested/s"},
    {server_busy, "CPU busy"},
    {cpu_us_per_message, "CPU us/msg"},
    {rested_cpu_us_per_message, "rested CPU us/msg"},
    {shard_us_per_message, "shard us/msg"},
    {rested_shard_us_per_message, "rested shard us/msg"},
    {rested_shard_of_bare_loop, "bare by rested shard"},
    {rate_of_bare_loop, "rate of bare"},
    {cpu_of_bare_loop, "by CPU"},
    {rested_rate_of_bare_loop, "rested rate of bare"},
    {rested_cpu_of_bare_loop, "rested by CPU"},
    {latency_us_p50, "p50 us"},
    {latency_us_p99, "p99 us"},
    {latency_us_p999, "p99.9 us"},
    {latency_us_max, "max us"},
    {at_the_rate_us_p50, "p50 us at the rate"},
    {at_the_rate_us_p99, "p99 us at the rate"}
]).

-define(LEGEND,
    "lariat NIF: Lariat in the sender's VM; direct: by lariat_nif:send/2, without the router.\n"
    "inside: the sender is in the server's VM, straight to the stream's process.\n"
    "no server: messages are made and not sent, which is the sender's share where it is inside.\n"
).

%% @doc Median (least to most) of the rounds, a line for each server; below, what is needed to read it.
-spec table([binary()], [run()]) -> iodata().
table(Servers, Runs) ->
    Header = ["server" | [Title || {_, Title} <- ?COLUMNS]],
    Rows = [[Name | cells([Result || {_, N, Result} <- Runs, N =:= Name])] || Name <- Servers],
    Lines = [Header, ["---" || _ <- Header] | Rows],
    [[["| ", lists:join(" | ", Line), " |\n"] || Line <- Lines], "\n", ?LEGEND, [placed(), versions(Runs), "\n"]].

placed() ->
    case peers_program:is_pinned() of
        true -> "CPU 0 is the servers', CPU 1 everybody else's. ";
        false -> "Not pinned: everybody has all CPUs, and each server is started for as many. "
    end.

versions(Runs) ->
    Versions = lists:usort([Version || {_, _, {ok, #{version := Version}}} <- Runs]),
    lists:join(", ", ["OTP " ++ erlang:system_info(otp_release) | Versions]).

-spec cells([result()]) -> [iodata()].
cells([{absent, Why} | _]) ->
    [["absent: ", Why] | ["" || _ <- tl(?COLUMNS)]];
cells(Results) ->
    Numbers = [Numbers || {ok, Numbers} <- Results],
    [cell(lists:sort([maps:get(Key, Of) || Of <- Numbers, is_map_key(Key, Of)]))
     || {Key, _} <- ?COLUMNS].

cell([]) -> "-";
cell(Sorted) ->
    Median = lists:nth((length(Sorted) + 1) div 2, Sorted),
    [short(Median), " (", short(hd(Sorted)), "-", short(lists:last(Sorted)), ")"].

short(Number) when Number >= 100000 -> [integer_to_list(round(Number / 1000)), "k"];
short(Number) when Number >= 100 -> integer_to_list(round(Number));
short(Number) -> io_lib:format("~.2f", [float(Number)]).

%% @doc Each run with all its numbers.
-spec json(#{connections := pos_integer(), messages := pos_integer(), rate := pos_integer(), _ => _}, [run()]) ->
    iodata().
json(#{connections := Connections, messages := Messages, rate := Rate}, Runs) ->
    Objects = [json_run(Run) || Run <- Runs],
    io_lib:format(
        "{\"connections\":~b,\"messages\":~b,\"message_bytes\":64,\"rate\":~b,\"pinned\":~w,\"runs\":[~n~ts~n]}~n",
        [Connections, Messages, Rate, peers_program:is_pinned(), lists:join(",\n", Objects)]).

json_run({Round, Name, {absent, Why}}) ->
    io_lib:format("{\"round\":~b,\"server\":\"~ts\",\"absent\":\"~ts\"}", [Round, Name, Why]);
json_run({Round, Name, {ok, Numbers}}) ->
    Fields = [io_lib:format(",\"~ts\":~ts", [Key, json_value(Value)])
              || {Key, Value} <- lists:sort(maps:to_list(Numbers))],
    io_lib:format("{\"round\":~b,\"server\":\"~ts\"~ts}", [Round, Name, Fields]).

json_value([_ | _] = Text) -> ["\"", Text, "\""];
json_value(Number) when is_integer(Number) -> integer_to_list(Number);
json_value(Number) -> io_lib:format("~.3f", [Number]).
