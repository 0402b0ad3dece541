#!/usr/bin/env escript
%% -*- erlang -*-
%% Records what a real Erlang node sends to a hidden node: `escript fuzz/capture.escript`, from the
%% root, writes fuzz/seeds anew.
%%
%% A listener that shakes hands and from then on only writes down; nothing is answered, so all that
%% would wait for an answer is done by processes of its own. Needs Erlang/OTP 25 or later. The
%% creation is always the same: pids of connections in the seeds are pids of the fuzzed node.
-mode(compile).

-define(NODE, 'lariat@127.0.0.1').
-define(CREATION, 7).
-define(COOKIE, "capture").

main([]) ->
    Options = [binary, {active, false}, {packet, 2}, {ip, {127, 0, 0, 1}}],
    {ok, Listener} = gen_tcp:listen(0, Options),
    {ok, Port} = inet:port(Listener),
    {ok, Peer, _} = peer:start(#{
        name => "app", host => "127.0.0.1", longnames => true,
        connection => standard_io,
        %% Dials this port whatever the name of the node.
        args => ["-start_epmd", "false", "-erl_epmd_port", integer_to_list(Port),
                 "-dist_listen", "false", "-setcookie", ?COOKIE,
                 "-kernel", "logger_level", "critical"]
    }),
    Self = self(),
    spawn_link(fun() -> Self ! {recorded, record(Listener)} end),
    true = peer:call(Peer, net_kernel, connect_node, [?NODE]),
    {ok, Module, Code} = compile:forms(forms(), [binary]),
    {module, Module} = peer:call(Peer, code, load_binary, [Module, "capture", Code]),
    _ = [do(Peer, Text) || Text <- traffic()],
    peer:stop(Peer),
    Bytes = receive {recorded, Recorded} -> Recorded after 20000 -> halt(1) end,
    write(Bytes).

%% One function on the node, that evaluates in a process of its own.
forms() ->
    Text = "run(E, B) -> P = spawn(fun() -> erl_eval:exprs(E, B) end),"
        " timer:sleep(20), exit(P, kill).",
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Function} = erl_parse:parse_form(Tokens),
    [{attribute, 1, module, capture}, {attribute, 1, export, [{run, 2}]}, Function].

do(Peer, Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    Pids = [{'P', pid(1, 16#01000001)}, {'S', pid(1, 16#ff000000)}],
    %% An orddict.
    Bindings = [{'L', {lariat, ?NODE}}, {'N', ?NODE} | Pids],
    true = peer:call(Peer, capture, run, [Expressions, Bindings]).

pid(Id, Serial) ->
    Name = atom_to_binary(?NODE),
    Numbers = <<Id:32, Serial:32, ?CREATION:32>>,
    binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, Numbers/binary>>).

traffic() ->
    [
        "{any, N} ! {123, <<\"Hello\">>}",
        "{any, N} ! {1 bsl 40, <<\"Hello\">>}",
        "{any, N} ! {<<\"alice\">>, [\"Hel\", <<\"lo\">> | <<\"!\">>]}",
        "{any, N} ! {[1, 2, 3], <<\"m\">>}",
        "{any, N} ! {[1000, <<\"b\">>, {user, 7}], \"m\"}",
        "{any, N} ! {#{a => [1.5, <<1:3>>, self()]}, <<\"m\">>}",
        "{any, N} ! {[1 | 2], <<\"m\">>}",
        "{any, N} ! {fun(X) -> X end, <<\"m\">>}",
        "net_adm:ping(N)",
        "gen_server:call(L, {send, [1, 2000], [\"a\", <<\"b\">>]}, 10)",
        "gen_server:call(L, {send, 1, <<\"m\">>, #{event => <<\"e\">>, id => \"7\"}}, 10)",
        "gen_server:call(L, {close, [1, alice], {reason, 1}}, 10)",
        "gen_server:call(L, {close_all, 1000}, 10)",
        "gen_server:call(L, {connections, <<\"alice\">>}, 10)",
        "gen_server:call(L, info, 10)",
        "gen_server:call(L, {attach, self(), #{}}, 10)",
        "gen_server:call(L, detach, 10)",
        "gen_server:call(L, {what, is, <<\"this\">>}, 10)",
        "gen_server:cast(L, {send, 1, <<\"m\">>})",
        "gen_server:send_request(L, {connections, 1})",
        "sys:get_state(L, 10)",
        "gen_event:which_handlers(L)",
        "P ! <<\"direct\">>",
        "P ! {event, <<\"name\">>, <<\"id\">>, <<\"data\">>}",
        "P ! {close, bye}",
        "S ! {1, <<\"to the node\">>}",
        "P ! {io_request, self(), make_ref(), {put_chars, unicode, <<\"x\">>}}",
        "link(P), unlink(P), link(P)",
        "link(S)",
        "monitor(process, P)",
        "demonitor(monitor(process, L))",
        "monitor(process, {other, N})",
        "exit(P, {shutdown, [1, 2, 3]})",
        "exit(P, normal)",
        "rpc:call(N, lists, seq, [1, 2], 10)",
        "spawn_request(N, lists, seq, [1, 2], [link, monitor])",
        "group_leader(P, self())",
        "seq_trace:set_token(label, {a, b}), {any, N} ! {1, <<\"traced\">>}",
        "seq_trace:set_token(label, 17), P ! <<\"traced\">>, exit(P, boom), link(P), exit(bye)",
        "{any, N} ! {1, binary:copy(<<\"x\">>, 3000)}"
    ].

%% The accepting side of the handshake of version 6, then the bytes to the end. The flags are those
%% that the hidden node offers, without fragments.
record(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener, 20000),
    {ok, <<"N", _/binary>>} = gen_tcp:recv(Socket, 0),
    ok = gen_tcp:send(Socket, "sok"),
    Name = atom_to_binary(?NODE),
    Numbers = <<16#d075f5fbc:64, 5:32, ?CREATION:32>>,
    ok = gen_tcp:send(Socket, <<"N", Numbers/binary, (byte_size(Name)):16, Name/binary>>),
    {ok, <<"r", Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0),
    Digest = erlang:md5([?COOKIE, integer_to_list(Challenge)]),
    ok = gen_tcp:send(Socket, <<"a", Digest/binary>>),
    ok = inet:setopts(Socket, [{packet, 4}]),
    frames(Socket).

frames(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Frame} -> [Frame | frames(Socket)];
        {error, closed} -> []
    end.

%% `frames' and `session' get a byte of choices and some frames, `commands' the payloads.
write(Frames) ->
    Whole = [<<(byte_size(Frame)):32, Frame/binary>> || Frame <- Frames],
    Tick = <<0:32>>,
    seeds("frames", [iolist_to_binary([7, Tick | Whole]) | chosen(30, some(Whole))]),
    seeds("session",
        [iolist_to_binary([Choice | Whole]) || Choice <- [0, 1]] ++ chosen(0, short(Whole))),
    seeds("commands", lists:usort(short(lists:flatmap(fun payload/1, Frames)))),
    io:format("~b frames, ~b bytes~n", [length(Frames), iolist_size(Whole)]).

chosen(Choice, Frames) ->
    [<<Choice, Frame/binary>> || Frame <- Frames].

short(Inputs) ->
    [Input || Input <- Inputs, byte_size(Input) < 600].

some(Frames) ->
    [Frame || {Index, Frame} <- lists:enumerate(Frames), Index rem 8 =:= 0].

%% Behind the control message: what has 131 before it.
payload(<<112, 131, Rest/binary>>) ->
    {_, Used} = binary_to_term(<<131, Rest/binary>>, [used]),
    case binary:part(Rest, Used - 1, byte_size(Rest) - Used + 1) of
        <<131, Payload/binary>> -> [Payload];
        <<>> -> []
    end;
payload(_Tick) ->
    [].

seeds(Target, Inputs) ->
    Dir = filename:join("fuzz/seeds", Target),
    _ = [file:delete(Old) || Old <- filelib:wildcard(Dir ++ "/erl-*")],
    _ = [
        begin
            File = filename:join(Dir, io_lib:format("erl-~2..0b", [Index])),
            ok = filelib:ensure_dir(File),
            ok = file:write_file(File, Input)
        end
     || {Index, Input} <- lists:enumerate(Inputs)
    ],
    ok.
