%%% What the shell of a first run says: five things to try.
%%%
%%% Starts nothing and changes nothing.
-module(lariat_demo).

-export([help/0, help/1]).

%% @doc Prints five things to try.
-spec help() -> ok.
help() ->
    io:put_chars(text()).

%% @doc The same below the address of the demo page.
-spec help(Address :: unicode:chardata()) -> ok.
help(Address) ->
    %% In one piece: the shell repeats its prompt after each.
    io:put_chars([io_lib:format("~n  Open ~ts and connect as user 123.~n", [Address]), text()]).

-spec text() -> unicode:chardata().
text() ->
    [
        "\n"
        "  Five things to try (each line ends with a dot):\n"
        "\n"
        "  1. Say hello to user 123, on every page that has this id open\n"
        "       lariat:send(123, <<\"Hello\">>).\n"
        "  2. Ask how many connections got it\n"
        "       lariat:call(123, \"Are you there?\").\n"
        "  3. Let 123 follow <<\"news\">>, and publish to all who do\n"
        "       lariat:subscribe(123, <<\"news\">>), lariat:publish(<<\"news\">>, \"Extra!\").\n"
        "  4. Be a receiver yourself: a process is as good as a browser\n"
        "       lariat:login(123, self()), lariat:send(123, \"both of us\"), flush().\n"
        "  5. Look around: who is connected, and how is everything\n"
        "       lariat:connections(123), lariat:info().\n"
        "\n"
        "  Then try to break it: kill either side with kill -9 and start it again.\n"
        "  lariat_demo:help(). shows this again; q(). leaves.\n"
        "\n"
    ].
