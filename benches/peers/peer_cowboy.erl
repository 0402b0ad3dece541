%%% cowboy: a loop handler for each stream, which hibernates, beside the process of its connection.
%%%
%%% The connection's process hibernates where cowboy has that option, which the one of Debian 12 has not. A handler
%%% ends with its connection without a word: the table keeps it until another stream has its id.
-module(peer_cowboy).
-behaviour(peer_of_bench).
-behaviour(peers_streams).

-export([start/2]).
%% The server.
-export([needs/0, listen/1, init/2, info/3]).

start(Site, Size) ->
    peers_streams:start(Site, ?MODULE, peers_router, Size).

needs() ->
    Ebins = ["cowboy/" ++ Application ++ "-*/ebin" || Application <- ["cowboy", "cowlib", "ranch"]],
    {cowboy, Ebins, "rabbitmq-server"}.

listen(_) ->
    {ok, _} = application:ensure_all_started(cowboy),
    Socket = [{ip, {127, 0, 0, 1}}, {port, 0}, {backlog, 1024}, {nodelay, true}],
    {ok, _} = cowboy:start_clear(held, #{socket_opts => Socket, max_connections => infinity}, #{
        env => #{dispatch => cowboy_router:compile([{'_', [{"/stream/:id", ?MODULE, none}]}])},
        idle_timeout => infinity, inactivity_timeout => infinity, hibernate => true
    }),
    ranch:get_port(held).

init(Request, State) ->
    peers_streams:hold(binary_to_integer(cowboy_req:binding(id, Request))),
    %% Of HTTP/1.1 these are chunks.
    {cowboy_loop, cowboy_req:stream_reply(200, Request), State, hibernate}.

info({message, Message}, Request, State) ->
    ok = cowboy_req:stream_body(Message, nofin, Request),
    {ok, Request, State, hibernate};
info({ask, Pid}, Request, State) ->
    Pid ! written,
    {ok, Request, State, hibernate}.
