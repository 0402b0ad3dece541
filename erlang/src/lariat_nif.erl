%%% The functions of the NIF library, priv/lariat_nif.so: an edge in this VM.
%%%
%%% No logic: each says what it does, and calls the library. Who wants an edge here names it in the
%%% environment of the application; `lariat_edge_nif' does the rest. The module loads without the library, too:
%%% an application whose edges are nodes needs none, and {@link start/1} says what is missing.
%%%
%%% Nothing here takes a scheduler for long. What is large goes to a dirty one: the limits below are from
%%% measuring, in ARCHITECTURE.md ("What a NIF call costs").
-module(lariat_nif).

%% Its life.
-export([start/1, stop/1, reload/2, drain/2, is_ready/1, version/0]).
%% Messages.
-export([send/2, signal/3]).
%% Commands.
-export([cast/2, request/3, call/3, close/3, connections/2, info/1, attach/2, metrics/1]).
%% Owners.
-export([heard/2, watch/2, unwatch/2]).

-export_type([edge/0, config/0, reloaded/0, drain_options/0, refusal/0]).

-on_load(load/0).

-nifs([
    start_nif/1, stop_nif/2, version/0, send_nif/2, send_dirty_nif/2, signal_nif/3, signal_dirty_nif/3,
    cast_nif/2, cast_dirty_nif/2, request_nif/3, request_dirty_nif/3, heard_nif/2, watch_nif/2,
    unwatch_nif/2, metrics_nif/1, reload_nif/2, drain_nif/3, is_ready_nif/1
]).

%% How long the calls without a timeout wait. A lively edge answers within milliseconds.
-define(PATIENCE_MS, 5000).

%% What is larger than this goes to a dirty scheduler: bytes of a payload that is one binary, and bytes of the
%% encoding of anything else: 3,000 ids that are integers, say.
-define(PAYLOAD_MAX, 131072).
-define(TERM_MAX, 16384).

-opaque edge() :: reference().
%% A running edge, or one that has ended. It ends when the process that has started it ends, when it is
%% stopped, or when nobody has this term any more.

-type config() :: #{
    name := atom(), config => map() | file:name_all(), epoch => non_neg_integer()
}.
%% `config' has the keys of config/lariat.toml that concern an edge, as atoms or texts, or is the name of a
%% file with them. The first epoch is above `epoch'; without it, they grow with the time of day.

-type reloaded() :: #{
    changed := [Key :: binary()], kept := [Key :: binary()], certificates := non_neg_integer()
}.
%% Keys whose value is another now, and keys whose new value needs a new start; how many certificates were
%% read again.

-type drain_options() :: #{
    timeout => Ms :: non_neg_integer(), grace => Ms :: non_neg_integer(), rate => pos_integer()
}.
%% In place of what the config says: `drain_timeout', `drain_grace', `drain_rate'.

-type refusal() :: busy | closed.
%% `busy': a queue is full, and nothing was done. `closed': the edge has ended.

%% @doc Starts an edge, of which the caller is the owner: it is told `{lariat_log, Level, Text}' and
%% `{lariat_gone, Conn, Reason}', and the edge ends with it. The error says what to do.
-spec start(config()) -> {ok, edge()} | {error, binary()}.
start(Config) ->
    try
        start_nif(Config)
    catch
        error:not_loaded -> {error, not_loaded()}
    end.

%% @doc Ends it: connections are closed, ports are free when this returns. Once is enough, more do no harm.
-spec stop(edge()) -> ok.
stop(Edge) ->
    Tag = make_ref(),
    case stop_nif(Edge, Tag) of
        stopped -> ok;
        stopping -> receive {Tag, ok} -> ok end
    end.

%% @doc Takes what may change at run time from a config, which it is given as at the start, and reads
%% certificates again; no connection notices. What cannot be taken changes nothing.
-spec reload(edge(), map() | file:name_all()) -> {ok, reloaded()} | {error, binary() | closed}.
reload(Edge, Config) ->
    reload_nif(Edge, Config).

%% @doc Stops accepting and has the connections leave; returns when all have, or when the time for it is over.
%% What is left is closed by `stop/1'.
-spec drain(edge(), drain_options()) -> ok | {error, refusal() | badarg | stopping | timeout}.
drain(Edge, Options) ->
    Tag = make_ref(),
    case drain_nif(Edge, Tag, Options) of
        {ok, MostMs} ->
            receive
                {Tag, Answer} -> Answer
            after MostMs + ?PATIENCE_MS -> {error, timeout}
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc Whether new connections are welcome: what a node says at `/readyz'.
-spec is_ready(edge()) -> boolean().
is_ready(Edge) ->
    is_ready_nif(Edge).

%% @doc Delivers a message: what may be sent to any name of a node that is an edge. Nothing waits for it, and
%% what has no room is refused, not dropped.
-spec send(edge(), {Ids, Message} | {Ids, Message, Options} | {'$gen_cast', tuple()}) ->
    ok | {error, refusal() | badarg}
when
    Ids :: lariat_wire:ids(),
    Message :: lariat_wire:message(),
    Options :: lariat_wire:options().
send(Edge, {Ids, Message} = Term) when is_binary(Message), byte_size(Message) =< ?PAYLOAD_MAX ->
    case is_small(Ids) of
        true -> send_nif(Edge, Term);
        false -> send_dirty_nif(Edge, Term)
    end;
send(Edge, Term) ->
    case is_small(Term) of
        true -> send_nif(Edge, Term);
        false -> send_dirty_nif(Edge, Term)
    end.

%% @doc Tells one connection something: what may be sent to the pid of a connection.
-spec signal(edge(), lariat_wire:conn(), term()) -> ok | {error, refusal() | badarg}.
signal(Edge, Conn, Message) when is_binary(Message), byte_size(Message) =< ?PAYLOAD_MAX ->
    signal_nif(Edge, Conn, Message);
signal(Edge, Conn, Message) ->
    case is_small(Message) of
        true -> signal_nif(Edge, Conn, Message);
        false -> signal_dirty_nif(Edge, Conn, Message)
    end.

%% @doc Has a command carried out whose answer nobody wants, after those before it.
-spec cast(edge(), lariat_wire:command()) -> ok | {error, refusal()}.
cast(Edge, Command) ->
    case is_small(Command) of
        true -> cast_nif(Edge, Command);
        false -> cast_dirty_nif(Edge, Command)
    end.

%% @doc The same, and the answer comes as `{Tag, Answer}'.
-spec request(edge(), Tag :: term(), lariat_wire:command()) -> ok | {error, refusal()}.
request(Edge, Tag, Command) ->
    case is_small(Command) of
        true -> request_nif(Edge, Tag, Command);
        false -> request_dirty_nif(Edge, Tag, Command)
    end.

%% @doc The same, and waits for the answer.
-spec call(edge(), Command :: lariat_wire:command(), timeout()) -> term() | {error, refusal() | timeout}.
call(Edge, Command, Timeout) ->
    Tag = make_ref(),
    case request(Edge, Tag, Command) of
        ok ->
            receive
                {Tag, Answer} -> Answer
            after Timeout -> {error, timeout}
            end;
        Refused ->
            Refused
    end.

%% @doc Closes the connections of one id, or of a list of ids.
-spec close(edge(), lariat_wire:ids(), lariat_wire:reason()) ->
    {ok, #{connections := non_neg_integer()}} | {error, term()}.
close(Edge, Ids, Reason) ->
    call(Edge, {close, Ids, Reason}, ?PATIENCE_MS).

%% @doc The connections of an id.
-spec connections(edge(), lariat_wire:id()) -> {ok, [lariat_wire:conn()]} | {error, term()}.
connections(Edge, Id) ->
    call(Edge, {connections, Id}, ?PATIENCE_MS).

%% @doc How it is: its numbers, and where it listens as `http_addresses'.
-spec info(edge()) -> {ok, #{atom() => non_neg_integer() | binary() | [binary()]}} | {error, term()}.
info(Edge) ->
    call(Edge, info, ?PATIENCE_MS).

%% @doc From now on the caller is told what happens, as `{lariat, Name, Epoch, [Event]}', beginning with a
%% snapshot. What it has dealt with it says by {@link heard/2}.
-spec attach(edge(), Options :: #{handlers => [binary()]}) ->
    {ok, #{epoch := pos_integer(), credit := non_neg_integer()}} | {error, term()}.
attach(Edge, Options) ->
    call(Edge, {attach, self(), Options}, ?PATIENCE_MS).

%% @doc An attached caller has dealt with so many events. When 10,000 are unheard it is told no more until
%% it has; when too much waits for it then, it is told by a new snapshot.
-spec heard(edge(), Events :: non_neg_integer()) -> ok.
heard(Edge, Events) ->
    heard_nif(Edge, Events).

%% @doc The owner of the edge is told `{lariat_gone, Conn, Reason}' once, also when it is gone already.
%% Watching twice is watching once.
-spec watch(edge(), lariat_wire:conn()) -> ok | {error, refusal() | badarg}.
watch(Edge, Conn) ->
    watch_nif(Edge, Conn).

%% @doc It is not told any more; what is on its way may still arrive.
-spec unwatch(edge(), lariat_wire:conn()) -> ok | {error, refusal() | badarg}.
unwatch(Edge, Conn) ->
    unwatch_nif(Edge, Conn).

%% @doc What `/metrics' of a node says.
-spec metrics(edge()) -> binary().
metrics(Edge) ->
    metrics_nif(Edge).

%% @doc The version that the library was built as.
-spec version() -> binary().
version() ->
    erlang:nif_error(not_loaded).

%% Whether its encoding is. Walks the term, not the bytes of its binaries: 2 us for 1,000 ids.
is_small(Id) when is_integer(Id) -> true;
is_small(Term) -> erlang:external_size(Term) =< ?TERM_MAX.

-spec load() -> ok | {error, term()}.
load() ->
    case erlang:load_nif(library(), 0) of
        ok -> ok;
        %% Edges of the library that is there run, and this is another one: the code that knows them stays.
        {error, {upgrade, _}} = Error -> Error;
        %% What else fails is said by who needs it.
        {error, {Why, Text}} ->
            ok = persistent_term:put({?MODULE, not_loaded}, {Why, Text})
    end.

%% Without its extension. Beside the compiled module when that is in no application.
library() ->
    case code:priv_dir(lariat) of
        {error, bad_name} ->
            filename:join(filename:dirname(code:which(?MODULE)), "lariat_nif");
        Priv ->
            filename:join(Priv, "lariat_nif")
    end.

not_loaded() ->
    Library = library() ++ ".so",
    Text =
        case filelib:is_regular(Library) of
            true ->
                {Why, What} = persistent_term:get({?MODULE, not_loaded}, {load_failed, ""}),
                io_lib:format("the library ~ts cannot be loaded (~ts): ~ts", [Library, Why, What]);
            false ->
                io_lib:format("there is no ~ts: edges in this VM need it. Install Rust "
                    "(https://rustup.rs), then compile Lariat again: rebar3 compile, or mix deps.compile "
                    "lariat --force; or take an edge that is a node", [Library])
        end,
    unicode:characters_to_binary(Text).

-spec start_nif(config()) -> {ok, edge()} | {error, binary()}.
start_nif(_Config) -> erlang:nif_error(not_loaded).

-spec stop_nif(edge(), term()) -> stopping | stopped.
stop_nif(_Edge, _Tag) -> erlang:nif_error(not_loaded).

-spec send_nif(edge(), tuple()) -> ok | {error, refusal() | badarg}.
send_nif(_Edge, _Term) -> erlang:nif_error(not_loaded).

-spec send_dirty_nif(edge(), tuple()) -> ok | {error, refusal() | badarg}.
send_dirty_nif(_Edge, _Term) -> erlang:nif_error(not_loaded).

-spec signal_nif(edge(), term(), term()) -> ok | {error, refusal() | badarg}.
signal_nif(_Edge, _Conn, _Message) -> erlang:nif_error(not_loaded).

-spec signal_dirty_nif(edge(), term(), term()) -> ok | {error, refusal() | badarg}.
signal_dirty_nif(_Edge, _Conn, _Message) -> erlang:nif_error(not_loaded).

-spec cast_nif(edge(), term()) -> ok | {error, refusal()}.
cast_nif(_Edge, _Command) -> erlang:nif_error(not_loaded).

-spec cast_dirty_nif(edge(), term()) -> ok | {error, refusal()}.
cast_dirty_nif(_Edge, _Command) -> erlang:nif_error(not_loaded).

-spec request_nif(edge(), term(), term()) -> ok | {error, refusal()}.
request_nif(_Edge, _Tag, _Command) -> erlang:nif_error(not_loaded).

-spec request_dirty_nif(edge(), term(), term()) -> ok | {error, refusal()}.
request_dirty_nif(_Edge, _Tag, _Command) -> erlang:nif_error(not_loaded).

-spec heard_nif(edge(), non_neg_integer()) -> ok.
heard_nif(_Edge, _Events) -> erlang:nif_error(not_loaded).

-spec watch_nif(edge(), term()) -> ok | {error, refusal() | badarg}.
watch_nif(_Edge, _Conn) -> erlang:nif_error(not_loaded).

-spec unwatch_nif(edge(), term()) -> ok | {error, refusal() | badarg}.
unwatch_nif(_Edge, _Conn) -> erlang:nif_error(not_loaded).

-spec metrics_nif(edge()) -> binary().
metrics_nif(_Edge) -> erlang:nif_error(not_loaded).

-spec reload_nif(edge(), term()) -> {ok, reloaded()} | {error, binary() | closed}.
reload_nif(_Edge, _Config) -> erlang:nif_error(not_loaded).

-spec drain_nif(edge(), term(), term()) -> {ok, non_neg_integer()} | {error, refusal() | badarg}.
drain_nif(_Edge, _Tag, _Options) -> erlang:nif_error(not_loaded).

-spec is_ready_nif(edge()) -> boolean().
is_ready_nif(_Edge) -> erlang:nif_error(not_loaded).
