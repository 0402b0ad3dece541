%%% Every term that Erlang and an edge say to each other, by name, and as bytes.
%%%
%%% `test/vectors/terms.txt' is made from this (`escript test/vectors/make.escript') and read by the
%%% suite `lariat_vectors_SUITE' and by `src/term/vectors_test.rs': so both sides mean the
%%% same by the same bytes. One line each: a name, and the term in hexadecimal, without the version
%%% byte. Lists are LIST_EXT and maps in the order written here, as the Rust side writes them:
%%% `term_to_binary' orders atoms in maps by chance and writes [1, 2] as a string.
-module(lariat_vectors).

-export([terms/0, term/1, bytes/1, conn/4, node_name/0, creation/0, write/1, read/1]).

-type vector() :: term() | {'$map', [{term(), vector()}]} | {'$string', [byte()]}.
%% A term; where its bytes must be said exactly, a map or a string.

-spec node_name() -> node().
node_name() -> 'lariat@127.0.0.1'.

-spec creation() -> pos_integer().
creation() -> 7.

%% @doc The pid of a connection, from its numbers: what `src/wire/conn.rs' packs.
-spec conn(0..255, 0..16#FFFFFFFF, 0..16#FFFFFF, pos_integer()) -> pid().
conn(Shard, Slot, Generation, Creation) ->
    Name = atom_to_binary(node_name()),
    Numbers = <<Slot:32, Shard:8, Generation:24, Creation:32>>,
    binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, Numbers/binary>>).

-spec terms() -> [{atom(), vector()}].
terms() ->
    Conn = conn(1, 2, 3, creation()),
    [
        %% Messages to a registered name.
        {deliver_int, {123, <<"Hello">>}},
        {deliver_binary, {<<"alice">>, <<"Hello">>}},
        {deliver_iolist, {1, [<<"Hel">>, [$l, {'$string', "o"}] | <<"!">>]}},
        {deliver_text, {1, {'$string', "Hello"}}},
        {deliver_nobody, {[], <<"m">>}},
        {deliver_string, {{'$string', [1, 2, 3]}, <<"m">>}},
        {deliver_list, {[1000], <<"m">>}},
        {deliver_mixed, {[1, <<"b">>, {user, 7}], <<"m">>}},
        {deliver_text_form, {7, {text, <<"m">>}}},
        {deliver_binary_form, {{'$string', [7, 8]}, {binary, <<"m">>}}},
        {unknown_atom, hello},
        {unknown_improper, {[1 | 2], <<"m">>}},
        {unknown_payload, {1, hello}},
        {unknown_byte, {1, [300]}},
        %% Requests of calls and casts.
        {request_send, {send, 1, <<"m">>}},
        {request_send_many, {send, [1, <<"b">>], [<<"a">>, $b]}},
        {request_send_event,
            {send, 7, <<"m">>, {'$map', [{event, <<"tick">>}, {id, {'$string', "9"}}]}}},
        {request_send_plain, {send, 7, <<"m">>, {'$map', []}}},
        {request_send_binary_event,
            {send, 7, {binary, <<"m">>}, {'$map', [{event, <<"tick">>}]}}},
        {request_close, {close, 7, {kicked, out}}},
        {request_close_many, {close, [7, <<"b">>], bye}},
        {request_close_worded, {close, 7, {4001, <<"bye">>}}},
        {request_close_all, {close_all, 1000}},
        {request_connections, {connections, <<"alice">>}},
        {request_info, info},
        {request_detach, detach},
        {request_attach, {attach, Conn, {'$map', []}}},
        {request_attach_handlers,
            {attach, Conn, {'$map', [{credit, true}, {handlers, [<<"chat">>, <<"a_1-B">>]}]}}},
        {request_is_auth, {is_auth, node_name()}},
        {request_answer_accept, {answer, 1 bsl 40, {accept, <<"alice">>, {'$map', []}}}},
        {request_answer_accept_options,
            {answer, 7, {accept, {user, 7}, {'$map', [
                {headers, [{<<"Set-Cookie">>, <<"a=1">>}, {<<"set-cookie">>, {'$string', "b=2"}}]},
                {heartbeat, 30000}, {when_full, keep_latest}]}}}},
        {request_answer_off, {answer, 7, {accept, 1, {'$map', [{heartbeat, off}]}}}},
        {request_answer_reply,
            {answer, 7, {reply, 200, {'$map', [{<<"content-type">>, <<"text/html">>}]},
                [<<"<p>">>, {'$string', "hi"}]}}},
        {request_answer_reject, {answer, 7, {reject, 403, <<"not today">>}}},
        {request_answer_none, {answer, 7, ok}},
        {request_answer_none_atom, {answer, 7, {reject, 403, forbidden}}},
        {request_answer_none_option, {answer, 7, {accept, 1, {'$map', [{color, red}]}}}},
        {request_answer_none_id, {answer, 7, {accept, [1], {'$map', []}}}},
        {request_answers, {answers, [{7, taken}, {8, {reject, 500, []}}, {9, nothing}]}},
        {request_answers_empty, {answers, []}},
        {bad_answer, {answer, make_it, taken}},
        {bad_answers, {answers, [{7, taken} | taken]}},
        {bad_handlers, {attach, Conn, {'$map', [{handlers, [chat]}]}}},
        {bad_handler_name, {attach, Conn, {'$map', [{handlers, [<<"a b">>]}]}}},
        {bad_send, {send, 1, atom}},
        {bad_rate, {close_all, 0}},
        {bad_connections, {connections, [1]}},
        {bad_event, {send, 1, <<"m">>, {'$map', [{event, <<"a\nb">>}]}}},
        {bad_option, {send, 1, <<"m">>, {'$map', [{color, <<"red">>}]}}},
        %% Messages to the pid of a connection.
        {signal_deliver, <<"m">>},
        {signal_text, {text, <<"m">>}},
        {signal_binary, {binary, [<<"m">>]}},
        {signal_event, {event, <<"tick">>, <<"m">>}},
        {signal_event_id, {event, <<"tick">>, <<"9">>, <<"m">>}},
        {signal_close, close},
        {signal_close_reason, {close, bye}},
        {signal_close_worded, {close, {1000, {'$string', "ok"}}}},
        %% Answers.
        {reply_ok, ok},
        {reply_sent, {ok, {'$map', [{connections, 2}, {queued_bytes, 1 bsl 40}]}}},
        {reply_closed, {ok, {'$map', [{connections, 300}]}}},
        {reply_connections, {ok, [Conn]}},
        {reply_no_connections, {ok, []}},
        {reply_info, {ok, {'$map', [{connections, 3}, {version, <<"1">>}]}}},
        {reply_attached, {ok, {'$map', [{epoch, 1 bsl 50}, {credit, 8388608}]}}},
        {reply_overloaded, {error, overloaded}},
        {reply_stopping, {error, stopping}},
        {reply_owners_limit, {error, owners_limit}},
        %% News.
        {news_snapshot, news([{snapshot, 'begin'}, {snapshot, 'end'}])},
        {news_opened,
            news([{opened, Conn, 123,
                {'$map', [{transport, sse}, {peer, {{127, 0, 0, 1}, 8080}}]}}])},
        {news_opened_v6,
            news([{opened, Conn, <<"alice">>,
                {'$map', [{transport, chunked}, {peer, {{0, 0, 0, 0, 0, 0, 0, 1}, 80}}]}}])},
        {news_opened_unknown_peer, news([{opened, Conn, -1, {'$map', [{transport, sse}]}}])},
        {news_closed,
            news([{closed, Conn, 1, Reason} || Reason <-
                [client, outbox_full, outbox_total, protocol, io, drain, shutdown, unserved,
                    {kicked, out}]])},
        {news_received,
            news([{received, Conn, 1, {text, <<"Hello">>}}, {received, Conn, 1, {binary, <<>>}}])},
        {news_congested, news([{congested, Conn, 1, 1 bsl 16}, {drained, Conn, 1}])},
        {news_overloaded, news([{overloaded, 2, 1 bsl 40}])},
        {news_ack, news([{ack, 1 bsl 33}])},
        {news_opened_handler,
            news([{opened, Conn, 1, {'$map', [{transport, sse}, {handler, <<"chat">>}]}}])},
        {news_request,
            news([{request, 1 bsl 40, {'$map', [
                {kind, stream}, {handler, <<"chat">>}, {method, <<"GET">>},
                {path, <<"/rooms/a%20b">>}, {bindings, {'$map', [{<<"room">>, <<"a b">>}]}},
                {query, <<"x=1">>},
                {headers, {'$map', [{<<"host">>, <<"h">>}, {<<"cookie">>, <<"a=1; b=2">>}]}},
                {peer, {{127, 0, 0, 1}, 8080}}, {body, <<>>}]}}])},
        {news_request_more,
            news([{request, 7, {'$map', [
                {kind, request}, {handler, <<"lariat_publish">>}, {method, <<"POST">>},
                {path, <<"/">>}, {bindings, {'$map', []}}, {query, <<>>},
                {headers, {'$map', []}}, {peer, undefined}, {body, <<"{}">>},
                {claims, {'$map', [{<<"sub">>, <<"alice">>}, {<<"exp">>, 1 bsl 31},
                    {<<"x">>, [1.5, true, false, null, {'$map', []}]}]}},
                {publish, {'$map', [{to, [1, <<"b">>]}, {message, <<"m">>},
                    {subject, <<"s">>}, {event, <<"e">>}, {id, <<"i">>}]}}]}}])},
        {news_batch, news([{batch, 7, <<"clicks">>, [<<"one">>, <<>>]}])},
        %% What an edge in the VM says otherwise: its connections are no pids.
        {vm_reply_connections, {ok, [vm_conn(1, 2, 3)]}},
        {vm_reply_info,
            {ok, {'$map', [{http_addresses, [<<"127.0.0.1:8000">>, <<"[::1]:8000">>]}]}}},
        {vm_news_drained, {lariat, live, (1 bsl 63) + 5, [{drained, vm_conn(1, 2, 3), 1}]}}
    ] ++
        %% Ids: each is the one encoding of its term.
        [{list_to_atom("id_" ++ Name), Id} || {Name, Id} <- [
            {"0", 0}, {"255", 255}, {"256", 256}, {"minus_1", -1},
            {"2_31_minus_1", (1 bsl 31) - 1}, {"2_31", 1 bsl 31}, {"minus_2_31", -(1 bsl 31)},
            {"2_40", 1 bsl 40}, {"2_63_minus_1", (1 bsl 63) - 1}, {"2_63", 1 bsl 63},
            {"minus_2_63", -(1 bsl 63)}, {"minus_2_63_minus_1", -(1 bsl 63) - 1},
            {"2_64", 1 bsl 64}, {"2_3000", 1 bsl 3000}, {"float", 1.5}, {"atom", alice},
            {"atom_unicode", 'ålice'}, {"binary", <<"alice">>}, {"binary_empty", <<>>},
            {"bits", <<1:3>>}, {"bits_more", <<255, 5:7>>},
            {"tuple", {user, 7}}, {"tuple_empty", {}},
            {"tuple_list", {user, [1, 2 | tail]}}, {"map", {'$map', [{a, [1]}]}},
            {"map_two", {'$map', [{1, a}, {2, b}]}}, {"pid", Conn}
        ]] ++
        %% Pids of connections: shard, slot, generation.
        [
            {list_to_atom(lists:flatten(io_lib:format("pid_~b_~b_~b", [Shard, Slot, Generation]))),
                conn(Shard, Slot, Generation, creation())}
         || {Shard, Slot, Generation} <- [{0, 0, 0}, {1, 2, 3}, {254, 16#FFFFFFFF, 16#FFFFFF},
                {128, 1 bsl 31, 1 bsl 23}, {0, 16#FFFFFFF0, 1}]
        ].

%% The same numbers as in a pid.
vm_conn(Shard, Slot, Generation) ->
    {lariat_conn, live, Slot, Shard bsl 24 bor Generation}.

news(Events) ->
    {lariat, node_name(), (1 bsl 63) + 5, Events}.

%% @doc The term that a vector stands for.
-spec term(vector()) -> term().
term({'$map', Pairs}) -> maps:from_list([{Key, term(Value)} || {Key, Value} <- Pairs]);
term({'$string', Text}) -> Text;
term(Tuple) when is_tuple(Tuple) -> list_to_tuple([term(E) || E <- tuple_to_list(Tuple)]);
term([Head | Tail]) -> [term(Head) | term(Tail)];
term(Term) -> Term.

%% @doc Its bytes, without the version byte.
-spec bytes(vector()) -> binary().
bytes({'$map', Pairs}) ->
    Bytes = << <<(bytes(Key))/binary, (bytes(Value))/binary>> || {Key, Value} <- Pairs >>,
    <<116, (length(Pairs)):32, Bytes/binary>>;
bytes({'$string', Text}) ->
    <<107, (length(Text)):16, (list_to_binary(Text))/binary>>;
bytes(Tuple) when is_tuple(Tuple), tuple_size(Tuple) < 256 ->
    Elements = << <<(bytes(Element))/binary>> || Element <- tuple_to_list(Tuple) >>,
    <<104, (tuple_size(Tuple)), Elements/binary>>;
bytes([_ | _] = List) ->
    {Count, Elements} = elements(List, 0, <<>>),
    <<108, Count:32, Elements/binary>>;
bytes(Atom) when is_atom(Atom) ->
    Name = atom_to_binary(Atom),
    <<119, (byte_size(Name)), Name/binary>>;
bytes(Pid) when is_pid(Pid) ->
    %% OTP 25 writes the node in Latin-1 here, though not on a link.
    case term_to_binary(Pid) of
        <<131, 88, 100, Size:16, Name:Size/binary, Numbers/binary>> ->
            <<88, 119, Size, Name/binary, Numbers/binary>>;
        <<131, Bytes/binary>> ->
            Bytes
    end;
bytes(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

elements([Head | Tail], Count, Bytes) ->
    elements(Tail, Count + 1, <<Bytes/binary, (bytes(Head))/binary>>);
elements(Tail, Count, Bytes) ->
    {Count, <<Bytes/binary, (bytes(Tail))/binary>>}.

%% @doc Writes them all.
-spec write(file:filename()) -> ok.
write(File) ->
    Lines = [[atom_to_list(Name), " ", hex(bytes(Vector)), "\n"] || {Name, Vector} <- terms()],
    file:write_file(File, Lines).

%% @doc Reads what was written.
-spec read(file:filename()) -> [{atom(), binary()}].
read(File) ->
    {ok, Text} = file:read_file(File),
    [
        begin
            [Name, Hex] = binary:split(Line, <<" ">>),
            Bytes = << <<(binary_to_integer(Two, 16))>> || <<Two:2/binary>> <= Hex >>,
            {binary_to_atom(Name), Bytes}
        end
     || Line <- binary:split(Text, <<"\n">>, [global, trim_all])
    ].

hex(Bytes) ->
    [io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= Bytes].
