%%% An edge in a hidden node: what `lariat node' runs.
%%%
%%% Says things over Erlang distribution, and never in a way that can hang the sender: every send
%%% is `nosuspend' and `noconnect', but for answers of those who may be suspended. It keeps no
%%% state, decides nothing about when to connect (`lariat_link'), and runs no program
%%% (`lariat_edge_program').
-module(lariat_edge_node).

-behaviour(lariat_edge).

%% lariat_edge.
-export([check/1, children/2]).
-export([connected/1, connect/1, subscribe/1, change/2, heard/2]).
-export([send/5, answer/4, call/2, info/1, stop/1]).

-export_type([config/0]).

-type config() ::
    node()
    | #{
        node := node(),
        %% The program `lariat'. When given, we run it and keep it running.
        command => file:name_all(),
        %% More arguments for it; lariat_edge_program says what is given anyway.
        args => [string() | binary()],
        %% Its working directory; ours unless given.
        cd => file:name_all(),
        %% More of its environment.
        env => [{string(), string()}]
    }.

%% A tag of a call to an alias is an improper list: gen:reply/2 documents it by its code only.
-dialyzer({no_improper_lists, call/2}).

%% A program is asked to stop gracefully first; see lariat_edge_program for its own limit.
-define(PROGRAM_SHUTDOWN_MS, 15000).

%% The name under which an edge takes commands. Any other name would do for sends.
-define(SERVER, lariat).

%% The name under which it takes sends, and afterwards tells `ack' to the process of ours that
%% attached and asked for credit.
-define(CREDITED, lariat_credited).

%% @doc The node, when that is a configuration.
-spec check(term()) -> {ok, node(), #{node := node(), _ => _}} | {error, term()}.
check(Node) when is_atom(Node) ->
    case check(#{node => Node}) of
        {ok, _, _} = Checked -> Checked;
        {error, _} -> {error, Node}
    end;
check(#{node := Node} = Config) when is_atom(Node) ->
    Known = maps:without([node, command, args, cd, env], Config) =:= #{},
    case string:split(atom_to_list(Node), "@", all) of
        [[_ | _], [_ | _]] when Known -> {ok, Node, Config};
        _ -> {error, Config}
    end;
check(Config) ->
    {error, Config}.

%% @doc The program, when that is ours.
-spec children(#{node := node(), _ => _}, supervisor:child_spec()) -> [supervisor:child_spec(), ...].
children(#{node := Node, command := _} = Config, Link) ->
    Program = #{
        id => {program, Node},
        start => {lariat_edge_program, start_link, [Config]},
        shutdown => ?PROGRAM_SHUTDOWN_MS
    },
    %% The link first: it is there for every node, so a second attach stops at it.
    [Link, Program];
children(#{}, Link) ->
    [Link].

%% @doc Is there a link between the nodes?
-spec connected(node()) -> boolean().
connected(Node) -> lists:member(Node, nodes(connected)).

%% @doc Connects.
-spec connect(node()) -> ok | {error, Why :: atom()}.
connect(Node) ->
    case net_kernel:connect_node(Node) of
        true -> ok;
        false -> {error, 'cannot connect: is it running, and is its cookie ours?'};
        ignored -> {error, 'this node is not distributed: start it with -name, or it can reach no edge'}
    end.

%% @doc Of all nodes: the VM knows no other way, and there are few.
-spec subscribe(node()) -> ok.
subscribe(_) ->
    %% All types: an edge is hidden, but whoever stands in for one need not be.
    net_kernel:monitor_nodes(true, [{node_type, all}]).

%% @doc What the VM says.
-spec change(node(), term()) -> up | down | none | unknown.
change(Node, {nodeup, Node, _}) -> up;
change(Node, {nodedown, Node, _}) -> down;
change(_, {Change, _, _}) when Change =:= nodeup; Change =:= nodedown -> none;
change(_, _) -> unknown.

%% @doc Nothing: how much may be told is bounded by the link.
-spec heard(node(), pos_integer()) -> ok.
heard(_, _) -> ok.

%% @doc `{Ids, Payload}' to the node, in one term.
-spec send(
    node(),
    [lariat_wire:id(), ...],
    lariat_wire:payload(),
    lariat_wire:edge_options(),
    credited | plain
) -> ok | {error, lariat_edge:failure()}.
send(Node, Ids, Payload, Options, How) ->
    Name =
        case How of
            credited -> ?CREDITED;
            plain -> ?SERVER
        end,
    signal(Name, Node, lariat_wire:to_edge(Ids, Payload, Options)).

%% @doc What somebody who asked the edge is to be told.
-spec answer(node(), lariat_wire:ask_ref(), lariat_wire:answer(), at_once | patiently) ->
    ok | {error, lariat_edge:failure()}.
answer(Node, Ref, Answer, How) ->
    signal(?SERVER, Node, {'$gen_cast', {answer, Ref, Answer}}, How).

%% @doc As `gen_server:call({lariat, Node}, Command)', but a full link answers `busy' instead
%% of suspending us: the request goes first, by `nosuspend', and the monitor second. The
%% reply comes to an alias, so none can come later than we want it.
-spec call(node(), lariat_wire:command()) -> ok | {ok, term()} | {error, term()}.
call(Node, Command) ->
    Alias = erlang:alias([reply]),
    Tag = [alias | Alias],
    case signal(?SERVER, Node, {'$gen_call', {self(), Tag}, Command}) of
        ok ->
            Monitor = erlang:monitor(process, {?SERVER, Node}),
            receive
                {Tag, Answer} ->
                    true = erlang:demonitor(Monitor, [flush]),
                    Answer;
                {'DOWN', Monitor, process, _, Reason} ->
                    %% The answer may have come just before the link went down.
                    receive
                        {Tag, Answer} -> Answer
                    after 0 -> {error, Reason}
                    end
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc What we know without asking.
-spec info(node()) -> map().
info(Node) ->
    #{connected => connected(Node)}.

%% @doc Ends the link, and the program when it is ours.
-spec stop(node()) -> ok.
stop(Node) ->
    lariat_edge_sup:detach(Node).

-spec signal(atom(), node(), term()) -> ok | {error, lariat_edge:failure()}.
signal(Name, Node, Term) ->
    signal(Name, Node, Term, at_once).

-spec signal(atom(), node(), term(), at_once | patiently) -> ok | {error, lariat_edge:failure()}.
signal(Name, Node, Term, How) ->
    Nosuspend = [nosuspend || How =:= at_once],
    case erlang:send({Name, Node}, Term, [noconnect | Nosuspend]) of
        ok -> ok;
        nosuspend -> {error, busy};
        noconnect -> {error, noconnection}
    end.
