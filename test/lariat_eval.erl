%%% Evaluates the expressions that a test writes to standard input, one a line, in one process.
%%%
%%% No protocol beyond lines: the result comes back as one line that begins with "=> ". Variables
%%% and the mailbox live on from line to line.
-module(lariat_eval).

-export([start/0, next/0]).

-spec start() -> pid().
start() ->
    spawn(fun() -> loop(erl_eval:new_bindings()) end).

%% The next message, whatever it is. Compiled code, because the VM of OTP 29.1 can die of an interpreted
%% `receive' whose patterns take a large message from another node apart.
-spec next() -> term().
next() ->
    receive
        Message -> Message
    after 10000 -> hang
    end.

loop(Bindings) ->
    case io:get_line("") of
        Line when is_list(Line) ->
            {Result, Next} = evaluate(Line, Bindings),
            io:format("=> ~s~n", [printed(Result)]),
            loop(Next);
        _ ->
            halt(0)
    end.

evaluate(Line, Bindings) ->
    try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Value, Next} = erl_eval:exprs(Expressions, Bindings),
        {Value, Next}
    catch
        Class:Reason -> {{Class, Reason}, Bindings}
    end.

%% Since OTP 26 the keys of maps are printed in no particular order, unless asked for.
printed(Term) ->
    try
        io_lib:format("~0" ++ "kp", [Term])
    catch
        error:badarg -> io_lib:format("~0p", [Term])
    end.
