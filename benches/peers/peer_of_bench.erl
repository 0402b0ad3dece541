%%% What a server must offer to be measured beside the others.
-module(peer_of_bench).

-export_type([started/0]).

-type started() :: #{
    %% Where a client asks for its stream, with `{id}', and where for one that gets what all get.
    url := string(),
    all_url := string(),
    %% More arguments for the load generator.
    args := [string()],
    %% The processes that are the server.
    os_pids := [pos_integer()],
    %% The node that sends, the module that does (`peers_sender'), and what its process begins with.
    sender := lariat_site:erlang(),
    sends := module(),
    target := term(),
    %% Whether everybody of so many that are connected is known to who sends.
    knows := fun((non_neg_integer()) -> boolean()),
    %% Its name and version, where that says more than what is built here.
    version => string()
}.

%% Starts the server on the CPU for servers, or says why there is none.
-callback start(lariat_site:site(), #{connections := pos_integer(), peers := file:filename()}) ->
    {ok, started()} | {absent, string()}.
