%%% The behaviour of a handler: who may connect, what a client said, what a request is answered.
%%%
%%% Callbacks and their types, no more. `lariat_handlers' knows which handlers there are,
%%% `lariat_handler_worker' bounds them, `lariat_handler_job' runs a callback and judges what it
%%% answers. What a request says is read with `lariat_request'.
%%%
%%% A route of the edge names its handler, and the application's environment says which module
%%% that is, with a constant of the module's own:
%%%
%%%   {lariat, [{handlers, [{<<"chat">>, my_chat, State}]}]}
%%%
%%% Each call runs in a process of its own, so a callback may take its time, block, and crash:
%%%
%%%   * Past `handler_timeout_ms' it is killed: 504, or for a message nothing.
%%%   * A crash is 500 for that one request; a message is lost, its connection stays open. Either
%%%     is counted, and the log says why, a line each few seconds at most.
%%%   * What the clients of one connection say is handled in order, one at a time, its end after
%%%     everything else. Connections do not wait for each other.
%%%   * What was said to a node that is lost is lost with it; what is said next goes to another node
%%%     that serves the handler, and when there is none closes the connection (a WebSocket hears 1013).
%%%   * More than `handler_jobs_max' requests at once: 503 to the next. So many messages are
%%%     handled at once, too; others wait, at most 1 MiB of one connection and `handler_queue_bytes'
%%%     of all. Past that the connection is closed, because a message of it would be missing.
-module(lariat_handler).

-export_type([name/0, state/0, request/0, conn/0, data/0]).
-export_type([init_result/0, in_result/0, batch_result/0, accept_options/0, headers/0]).

-type name() :: binary().
%% As the edge's config has it: at most 64 letters, digits, `_' and `-'.

-type state() :: term().
%% The constant of the environment; the same for every call.

-type request() :: #{
    %% What is asked for. All but `request' are held, when they are accepted.
    kind := stream | websocket | poll | request,
    handler := name(),
    method := binary(),
    %% Raw, without the query.
    path := binary(),
    %% What stands in the path for the names of the route, percent-decoded.
    bindings := #{binary() => binary()},
    %% Raw, without the question mark.
    query := binary(),
    %% Names in lower case; repeated ones are joined.
    headers := #{binary() => binary()},
    peer := {inet:ip_address(), inet:port_number()} | undefined,
    %% Empty for what is held.
    body := binary(),
    %% Of a token that the edge has checked.
    claims => #{binary() => term()},
    %% What is asked of `lariat_publish'.
    publish => map()
}.

-type conn() :: #{
    id := lariat_wire:id(),
    %% For `lariat:send/2', `lariat:close/2' and `lariat:monitor/1', from any process. When its edge is
    %% a hidden node it is a pid, and takes `!' and `link/1', too.
    conn := lariat_wire:conn(),
    edge := lariat_picture:edge(),
    handler := name()
}.
%% A held connection.

-type data() :: {text | binary, binary()}.
%% A WebSocket message.

-type headers() :: #{iodata() => iodata()} | [{iodata(), iodata()}].

-type accept_options() :: #{
    %% More fields for the answer, cookies above all. Those that frame it are the edge's own.
    headers => headers(),
    %% Milliseconds of silence after which the client hears a heartbeat: a second to a day.
    heartbeat => 1000..86400000 | off,
    %% What happens when the client reads too slowly; the route's policy unless given.
    when_full => close | drop_oldest | drop_newest | keep_latest
}.

-type init_result() ::
    %% Held, under this id. Not for requests of kind `request'.
    {accept, lariat_wire:id(), accept_options()}
    | {reply, Status :: 200..599, headers(), Body :: iodata()}
    %% A short text for the client; a connection to be held closes.
    | {reject, Status :: 400..599, Reason :: iodata()}.

-type in_result() ::
    ok
    %% To this connection: iodata, `{text | binary, Msg}', `{event, Name, Msg}' or
    %% `{event, Name, EventId, Msg}'.
    | {reply, lariat_wire:message() | tuple()}
    %% `{Code, Text}' is told to a WebSocket, see `lariat:close/2'.
    | {close, lariat_wire:reason()}.

-type batch_result() ::
    %% All of them are yours now: 202 to every sender.
    ok
    %% None is: 503 to every sender.
    | {error, Reason :: term()}.

%% Somebody wants to connect, or asks.
-callback init(request(), state()) -> init_result().
%% A client said something.
-callback handle_in(conn(), data(), state()) -> in_result().
%% A connection is gone. Every node that serves the handler is told, each once for a connection;
%% `noconnection' when it went while the edge could not be reached.
-callback handle_closed(conn(), Reason :: term(), state()) -> term().
%% The bodies of many requests of a route of kind `batch', in order of arrival.
-callback handle_batch([binary(), ...], state()) -> batch_result().

-optional_callbacks([init/2, handle_in/3, handle_closed/3, handle_batch/2]).
