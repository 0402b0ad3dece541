%%% A page for a browser of the suites, and the ear for what its script reports.
%%%
%%% One page, one report: no server for anything else.
-module(lariat_collector).

-export([start/1, url/1, reported/2]).

-export_type([collector/0]).

-type collector() :: #{port := inet:port_number(), pid := pid()}.

%% @doc Serves this file to whoever asks, until the report has come or the caller has ended.
-spec start(file:filename()) -> collector().
start(File) ->
    {ok, Page} = file:read_file(File),
    {ok, Listener} = gen_tcp:listen(0, [
        binary, {ip, {127, 0, 0, 1}}, {packet, http_bin}, {active, false}, {reuseaddr, true}
    ]),
    {ok, Port} = inet:port(Listener),
    Owner = self(),
    Pid = spawn_link(fun() -> serve(Listener, Page, Owner) end),
    ok = gen_tcp:controlling_process(Listener, Pid),
    #{port => Port, pid => Pid}.

-spec url(collector()) -> string().
url(#{port := Port}) ->
    "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/".

%% @doc The words of each line of the report.
-spec reported(collector(), timeout()) -> [[binary()]].
reported(#{pid := Pid}, TimeoutMs) ->
    receive
        {Pid, Report} -> words(Report)
    after TimeoutMs -> error(nothing_reported)
    end.

%% A line ends with a line feed; between two spaces there may be nothing.
words(Report) ->
    [binary:split(Line, <<" ">>, [global]) || Line <- binary:split(Report, <<"\n">>, [global, trim])].

serve(Listener, Page, Owner) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    %% Browsers open more connections than they use: each has a process that waits for it.
    Self = self(),
    Report = fun(Body) -> Owner ! {Self, Body} end,
    Pid = spawn_link(fun() -> receive go -> answer(Socket, Page, Report) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    serve(Listener, Page, Owner).

answer(Socket, Page, Report) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, Method, {abs_path, Path}, _}} ->
            Length = length_of(Socket, 0),
            ok = inet:setopts(Socket, [{packet, raw}]),
            {ok, Body} = body(Socket, Length),
            {Status, Answer} = answer_to(Method, Path, Page),
            ok = gen_tcp:send(Socket, [
                "HTTP/1.1 ", Status, "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: ",
                integer_to_list(byte_size(Answer)), "\r\nConnection: close\r\n\r\n", Answer
            ]),
            ok = gen_tcp:close(Socket),
            [Report(Body) || Method =:= 'POST'];
        {error, _} ->
            ok
    end.

answer_to('GET', <<"/">>, Page) -> {"200 OK", Page};
answer_to('POST', <<"/report">>, _) -> {"200 OK", <<>>};
answer_to(_, _, _) -> {"404 Not Found", <<>>}.

length_of(Socket, Length) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, http_eoh} -> Length;
        {ok, {http_header, _, 'Content-Length', _, Value}} -> length_of(Socket, binary_to_integer(Value));
        {ok, {http_header, _, _, _, _}} -> length_of(Socket, Length)
    end.

body(_, 0) -> {ok, <<>>};
body(Socket, Length) -> gen_tcp:recv(Socket, Length).
