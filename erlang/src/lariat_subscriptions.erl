%%% Who is subscribed to what: the only module that calls Mnesia.
%%%
%%% It routes nothing and knows no connection. There is one copy, on this node; adding copies
%%% when nodes join is not done here yet, but every write is a transaction, so copies added by
%%% an operator (`mnesia:add_table_copy/3') stay equal.
%%%
%%% The table is an ordered set keyed {Subject, Subscriber}: a bag would look at every row of a
%%% subject on each insert, so one celebrity would make loading quadratic. Keys of an ordered
%%% set compare with `==', so 1 and 1.0 are one subscriber; use integers.
%%%
%%% It is kept on disc (`disc_copies') where Mnesia's own `dir' says, default
%%% `Mnesia.<node>' in the working directory. Mnesia binds its schema to the node's name.
-module(lariat_subscriptions).

-include_lib("kernel/include/logger.hrl").

%% API.
-export([subscribe/2, unsubscribe/2, subscribers/1, add/1, remove/1, load_file/1, count/0]).
%% For lariat_app.
-export([open/0]).

-export_type([subscription/0, refusal/0]).

-type subscription() :: {Subscriber :: lariat_wire:id(), Subject :: lariat_wire:id()}.

-type refusal() :: subscriptions_limit | {aborted, term()} | {not_on_disc, term()}.

-record(lariat_subscription, {
    key :: {Subject :: lariat_wire:id(), Subscriber :: lariat_wire:id()},
    %% Mnesia wants a second field. An empty list takes no memory of its own.
    reserved = [] :: []
}).

-define(TABLE, lariat_subscription).

%% No term sorts before every number, but this sorts before every number of less than 309 digits,
%% and numbers sort before all else: the walk over the subscribers of a subject starts here.
-define(FIRST, -1.0e308).

%% Rows in one transaction: 300,000 rows take 0.8 s by 1,000 and 1.0 s by 10,000 (dirty writes
%% one by one 1.4 s), and nobody else waits long for the lock.
-define(BATCH_ROWS, 1000).

%% Three times the 15 million that one node has been loaded with; 96 bytes each for integers.
-define(SUBSCRIPTIONS_MAX, 50000000).

%% How often a long load says how far it is.
-define(PROGRESS_MS, 5000).

%% How often a slow start says what it waits for.
-define(WAIT_MS, 10000).

%% @doc Opens the table; creates schema and table on disc when they are not there.
-spec open() -> ok | {error, term()}.
open() ->
    case ensure_schema() of
        ok ->
            case ensure_table() of
                ok -> wait();
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc From now on `Subscriber' gets what is published to `Subject'.
-spec subscribe(lariat_wire:id(), lariat_wire:id()) -> ok | {error, refusal()}.
subscribe(Subscriber, Subject) ->
    add([{Subscriber, Subject}]).

%% @doc No longer.
-spec unsubscribe(lariat_wire:id(), lariat_wire:id()) -> ok | {error, refusal()}.
unsubscribe(Subscriber, Subject) ->
    remove([{Subscriber, Subject}]).

%% @doc The subscribers of a subject, sorted. Takes time in proportion to their number.
-spec subscribers(lariat_wire:id()) -> [lariat_wire:id()].
subscribers(Subject) ->
    walk(Subject, ets:next(?TABLE, {Subject, ?FIRST})).

%% @doc Adds many. Not all or nothing: on an error the batches before it are kept; adding again
%% does no harm.
-spec add([subscription()]) -> ok | {error, refusal()}.
add(Subscriptions) ->
    on_disc(insert(Subscriptions)).

%% @doc Removes many; in batches, as `add/1'.
-spec remove([subscription()]) -> ok | {error, refusal()}.
remove(Subscriptions) ->
    Delete = fun(#lariat_subscription{key = Key}) -> mnesia:delete(?TABLE, Key, write) end,
    on_disc(batches(Delete, Subscriptions)).

%% @doc Adds what a file says in lines `subscriber subscribee' and answers how many lines there
%% were. Ids are read as the edge reads them from paths: `lariat_wire:id_from_text/1'. What
%% stands before a bad line is kept.
-spec load_file(file:name_all()) ->
    {ok, non_neg_integer()}
    | {error, refusal() | {bad_line, pos_integer(), binary()} | file:posix() | badarg | terminated}.
load_file(File) ->
    Started = now_ms(),
    Add = fun(Subscriptions, {Loaded, SaidAt}) ->
        case insert(Subscriptions) of
            ok -> {ok, progress(File, Loaded + length(Subscriptions), SaidAt)};
            {error, _} = Error -> Error
        end
    end,
    case lariat_dataset:fold(File, ?BATCH_ROWS, Add, {0, Started}) of
        {ok, {Loaded, _}} ->
            ?LOG_NOTICE("~ts: ~b subscriptions in ~b ms", [File, Loaded, now_ms() - Started]),
            case on_disc(ok) of
                ok -> {ok, Loaded};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc Number of subscriptions.
-spec count() -> non_neg_integer().
count() ->
    mnesia:table_info(?TABLE, size).

%% Walks keys instead of matching a pattern, as a subject may be any term, and atoms such as
%% '_' mean something in patterns; it costs about the same (15 subscribers: 6 us against 5).
%% Reads the table of Mnesia directly: every read is of the copy on this node.
-spec walk(lariat_wire:id(), term()) -> [lariat_wire:id()].
walk(Subject, {Subject, Subscriber} = Key) ->
    [Subscriber | walk(Subject, ets:next(?TABLE, Key))];
walk(Subject, {Other, _} = Key) when Other == Subject ->
    walk(Subject, ets:next(?TABLE, Key));
walk(_, _) ->
    [].

-type writer() :: fun((#lariat_subscription{}) -> ok).

-spec insert([subscription()]) -> ok | {error, refusal()}.
insert(Subscriptions) ->
    case has_room(Subscriptions) of
        true -> batches(fun(Row) -> mnesia:write(?TABLE, Row, write) end, Subscriptions);
        false -> {error, subscriptions_limit}
    end.

-spec batches(writer(), [subscription()]) -> ok | {error, refusal()}.
batches(_, []) ->
    ok;
batches(Write, Subscriptions) ->
    {Batch, Others} = lists:split(min(?BATCH_ROWS, length(Subscriptions)), Subscriptions),
    case batch(Write, [row(Subscription) || Subscription <- Batch]) of
        ok -> batches(Write, Others);
        {error, _} = Error -> Error
    end.

-spec batch(writer(), [#lariat_subscription{}]) -> ok | {error, refusal()}.
batch(Write, Rows) ->
    Transaction = fun() ->
        %% One lock instead of one for each row.
        mnesia:write_lock_table(?TABLE),
        lists:foreach(Write, Rows)
    end,
    case mnesia:transaction(Transaction) of
        {atomic, ok} -> ok;
        {aborted, _} = Aborted -> {error, Aborted}
    end.

%% Mnesia keeps its log in memory for up to two seconds. Only what is on disc is `ok': a kill -9
%% right after must lose nothing. Costs 0.3 ms for each call, however many rows it has.
-spec on_disc(ok | {error, refusal()}) -> ok | {error, refusal()}.
on_disc(ok) ->
    case mnesia:sync_log() of
        ok -> ok;
        {error, Reason} -> {error, {not_on_disc, Reason}}
    end;
on_disc({error, _} = Error) ->
    Error.

%% Counts subscriptions that are there already as new ones: exact enough for a limit, and cheap.
-spec has_room([subscription()]) -> boolean().
has_room(Subscriptions) ->
    Max = application:get_env(lariat, subscriptions_max, ?SUBSCRIPTIONS_MAX),
    count() + length(Subscriptions) =< Max.

-spec row(subscription()) -> #lariat_subscription{}.
row({Subscriber, _}) when is_number(Subscriber), Subscriber =< ?FIRST ->
    error({bad_id, Subscriber});
row({Subscriber, Subject}) ->
    #lariat_subscription{key = {lariat_wire:id(Subject), lariat_wire:id(Subscriber)}}.

%% Mnesia starts in memory where its directory is empty.
-spec ensure_schema() -> ok | {error, term()}.
ensure_schema() ->
    case mnesia:table_info(schema, storage_type) of
        disc_copies ->
            ok;
        ram_copies ->
            Dir = mnesia:system_info(directory),
            %% Mnesia creates the directory, but not where it is to be.
            _ = filelib:ensure_path(filename:dirname(Dir)),
            case mnesia:change_table_copy_type(schema, node(), disc_copies) of
                {atomic, ok} -> ?LOG_NOTICE("subscriptions: new schema on disc in ~ts", [Dir]);
                {aborted, Reason} -> {error, {no_schema_on_disc, Dir, Reason}}
            end
    end.

-spec ensure_table() -> ok | {error, term()}.
ensure_table() ->
    Definition = [
        {attributes, record_info(fields, lariat_subscription)},
        {type, ordered_set},
        {disc_copies, [node()]},
        {storage_properties, [{ets, [{read_concurrency, true}]}]}
    ],
    case mnesia:create_table(?TABLE, Definition) of
        {atomic, ok} -> ok;
        {aborted, {already_exists, ?TABLE}} -> ok;
        {aborted, Reason} -> {error, {no_table, ?TABLE, Reason}}
    end.

%% Without a deadline: a table of millions takes its time, and half a table would be wrong.
-spec wait() -> ok | {error, term()}.
wait() ->
    case mnesia:wait_for_tables([?TABLE], ?WAIT_MS) of
        ok ->
            ok;
        {timeout, _} ->
            ?LOG_NOTICE("subscriptions: still loading from ~ts", [mnesia:system_info(directory)]),
            wait();
        {error, Reason} ->
            {error, {no_table, ?TABLE, Reason}}
    end.

-spec progress(file:name_all(), Loaded, integer()) -> {Loaded, integer()} when
    Loaded :: non_neg_integer().
progress(File, Loaded, SaidAt) ->
    Now = now_ms(),
    case Now - SaidAt >= ?PROGRESS_MS of
        true ->
            ?LOG_NOTICE("~ts: ~b subscriptions so far", [File, Loaded]),
            {Loaded, Now};
        false ->
            {Loaded, SaidAt}
    end.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
