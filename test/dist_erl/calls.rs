//! What Erlang asks and is answered: pings, calls, refusals, messages as they are.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn ping_is_pong_and_the_node_is_hidden() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
    app.check("{nodes(), nodes(hidden)}", "{[],['lariat@127.0.0.1']}");
    app.check(
        "{ok, Names} = net_adm:names(), proplists:get_value(\"lariat\", Names)",
        &edge.node.listen_address().port().to_string(),
    );
    wait_for("the link", || edge.is_linked());
    edge.node.stop().await;
    app.check("net_adm:ping(N)", "pang");
    assert_eq!(edge.metrics.links_down.of(LinkDown::Shutdown).value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_and_unknown_ones_refused() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check(
        "gen_server:call(L, info)",
        "{ok,#{connections => 3,version => <<\"1\">>}}",
    );
    assert!(matches!(edge.command(), Command::Info));
    app.check(
        "gen_server:call(L, {send, [1, <<\"b\">>], [\"hel\", <<\"lo\">>]})",
        "{ok,#{connections => 2,queued_bytes => 5}}",
    );
    let many = Ids::Many(vec![Id::Int(1), Id::Bin((*b"b").into())]);
    assert_eq!(edge.delivered(), (many, b"hello".to_vec()));
    app.check(
        "gen_server:call(L, {send, 7, <<\"x\">>, #{event => \"tick\", id => <<\"9\">>}})",
        "{ok,#{connections => 1,queued_bytes => 1}}",
    );
    let Command::Send { message, .. } = edge.command() else {
        panic!("a send");
    };
    let meta = message.meta.expect("it has an event name");
    assert_eq!(meta.event.as_deref(), Some(&b"tick"[..]));
    assert_eq!(meta.id.as_deref(), Some(&b"9"[..]));
    app.check(
        "gen_server:call(L, {close, 7, {kicked, out}})",
        "{ok,#{connections => 1}}",
    );
    let Command::Close {
        ids,
        reason: Reason::Asked(term),
    } = edge.command()
    else {
        panic!("a close");
    };
    assert_eq!(
        (ids, &term[..]),
        (Ids::One(Id::Int(7)), &b"h\x02w\x06kickedw\x03out"[..])
    );
    app.check(
        "gen_server:call(L, {close_all, 100})",
        "{ok,#{connections => 1}}",
    );
    assert!(matches!(
        edge.command(),
        Command::CloseAll { per_second: 100 }
    ));
    app.check(
        "{ok, [P]} = gen_server:call(L, {connections, 7}), node(P)",
        "'lariat@127.0.0.1'",
    );
    assert!(matches!(
        edge.command(),
        Command::Connections { id: Id::Int(7) }
    ));
    app.check("gen_server:cast(L, {send, 7, <<\"y\">>})", "ok");
    assert_eq!(edge.delivered(), (Ids::One(Id::Int(7)), b"y".to_vec()));
    for bad in [
        "nonsense",
        "{send,7,no_iodata}",
        "{send,7,<<>>,#{event => <<\"a\\nb\">>}}",
        "{close_all,0}",
        "{connections,[1,2]}",
    ] {
        app.check(
            &format!("gen_server:call(L, {bad}) =:= {{error, {{bad_request, {bad}}}}}"),
            "true",
        );
    }
    app.check(
        "gen_server:call(L, {nonsense, lists:seq(1000, 2000)})",
        "{error,{bad_request,unknown}}",
    );
    assert_eq!(edge.metrics.dropped.of(Dropped::UnknownShape).value(), 6);
    app.check(
        "gen_server:multi_call([N], lariat, info) =:= {[{N, gen_server:call(L, info)}], []}",
        "true",
    );
    assert!(matches!(edge.command(), Command::Info));
    assert!(matches!(edge.command(), Command::Info));
    app.check(
        "gen_server:abcast([N], lariat, {send, 7, <<\"z\">>})",
        "abcast",
    );
    assert_eq!(edge.payload(), b"z");
    // Other kinds of calls end at once, too.
    app.check(
        "try sys:get_state(L, infinity) catch _:_ -> refused end",
        "refused",
    );
    app.check(
        "gen_event:which_handlers(L)",
        "{error,{bad_request,unknown}}",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_shell_user_tries_hangs() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.eval(
        "Down = fun(What) -> R = monitor(process, What), \
         receive {'DOWN', R, process, _, Why} -> Why after 10000 -> hang end end.",
    );
    app.eval("{ok, [P]} = gen_server:call(L, {connections, 7}).");
    app.check(
        "try gen_server:call({nobody, N}, x, infinity) catch exit:{W, _} -> W end",
        "noproc",
    );
    app.check("Down({nobody, N})", "noproc");
    app.check(
        "R = monitor(process, L), pong = net_adm:ping(N), \
         receive {'DOWN', R, _, _, W} -> W after 0 -> demonitor(R, [flush]) end",
        "true",
    );
    app.eval("process_flag(trap_exit, true).");
    app.check("rpc:call(N, erlang, now, [])", "{badrpc,notsup}");
    app.check(
        "rpc:multicall([N], erlang, now, [])",
        "{[{badrpc,notsup}],[]}",
    );
    app.check(
        "try erpc:call(N, erlang, now, []) catch error:E -> E end",
        "{erpc,notsup}",
    );
    app.check(
        "S = spawn_link(N, lists, seq, [1, 2]), receive {'EXIT', S, W} -> W after 10000 -> hang end",
        "notsup",
    );
    app.check(
        "try io:format(P, \"x\", []) catch error:_ -> refused end",
        "refused",
    );
    app.check("gen_server:call(P, x)", "{error,{bad_request,x}}");
    assert!(edge.metrics.spawns_refused.value() >= 4);
    assert_eq!(edge.metrics.unknown_controls.value(), 0);
    assert_eq!(edge.metrics.links_down.of(LinkDown::Malformed).value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_messages_arrive_as_they_are() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    let one = Ids::One;
    let ints = |ids: &[i64]| Ids::Ints(ids.to_vec());
    let big = [110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128];
    let cases: [(&str, Ids); 19] = [
        ("0", one(Id::Int(0))),
        ("255", one(Id::Int(255))),
        ("256", one(Id::Int(256))),
        ("1 bsl 31", one(Id::Int(1 << 31))),
        ("1 bsl 40", one(Id::Int(1 << 40))),
        ("-5", one(Id::Int(-5))),
        ("-(1 bsl 63)", one(Id::Int(i64::MIN))),
        ("1 bsl 63", one(Id::Term(big.into()))),
        ("<<\"alice\">>", one(Id::Bin((*b"alice").into()))),
        ("alice", one(Id::Term((*b"w\x05alice").into()))),
        (
            "{user,[1,2]}",
            one(Id::Term((*b"h\x02w\x04userl\0\0\0\x02a\x01a\x02j").into())),
        ),
        ("#{}", one(Id::Term((*b"t\0\0\0\0").into()))),
        ("[]", ints(&[])),
        ("[1,2,3]", ints(&[1, 2, 3])),
        ("[1000]", ints(&[1000])),
        ("[-1,1 bsl 40]", ints(&[-1, 1 << 40])),
        ("lists:seq(1,3)", ints(&[1, 2, 3])),
        (
            "[<<\"a\">>,7]",
            Ids::Many(vec![Id::Bin((*b"a").into()), Id::Int(7)]),
        ),
        ("1.5", one(Id::Term((*b"F\x3f\xf8\0\0\0\0\0\0").into()))),
    ];
    for (term, ids) in cases {
        app.check(&format!("{{any, N}} ! {{{term}, <<\"m\">>}}, ok"), "ok");
        assert_eq!(edge.delivered(), (ids, b"m".to_vec()), "{term}");
    }
    for (term, message) in [
        ("<<>>", &b""[..]),
        ("\"hello\"", b"hello"),
        ("[<<\"he\">>, [\"ll\" | <<\"o\">>]]", b"hello"),
        ("[]", b""),
    ] {
        app.check(&format!("L ! {{7, {term}}}, ok"), "ok");
        assert_eq!(
            edge.delivered(),
            (Ids::One(Id::Int(7)), message.to_vec()),
            "{term}"
        );
    }
    app.check("{any, N} ! {7, binary:copy(<<\"x\">>, 1000000)}, ok", "ok");
    assert_eq!(edge.payload().len(), 1_000_000);
    // What cannot be delivered is counted, and the link stays.
    for unknown in [
        "hello",
        "{7, hello}",
        "{[1|2], <<>>}",
        "{7, 8, <<>>}",
        "{fun() -> ok end, <<>>}",
    ] {
        app.check(&format!("{{any, N}} ! {unknown}, ok"), "ok");
    }
    app.check(
        "seq_trace:set_token(label, {a, b}), L ! {7, <<\"traced\">>}, ok",
        "ok",
    );
    assert_eq!(edge.payload(), b"traced");
    assert_eq!(edge.metrics.dropped.of(Dropped::UnknownShape).value(), 5);
    assert!(edge.is_linked());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_sends_stays_in_order_whatever_the_way_it_takes() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    // Integers are recognised in the frame, atoms are not, casts are casts.
    app.check(
        "[begin {x, N} ! {I, <<\"m\">>}, {x, N} ! {[a], <<\"m\">>}, \
         gen_server:cast(L, {close, I, out}), {x, N} ! {[I, I], [<<\"m\">>]} end \
         || I <- lists:seq(1000, 1499)], element(1, gen_server:call(L, info))",
        "ok",
    );
    for id in (1000..1500).map(Id::Int) {
        assert_eq!(edge.delivered().0, Ids::One(id.clone()));
        assert!(matches!(edge.delivered().0, Ids::Many(ids) if ids.len() == 1));
        let closed = edge.command();
        assert!(matches!(closed, Command::Close { ids: Ids::One(closed), .. } if closed == id));
        assert_eq!(edge.delivered().0, Ids::list(vec![id.clone(), id]));
    }
    assert!(matches!(edge.command(), Command::Info));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_60_mib_arrives_and_a_larger_one_than_allowed_is_skipped() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check(
        "L ! {7, binary:copy(<<\"x\">>, 60 bsl 20)}, net_adm:ping(N)",
        "pong",
    );
    assert_eq!(edge.payload().len(), 60 << 20);
    app.check(
        "L ! {7, binary:copy(<<\"x\">>, 64 bsl 20)}, net_adm:ping(N)",
        "pong",
    );
    assert_eq!(edge.metrics.dropped.of(Dropped::TooLarge).value(), 1);
    for reason in LinkDown::ALL {
        assert_eq!(edge.metrics.links_down.of(*reason).value(), 0, "{reason:?}");
    }
}
