%%% Lariat inside the VM: an edge of one shard on the Erlang node that sends, without credit.
%%%
%%% Who sends is part of this server: its CPU time counts, and it shares the server's CPU with the shard. Of
%%% the others it has the other CPU, and the way between them is their servers' to read.
-module(peer_lariat_nif).
-behaviour(peer_of_bench).
-behaviour(peers_sender).

%% The server.
-export([start/2]).
%% Who sends.
-export([open/1, send/3, all/3, finish/1]).

-define(EDGE, inside).

start(#{dir := Dir} = Site, _) ->
    Of = fun(Module) -> ["-pa", filename:dirname(code:which(Module))] end,
    Mnesia = ["-mnesia", "dir", "\"" ++ filename:join(Dir, "mnesia-inside") ++ "\""],
    Args = peers_program:scheduler_args() ++ Of(lariat) ++ peers_program:paths() ++ Mnesia,
    #{os_pid := OsPid} = Server = lariat_site:plain_erlang(Site, "inside", Args),
    try lariat_site:call(Server, lariat_nif, version, []) of
        _ -> {ok, started(Server, OsPid)}
    catch
        _:_ -> {absent, "there is no priv/lariat_nif.so: rebar3 compile says why"}
    end.

started(Server, OsPid) ->
    Config = #{shards => peers_program:server_cpus(), http => #{listen => [<<"127.0.0.1:0">>]}},
    Call = fun(Module, Function, Args) -> lariat_site:call(Server, Module, Function, Args) end,
    ok = Call(application, load, [lariat]),
    ok = Call(application, set_env, [lariat, edges, [#{nif => ?EDGE, config => Config}]]),
    {ok, _} = Call(application, ensure_all_started, [lariat]),
    true = lariat_site:await(fun() -> is_up(Call(lariat, info, [])) end, {up, ?EDGE}),
    {ok, #{http_addresses := [Address]}} = Call(lariat, info, [?EDGE]),
    %% The threads of the edge are there now.
    ok = peers_program:to_server_cpu(OsPid),
    Url = "http://" ++ binary_to_list(Address) ++ "/stream/{id}",
    Knows = fun(Count) -> Call(lariat_picture, count, []) =:= Count end,
    #{url => Url, all_url => Url, args => [], os_pids => [OsPid], sender => Server,
        sends => ?MODULE, target => ?EDGE, knows => Knows}.

is_up(#{edges := #{?EDGE := #{state := State}}}) -> State =:= up;
is_up(_) -> false.

open(Edge) -> Edge.

send(Edge, Ids, Message) ->
    case lariat:send(Ids, Message) of
        ok -> Edge;
        {error, busy} -> receive after 1 -> send(Edge, Ids, Message) end
    end.

all(Edge, Connections, Message) ->
    send(Edge, lists:seq(1, Connections), Message).

finish(_) -> ok.
