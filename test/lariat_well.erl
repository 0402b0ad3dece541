%%% Proves that both sides are still well, after whatever a case has done to them.
%%%
%%% Through the front doors only: an Erlang node, a client, the operator's page, the log.
-module(lariat_well).

-export([well/2]).

-include_lib("stdlib/include/assert.hrl").

%% @doc The edge answers this Erlang node, accepts, delivers, and has not panicked.
-spec well(lariat_site:erlang(), lariat_site:edge() | lariat_pair:edge()) -> ok.
well(App, #{kind := nif, http := Http} = Edge) ->
    Stream = lariat_client:open(Http, <<"witness">>, chunked),
    Reached = fun() ->
        lariat_site:call(App, lariat, call, [<<"witness">>, <<"well">>]) =:= {ok, 1}
    end,
    lariat_site:await(Reached, witness),
    <<"well">> = lariat_client:message(Stream),
    unharmed(lariat_pair:log(Edge)),
    lariat_client:close(Stream);
well(App, #{http := Http, node := Node, admin := Admin} = Edge) ->
    pong = lariat_site:call(App, net_adm, ping, [Node]),
    Stream = lariat_client:open(Http, <<"witness">>, chunked),
    Send = {send, <<"witness">>, <<"well">>},
    Reached = fun() ->
        {ok, #{connections := N}} =
            lariat_site:call(App, gen_server, call, [{lariat, Node}, Send]),
        N =:= 1
    end,
    lariat_site:await(Reached, witness),
    <<"well">> = lariat_client:message(Stream),
    {200, _, <<"ok\n">>} = lariat_client:get(Admin, "/healthz"),
    unharmed(lariat_site:log(Edge)),
    lariat_client:close(Stream).

unharmed(Log) ->
    ?assertEqual([], [Line || Line <- Log, binary:match(Line, <<"panicked">>) =/= nomatch]).
