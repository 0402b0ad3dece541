%%% What a program occupies while it runs, and whether that grows: samples, and the slope of a line
%%% through them.
%%%
%%% It judges nothing and starts nothing.
-module(lariat_trend).

-export([anonymous_bytes/1, peak_bytes/1, resident_bytes/1, descriptors/1, slope/1]).

-export_type([line/0]).

-type line() :: #{slope := float(), error := float(), samples := pos_integer()}.
%% Bytes a minute, and the standard error of that.

-type running() :: #{os_pid := pos_integer(), _ => _}.

%% Samples one second apart are hardly independent: what the allocator holds now it holds a second
%% later. Means of ten seconds are nearly so, and their scatter is honest about the error.
-define(MEAN_OF_S, 10).

%% @doc Resident memory but for the pages of files.
-spec anonymous_bytes(running()) -> non_neg_integer().
anonymous_bytes(Running) ->
    1024 * lariat_site:memory_kb(<<"RssAnon">>, Running).

%% @doc The most that was ever resident.
-spec peak_bytes(running()) -> non_neg_integer().
peak_bytes(Running) ->
    1024 * lariat_site:memory_kb(<<"VmHWM">>, Running).

%% @doc What is resident now.
-spec resident_bytes(running()) -> non_neg_integer().
resident_bytes(Running) ->
    1024 * lariat_site:memory_kb(<<"VmRSS">>, Running).

%% @doc Open file descriptors.
-spec descriptors(running()) -> non_neg_integer().
descriptors(#{os_pid := OsPid}) ->
    {ok, Names} = file:list_dir("/proc/" ++ integer_to_list(OsPid) ++ "/fd"),
    length(Names).

%% @doc The straight line through `{Seconds, Bytes}', by least squares over means of ten seconds;
%% there must be three of them.
-spec slope([{number(), number()}]) -> line().
slope(Samples) ->
    Means = means(Samples),
    N = length(Means),
    {Xs, Ys} = lists:unzip(Means),
    MeanX = lists:sum(Xs) / N,
    MeanY = lists:sum(Ys) / N,
    Spread = lists:sum([(X - MeanX) * (X - MeanX) || X <- Xs]),
    Slope = lists:sum([(X - MeanX) * (Y - MeanY) || {X, Y} <- Means]) / Spread,
    Rests = [Y - MeanY - Slope * (X - MeanX) || {X, Y} <- Means],
    Variance = lists:sum([Rest * Rest || Rest <- Rests]) / (N - 2),
    #{slope => 60 * Slope, error => 60 * math:sqrt(Variance / Spread), samples => N}.

means(Samples) ->
    ByTime = lists:foldl(
        fun({Seconds, Bytes}, Sums) ->
            maps:update_with(
                trunc(Seconds) div ?MEAN_OF_S,
                fun({N, X, Y}) -> {N + 1, X + Seconds, Y + Bytes} end,
                {1, Seconds, Bytes}, Sums
            )
        end,
        #{}, Samples
    ),
    [{X / N, Y / N} || {N, X, Y} <- maps:values(ByTime)].
