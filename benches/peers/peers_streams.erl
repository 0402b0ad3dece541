%%% What servers in Erlang have in common: a node on which each stream is a process that a table knows by id.
%%%
%%% Such a process takes `{message, Binary}', which is a chunk, and `{ask, Pid}', which is answered `written'.
%%% The server's own part is a module of this behaviour; who sends is `peers_router', from another node, or
%%% `peers_inside', on this one.
-module(peers_streams).

-export([start/4]).
%% On the server.
-export([serve/2, version/1, hold/1, forget/1, stream/1]).

%% The application that is to run, where it and what it needs was unpacked, below the directory of the peers,
%% and the package that it is from.
-callback needs() -> {Application :: atom(), Ebins :: [string(), ...], Package :: string()}.
%% On the server, by a process that lives as long as it: listens; answers the port.
-callback listen(Connections :: pos_integer()) -> inet:port_number().

%% @doc The server of this module, on the CPU for servers, and who sends to it by that one.
-spec start(lariat_site:site(), module(), peers_router | peers_inside, Size) ->
    {ok, peer_of_bench:started()} | {absent, string()}
when
    Size :: #{connections := pos_integer(), peers := file:filename(), _ => _}.
start(Site, Server, Sends, #{connections := Connections, peers := Peers}) ->
    {Application, Wildcards, Package} = Server:needs(),
    Found = [filelib:wildcard(filename:join(Peers, Wildcard)) || Wildcard <- Wildcards],
    case lists:member([], Found) of
        true ->
            {absent, lists:concat(["there is no ", Application, ": Debian's package is ", Package])};
        false ->
            Paths = lists:append([["-pa", Ebin] || [Ebin | _] <- Found]),
            Args = peers_program:scheduler_args() ++ Paths ++ peers_program:paths(),
            #{os_pid := OsPid} = Node = lariat_site:plain_erlang(Site, atom_to_list(Application), Args),
            ok = peers_program:to_server_cpu(OsPid),
            Http = lariat_site:call(Node, ?MODULE, serve, [Server, Connections]),
            {ok, Version} = lariat_site:call(Node, ?MODULE, version, [Application]),
            {Sender, Target} = sender(Sends, Site, Node),
            Url = "http://127.0.0.1:" ++ integer_to_list(Http) ++ "/stream/{id}",
            {ok, #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Sender,
                sends => Sends, target => Target, knows => fun(_) -> true end,
                version => lists:concat([Application, " ", Version])}}
    end.

sender(peers_inside, _, Node) ->
    {Node, none};
sender(peers_router, Site, #{node := Name}) ->
    {lariat_site:plain_erlang(Site, "sender", peers_program:paths()), {router, Name}}.

%% @doc Begins to serve; answers the port.
-spec serve(module(), pos_integer()) -> inet:port_number().
serve(Server, Connections) ->
    Started = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        true = register(router, self()),
        streams = ets:new(streams, [named_table, public]),
        Started ! {listens, Server:listen(Connections)},
        peers_router:route()
    end),
    receive
        {listens, Port} -> true = demonitor(Monitor, [flush]), Port;
        {'DOWN', Monitor, process, Pid, Reason} -> error({does_not_listen, Server, Reason})
    end.

%% @doc What is running.
-spec version(atom()) -> {ok, string()} | undefined.
version(Application) ->
    _ = application:load(Application),
    application:get_key(Application, vsn).

%% @doc The calling process is the stream of this id.
-spec hold(pos_integer()) -> true.
hold(Id) ->
    ets:insert(streams, {Id, self()}).

%% @doc It is no more.
-spec forget(pos_integer()) -> true.
forget(Id) ->
    ets:delete_object(streams, {Id, self()}).

%% @doc The stream of this id.
-spec stream(pos_integer()) -> pid() | none.
stream(Id) ->
    case ets:lookup(streams, Id) of
        [{_, Pid}] -> Pid;
        [] -> none
    end.
