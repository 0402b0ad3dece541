%%% The load generator as a process of the suites and benches: started, heard, ended.
%%%
%%% It reads the generator's lines of JSON, and only those: their numbers, names and objects.
-module(lariat_load).

-export([start/2, start/3, heard/2, stop/1, read/1]).

-export_type([load/0, said/0]).

-type load() :: port().
-type said() :: #{binary() => term()}.

%% Only a failing test waits this long.
-define(DEADLINE_MS, 120000).

%% @doc Streams from the HTTP port of 127.0.0.1, with more arguments.
-spec start(inet:port_number(), [string()]) -> load().
start(Http, Args) ->
    start([], "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}", Args).

%% @doc The same from any URL, by a command before it such as `["/usr/bin/taskset", "-c", "1"]'.
-spec start([string()], string(), [string()]) -> load().
start(Before, Url, Args) ->
    [Program | All] = Before ++ [lariat_site:tools(), "load", "--url", Url | Args],
    open_port({spawn_executable, Program}, [{args, All}, {line, 1 bsl 20}, binary, exit_status]).

%% @doc The next line of this kind; the lines before it are dropped.
-spec heard(load(), binary()) -> said().
heard(Load, Event) ->
    receive
        {Load, {data, {eol, Line}}} ->
            case read(Line) of
                #{<<"event">> := Event} = Said -> Said;
                #{} -> heard(Load, Event)
            end;
        {Load, {exit_status, Status}} ->
            error({ended_without, Event, Status})
    after ?DEADLINE_MS -> error({not_heard, Event})
    end.

%% @doc Asks it to stop, and answers its report; also of one that has ended because its streams have.
-spec stop(load()) -> said().
stop(Load) ->
    case erlang:port_info(Load, os_pid) of
        {os_pid, OsPid} -> _ = os:cmd("kill -TERM " ++ integer_to_list(OsPid));
        undefined -> ok
    end,
    heard(Load, <<"report">>).

%% @doc A line of JSON as a map. What it is made of here (no lists, no escapes in strings) is an
%% Erlang term but for its punctuation.
-spec read(binary()) -> said().
read(Line) ->
    Replace = fun({Regexp, With}, Text) -> re:replace(Text, Regexp, With, [global]) end,
    Text = lists:foldl(Replace, Line, [
        {"\"([^\"]*)\"", "<<\"\\1\">>"},
        {">>:", ">> => "},
        {"{", "#{"},
        %% A float in Erlang has a point.
        {"([ ,:][0-9]+)e", "\\1.0e"}
    ]),
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list([Text, "."])),
    {ok, Said} = erl_parse:parse_term(Tokens),
    Said.
