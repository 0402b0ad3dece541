%%% The API of Lariat: say something to people who hold a connection, anywhere.
%%%
%%% No logic here. Messages are routed by `lariat_router', subscriptions kept by
%%% `lariat_subscriptions', edges attached by `lariat_link', and what clients ask or say is for a
%%% `lariat_handler'. `lariat_demo:help()' shows how it feels.
%%%
%%% Ids are integers, binaries, or any term but a list: a list is always a list of ids, so the
%%% user called alice is `<<"alice">>', not `"alice"'. Messages are iodata: text beyond Latin-1 is
%%% `<<"..."/utf8>>'. `{binary, Msg}' is binary to a WebSocket even if it could be text, and `{text, Msg}'
%%% the same as `Msg'; what a client said, `{text | binary, Data}', can so be sent on as it is.
%%%
%%% A connection is a pid, or, where its edge is in this VM, a tuple to be passed on. Both are a
%%% `lariat_wire:conn()', which may stand where an id may: so it means that connection alone.
-module(lariat).

-compile({no_auto_import, [demonitor/1]}).

%% Messages.
-export([send/2, send/3, call/2, call/3, publish/2, publish/3]).
%% Subscriptions.
-export([subscribe/2, unsubscribe/2, subscribers/1, add_subscriptions/1, remove_subscriptions/1]).
%% Receivers.
-export([login/2, logout/1, connections/1, close/2]).
%% One connection.
-export([monitor/1, demonitor/1]).
%% Edges.
-export([attach/1, detach/1, drain/1, drain/2, reload/1, reload/2, info/0, info/1]).

%% As long as gen_server:call/2 waits.
-define(TIMEOUT_MS, 5000).

%% @doc Delivers a message to every connection of an id, or of each of a list of ids. A connection
%% itself may stand where an id may: a pid whose node is an attached edge (any other pid is an id), or
%% what `connections/1' has answered. One that is gone is no error, as for `!'.
%%
%% `ok': every edge that has a receiver took the message, or there is no receiver at all (which
%% `info/0' counts as `sends_nobody': a user who is away is no error). It is not a receipt;
%% `call/2' is. `{error, busy}': the link is full, or the edge has not yet got through what was
%% sent before (its credit is used up); nothing was sent, try again later.
%% `{error, noconnection}': the edge is not connected, or the id is unknown while the picture of
%% an edge is missing. `{error, {partial, Failures}}': some took it, these did not.
%% `{error, too_large}': more than 32 MiB. Crashes on what is no message. Never blocks.
-spec send(lariat_wire:ids(), lariat_wire:message()) -> ok | {error, lariat_router:reason()}.
send(Ids, Msg) ->
    send(Ids, Msg, #{}).

%% @doc The same with the fields `event' and `id' of a server-sent event. Processes that logged
%% in get `{event, Event, Msg}' or `{event, Event, EventId, Msg}'.
-spec send(lariat_wire:ids(), lariat_wire:message(), lariat_wire:options()) ->
    ok | {error, lariat_router:reason()}.
send(Ids, Msg, Options) ->
    case lariat_router:send(Ids, Msg, Options) of
        {ok, _} -> ok;
        {error, _} = Error -> Error
    end.

%% @doc Delivers and waits until the edges say to how many connections: `{ok, N}', processes
%% included, and connections that were meant alone, whether they are there or not. At most five seconds.
-spec call(lariat_wire:ids(), lariat_wire:message()) -> lariat_router:outcome().
call(Ids, Msg) ->
    call(Ids, Msg, ?TIMEOUT_MS).

%% @doc The same with a time limit in milliseconds. After `timeout' the message may or may not
%% have been delivered.
-spec call(lariat_wire:ids(), lariat_wire:message(), timeout()) -> lariat_router:outcome().
call(Ids, Msg, TimeoutMs) ->
    lariat_router:call(Ids, Msg, TimeoutMs).

%% @doc Delivers to `Subject' and to its subscribers, to each id once. `{ok, N}': N is the number
%% of connections and processes that it was sent to, as far as this node knows. Errors as in
%% `send/2'.
-spec publish(lariat_wire:id(), lariat_wire:message()) -> lariat_router:outcome().
publish(Subject, Msg) ->
    publish(Subject, Msg, #{}).

%% @doc The same with the fields `event' and `id' of a server-sent event.
-spec publish(lariat_wire:id(), lariat_wire:message(), lariat_wire:options()) ->
    lariat_router:outcome().
publish(Subject, Msg, Options) ->
    lariat_router:publish(Subject, lariat_subscriptions:subscribers(Subject), Msg, Options).

%% @doc From now on `Subscriber' gets what is published to `Subject'.
-spec subscribe(lariat_wire:id(), lariat_wire:id()) ->
    ok | {error, lariat_subscriptions:refusal()}.
subscribe(Subscriber, Subject) ->
    lariat_subscriptions:subscribe(Subscriber, Subject).

%% @doc No longer.
-spec unsubscribe(lariat_wire:id(), lariat_wire:id()) ->
    ok | {error, lariat_subscriptions:refusal()}.
unsubscribe(Subscriber, Subject) ->
    lariat_subscriptions:unsubscribe(Subscriber, Subject).

%% @doc The subscribers of a subject, sorted, connected or not.
-spec subscribers(lariat_wire:id()) -> [lariat_wire:id()].
subscribers(Subject) ->
    lariat_subscriptions:subscribers(Subject).

%% @doc Adds many subscriptions, `{Subscriber, Subject}'. Adding again does no harm.
-spec add_subscriptions([lariat_subscriptions:subscription()]) ->
    ok | {error, lariat_subscriptions:refusal()}.
add_subscriptions(Subscriptions) ->
    lariat_subscriptions:add(Subscriptions).

%% @doc Removes many.
-spec remove_subscriptions([lariat_subscriptions:subscription()]) ->
    ok | {error, lariat_subscriptions:refusal()}.
remove_subscriptions(Subscriptions) ->
    lariat_subscriptions:remove(Subscriptions).

%% @doc From now on `Pid' receives what is sent to `Id', beside the connections of that id: the
%% message itself, as one binary, or `{text | binary, Binary}' where it was sent so. Until it ends or
%% logs out. A connection may log in, too.
-spec login(lariat_wire:id(), lariat_wire:conn()) -> ok | {error, logins_limit}.
login(Id, Pid) ->
    lariat_router:login(Id, Pid).

%% @doc `Pid' receives nothing more, under any id.
-spec logout(lariat_wire:conn()) -> ok.
logout(Pid) ->
    lariat_router:logout(Pid).

%% @doc An id's connections, and the processes that logged in under it.
-spec connections(lariat_wire:id()) -> [lariat_wire:conn()].
connections(Id) ->
    lariat_router:connections(Id).

%% @doc Closes the connections of an id, or of each of a list of ids, or the connection that stands
%% where an id may; `{ok, N}' of them. The
%% reason is told in the edges' `closed' events. Processes get `{close, Reason}'. A reason `{Code, Text}'
%% is told to WebSockets, too: 1000, or a code of the application's, 4000 to 4999, and at most 123 bytes
%% of UTF-8. Of all other reasons they hear 1000, without a text.
-spec close(lariat_wire:ids(), lariat_wire:reason()) -> lariat_router:outcome().
close(Ids, Reason) ->
    lariat_router:close(Ids, Reason, ?TIMEOUT_MS).

%% @doc Monitors a connection, or a process: the caller gets `{'DOWN', Ref, process, Conn, Reason}' once,
%% with the reason of the `closed' event; `noproc' when it is gone already, `noconnection' when its
%% edge is, `system_limit' when the edge takes no more monitors. Where the edge is a hidden node this is
%% `erlang:monitor/2', which waits while the link is full.
-spec monitor(lariat_wire:conn()) -> reference().
monitor(Conn) ->
    lariat_edge:monitor(Conn).

%% @doc Ends a monitor of `monitor/1'; its message is not in the mailbox afterwards.
-spec demonitor(reference()) -> true.
demonitor(Ref) ->
    lariat_edge:demonitor(Ref).

%% @doc Attaches an edge: a hidden node's name, or a map that also says which program to run
%% (`lariat_edge_node:config()'); or `#{nif => Name, config => Config}', an edge in this VM, which is
%% started (`lariat_edge_nif:config()'). `{bad_edge, Why}' is a mistake in what was given, `not_started' says
%% why the edge in this VM could not be, and what to do about it.
-spec attach(lariat_edge:config()) ->
    ok | {error, already_attached | {bad_edge, Why :: term()} | {not_started, Why :: binary()}}.
attach(Edge) ->
    lariat_edge:attach(Edge).

%% @doc Lets go of an edge. It keeps its connections, unless its program is ours, or it is in this VM: then
%% they close at once.
-spec detach(lariat_picture:edge()) -> ok | {error, no_such_edge}.
detach(Edge) ->
    lariat_edge:stop(Edge).

%% @doc Lets go of an edge in this VM gently: it stops accepting, its connections leave at a rate, event streams
%% are asked to come back spread over some time; when all have left, or `drain_timeout' is over, it is stopped.
%% Stopping the application does this, too. `not_in_this_vm': who runs a node has it drain by SIGTERM.
-spec drain(lariat_picture:edge()) -> ok | {error, no_such_edge | not_in_this_vm}.
drain(Edge) ->
    lariat_edge:drain(Edge, #{}).

%% @doc The same with another time, grace or rate than its config says.
-spec drain(lariat_picture:edge(), lariat_nif:drain_options()) ->
    ok | {error, badarg | no_such_edge | not_in_this_vm}.
drain(Edge, Options) ->
    lariat_edge:drain(Edge, Options).

%% @doc Has an edge in this VM read its config and certificates again, as a node does on SIGHUP: no connection
%% notices. Answers the keys that have `changed', and those that are `kept' because they need a new start; the
%% log has the values. What is wrong with it changes nothing.
-spec reload(lariat_picture:edge()) ->
    lariat_edge:reloaded() | {error, no_such_edge | not_in_this_vm}.
reload(Edge) ->
    lariat_edge:reload(Edge, same).

%% @doc The same with another config, a map or a file's name, which it keeps until it is let go of.
-spec reload(lariat_picture:edge(), Config :: map() | file:name_all()) ->
    lariat_edge:reloaded() | {error, no_such_edge | not_in_this_vm}.
reload(Edge, Config) ->
    lariat_edge:reload(Edge, Config).

%% @doc How is it? Edges, handlers, numbers and counters of this node; asks nobody.
-spec info() ->
    #{
        edges := #{lariat_picture:edge() => map()},
        handlers := #{lariat_handler:name() => map()},
        receivers := non_neg_integer(),
        subscriptions := non_neg_integer(),
        counters := #{lariat_counters:name() => non_neg_integer()}
    }.
info() ->
    #{
        edges => lariat_picture:summary(),
        handlers => lariat_handlers:summary(),
        receivers => lariat_picture:count(),
        subscriptions => lariat_subscriptions:count(),
        counters => lariat_counters:all()
    }.

%% @doc What an edge says of itself. At most two seconds.
-spec info(lariat_picture:edge()) -> {ok, map()} | {error, term()}.
info(Edge) ->
    lariat_edge:info(Edge).
