#!/usr/bin/env escript
%% -*- erlang -*-
%%! -hidden
%% Says back what every client of a WebSocket says: `escript echo.escript NAME COOKIE EDGE`.
%%
%% An owner and nothing else: the edge does all that the protocol asks for. Ends with the edge.
main([Name, Cookie, Edge]) ->
    {ok, _} = net_kernel:start(list_to_atom(Name), #{name_domain => longnames}),
    true = erlang:set_cookie(list_to_atom(Cookie)),
    Node = list_to_atom(Edge),
    true = net_kernel:hidden_connect_node(Node),
    true = erlang:monitor_node(Node, true),
    {ok, _} = gen_server:call({lariat, Node}, {attach, self(), #{}}),
    io:format("ready~n"),
    loop(Node).

loop(Node) ->
    receive
        {lariat, Node, _Epoch, Events} ->
            [Conn ! Said || {received, Conn, _Id, Said} <- Events],
            loop(Node);
        {nodedown, Node} ->
            ok
    end.
