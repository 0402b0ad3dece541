%%% Terms as Erlang sends them: ids of every kind, aliases, tokens, priority, and what cannot be read.
%%%
%%% As lariat_interop_SUITE, which has what is asked and answered: every case runs over a link that
%%% Erlang dialled and over one that the edge dialled, each call has a bound on its time, and each
%%% case ends by proving that the link is the same and both sides are well.
-module(lariat_terms_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0]).
-export([init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    trace_tokens/1,
    priority_messages/1,
    native_records/1,
    alias_references/1,
    ids/1,
    lists_of_ids/1,
    undecodable_payloads/1
]).

-import(lariat_scene, [
    in_site/2, held/4, release/1, native_record/0, stale/2, literal/1, is/4, bounded/3
]).

all() ->
    [{group, erlang_dials}, {group, edge_dials}].

groups() ->
    Cases = [
        trace_tokens,
        priority_messages,
        native_records,
        alias_references,
        ids,
        lists_of_ids,
        undecodable_payloads
    ],
    [{Name, [], Cases} || Name <- [erlang_dials, edge_dials]].

suite() ->
    [{timetrap, {minutes, 10}}].

init_per_group(Group, Config) ->
    [{direction, Group} | Config].

end_per_group(_Group, Config) ->
    Config.

%% Both sides of a link run the OTP that runs this.
init_per_testcase(Case, Config) ->
    case list_to_integer(erlang:system_info(otp_release)) of
        Release when Case =:= priority_messages, Release < 28 ->
            {skip, "priority messages came with OTP 28"};
        Release when Case =:= native_records, Release < 29 ->
            {skip, "native records came with OTP 29"};
        _ ->
            [{site, lariat_site:start(?config(priv_dir, Config))} | Config]
    end.

end_per_testcase(_Case, Config) ->
    lariat_site:stop(?config(site, Config)).

trace_tokens(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http}) ->
        Stream = held(App, Node, Http, 1),
        %% Labels of every kind: integers before OTP 21, any term since.
        [
            begin
                is(App, ok,
                    ["seq_trace:set_token(label, ", Label, "), seq_trace:set_token(send, true), "
                     "{any, N} ! {1, <<\"traced\">>}, seq_trace:set_token([]), ok"], Node),
                <<"traced">> = lariat_client:message(Stream)
            end
         || Label <- ["17", "{a, b}", "1 bsl 70", "<<\"label\">>"]
        ],
        Traced = "seq_trace:set_token(label, x), ",
        is(App, {ok, []}, [Traced, "gen_server:call(L, {connections, 2})"], Node),
        is(App, {badrpc, notsup}, [Traced, "rpc:call(N, erlang, node, [])"], Node),
        is(App, true, [Traced, "exit(binary_to_term(", stale(App, Node), "), boom)"], Node),
        is(App, ok, [Traced, "binary_to_term(", stale(App, Node), ") ! x, ok"], Node),
        %% The alias of a traced caller, and the end of a traced process that is linked to us.
        is(App, {{other, Node}, noproc},
            [Traced, "R = monitor(process, {other, N}), "
             "receive {'DOWN', R, process, O, W} -> {O, W} end"], Node),
        is(App, true,
            [Traced, "{C, M} = spawn_monitor(fun() -> process_flag(trap_exit, true), "
             "link(binary_to_term(", stale(App, Node), ")), exit(boom) end), "
             "receive {'DOWN', M, _, C, boom} -> true end"], Node)
    end).

%% Their control message is one of its own (37), where the flag for it is set. A connection takes
%% them in the order in which they come; what answers a priority alias finds its way through it.
priority_messages(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http} = Edge) ->
        Stream = held(App, Node, Http, 1),
        is(App, ok, "erlang:send({any, N}, {1, <<\"first\">>}, [priority])", Node),
        <<"first">> = lariat_client:message(Stream),
        is(App, ok, "erlang:send({any, N}, {[1, 2], <<\"list\">>}, [priority])", Node),
        <<"list">> = lariat_client:message(Stream),
        {ok, [Conn]} = bounded(App, "gen_server:call(L, {connections, 1})", Node),
        P = ["binary_to_term(", literal(term_to_binary(Conn)), ")"],
        is(App, ok, ["erlang:send(", P, ", <<\"direct\">>, [priority])"], Node),
        <<"direct">> = lariat_client:message(Stream),
        Ask = fun(Options, Tag) ->
            ["A = alias([priority]), ok = erlang:send(L, {'$gen_call', {self(), ", Tag, "}, "
             "{send, 1, <<\"asked\">>}}, ", Options, "), receive {", Tag, ", X} -> X end"]
        end,
        [
            begin
                is(App, {ok, #{connections => 1, queued_bytes => 0}}, Ask(Options, Tag), Node),
                <<"asked">> = lariat_client:message(Stream)
            end
         || Options <- ["[]", "[priority]"], Tag <- ["[alias | A]", "[[alias | A] | more]", "A"]
        ],
        %% What cannot be used is counted like any other.
        is(App, ok, "erlang:send({any, N}, nonsense, [priority])", Node),
        is(App, pong, "net_adm:ping(N)", Node),
        ?assertEqual(1, dropped(Edge, <<"unknown_shape">>)),
        %% Both signals have priority, and the end is told to a monitor that has it, too.
        is(App, bye,
            ["P = ", P, ", R = monitor(process, P, [priority]), exit(P, bye, [priority]), "
             "receive {'DOWN', R, process, P, W} -> W end"], Node),
        closed = lariat_client:message(Stream)
    end).

%% As a request it is refused, as a message it is counted, as the reason of an exit it ends the
%% connection all the same; the link stays.
native_records(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http} = Edge) ->
        Record = native_record(),
        Stream = held(App, Node, Http, 1),
        is(App, true, ["is_record(", Record, ")"], Node),
        is(App, ok, ["{any, N} ! ", Record, ", ok"], Node),
        is(App, ok, ["{any, N} ! {1, ", Record, "}, ok"], Node),
        is(App, ok, ["{any, N} ! {", Record, ", <<\"m\">>}, ok"], Node),
        is(App, {error, {bad_request, unknown}}, ["gen_server:call(L, ", Record, ")"], Node),
        is(App, {error, {bad_request, unknown}},
            ["gen_server:call(L, {send, 1, [", Record, "]})"], Node),
        is(App, {badrpc, notsup}, ["rpc:call(N, lists, seq, [", Record, "])"], Node),
        is(App, ok, "{any, N} ! {1, <<\"after\">>}, ok", Node),
        <<"after">> = lariat_client:message(Stream),
        ?assertEqual(5, dropped(Edge, <<"undecodable">>)),
        {ok, [Conn]} = bounded(App, "gen_server:call(L, {connections, 1})", Node),
        P = ["binary_to_term(", literal(term_to_binary(Conn)), ")"],
        is(App, true, ["exit(", P, ", ", Record, ")"], Node),
        closed = lariat_client:message(Stream)
    end).

%% Three words on OTP 25, five since 27: the answer finds its way through the alias, and an answer
%% that comes too late finds nobody.
alias_references(Config) ->
    in_site(Config, fun(App, #{node := Node}) ->
        Ask = fun(Options) ->
            ["A = alias(", Options, "), erlang:send(L, {'$gen_call', {self(), [alias | A]}, "
             "{connections, 1}}), receive {[alias | A], X} -> {X, unalias(A)} end"]
        end,
        is(App, {{ok, []}, true}, Ask("[]"), Node),
        is(App, {{ok, []}, false}, Ask("[reply]"), Node),
        is(App, {ok, []},
            "A = alias(), erlang:send(L, {'$gen_call', {self(), [[alias | A] | more]}, "
            "{connections, 1}}), receive {[[alias | A] | more], X} -> X end", Node),
        is(App, {ok, []},
            "T = make_ref(), erlang:send(L, {'$gen_call', {self(), T}, {connections, 1}}), "
            "receive {T, X} -> X end", Node),
        is(App, {ok, []},
            "erlang:send(L, {'$gen_call', {self(), any_tag}, {connections, 1}}), "
            "receive {any_tag, X} -> X end", Node),
        %% Dead before the answer comes: it is dropped there, silently.
        is(App, [],
            "A = alias(), unalias(A), erlang:send(L, {'$gen_call', {self(), [alias | A]}, info}), "
            "pong = net_adm:ping(N), element(2, process_info(self(), messages))", Node),
        <<131, 90, Words:16, _/binary>> = bounded(App, "term_to_binary(alias())", Node),
        ?assertEqual(case release(App) of Old when Old < 26 -> 3; _ -> 5 end, Words)
    end).

ids(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http}) ->
        Ids = [0, 255, 256, 1 bsl 31, 1 bsl 40, (1 bsl 63) - 1, <<"alice">>, <<>>, <<255, 0>>],
        [
            begin
                Stream = held(App, Node, Http, Id),
                is(App, ok, ["{any, N} ! {", literal(Id), ", <<\"m\">>}, ok"], Node),
                <<"m">> = lariat_client:message(Stream),
                is(App, {ok, #{connections => 1}}, ["gen_server:call(L, {close, [", literal(Id),
                    "], bye})"], Node),
                closed = lariat_client:message(Stream)
            end
         || Id <- Ids, Id =/= <<>>
        ],
        %% What no path can name is an id all the same: nobody is there.
        [
            is(App, {ok, #{connections => 0, queued_bytes => 0}},
                ["gen_server:call(L, {send, ", Id, ", <<\"m\">>})"], Node)
         || Id <- ["1 bsl 63", "-(1 bsl 63) - 1", "1 bsl 5000", "-1", "1.5", "alice", "{user, 7}",
                   "#{a => [1]}", "<<1:3>>", "self()", "make_ref()", "hd(erlang:ports())",
                   "fun lists:seq/2", "<<>>"]
        ],
        %% A fun is no address.
        is(App, true,
            "{error, {bad_request, _}} = gen_server:call(L, {send, fun() -> 1 end, <<>>}), true",
            Node)
    end).

lists_of_ids(Config) ->
    in_site(Config, fun(App, #{node := Node, http := Http}) ->
        Streams = [{Id, held(App, Node, Http, Id)} || Id <- [1, 2, 3, 1000, <<"b">>]],
        Expect = fun(List, Ids) ->
            is(App, {ok, #{connections => length(Ids), queued_bytes => 0}},
                ["gen_server:call(L, {send, ", List, ", <<\"m\">>})"], Node),
            is(App, ok, ["{any, N} ! {", List, ", <<\"again\">>}, ok"], Node),
            [
                begin
                    {_, Stream} = lists:keyfind(Id, 1, Streams),
                    ?assertEqual(<<"m">>, lariat_client:message(Stream)),
                    ?assertEqual(<<"again">>, lariat_client:message(Stream))
                end
             || Id <- Ids
            ]
        end,
        Expect("[1, 2, 3]", [1, 2, 3]),
        Expect("[1000]", [1000]),
        Expect("[1000, 1]", [1000, 1]),
        Expect("[]", []),
        Expect("[<<\"b\">>]", [<<"b">>]),
        Expect("[<<\"b\">>, 1000, 3]", [<<"b">>, 1000, 3]),
        Expect("lists:seq(1, 70000)", [1, 2, 3, 1000]),
        Expect("lists:duplicate(70000, 9)", []),
        Expect("[1 bsl 63, {a}, 3]", [3]),
        %% An improper list is no list of ids, and a list is never an id.
        [
            is(App, true, ["{error, {bad_request, _}} = gen_server:call(L, {send, ", Bad,
                ", <<\"m\">>}), true"], Node)
         || Bad <- ["[1 | 2]", "[1, 2 | <<\"b\">>]", "[[1], 2]", "[1000, \"ab\"]"]
        ],
        is(App, ok, "{any, N} ! {[1 | 2], <<\"never\">>}, ok", Node),
        Expect("[2, 1]", [2, 1])
    end).

%% What our codec refuses though Erlang sends it: counted, never fatal, callers answered.
undecodable_payloads(Config) ->
    in_site(Config, fun(App, #{node := Node} = Edge) ->
        Deep = "lists:foldl(fun(_, T) -> {T} end, x, lists:seq(1, 100000))",
        is(App, ok, ["{any, N} ! ", Deep, ", ok"], Node),
        is(App, {error, {bad_request, unknown}}, ["gen_server:call(L, ", Deep, ")"], Node),
        is(App, {badrpc, notsup}, ["rpc:call(N, lists, seq, [", Deep, "])"], Node),
        is(App, true, ["exit(binary_to_term(", stale(App, Node), "), ", Deep, ")"], Node),
        is(App, pong, "net_adm:ping(N)", Node),
        Counted = <<"lariat_messages_dropped_total{reason=\"undecodable\"}">>,
        ?assert(lariat_site:metric(Edge, Counted) >= 2)
    end).

dropped(Edge, Reason) ->
    lariat_site:metric(Edge,
        <<"lariat_messages_dropped_total{reason=\"", Reason/binary, "\"}">>).
