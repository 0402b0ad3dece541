//! Connections as processes, and the processes that are owners.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_processes() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.eval("{ok, [P]} = gen_server:call(L, {connections, 7}).");
    edge.command();
    let signal = |app: &mut Erl, expressions: &str| {
        app.check(&format!("{expressions}, ok"), "ok");
        match edge.command() {
            Command::Signal { conn: CONN, signal } => signal,
            other => panic!("{other:?} is no signal to the connection"),
        }
    };
    let Signal::Deliver(message) = signal(&mut app, "P ! [\"hel\", <<\"lo\">>]") else {
        panic!("a delivery");
    };
    assert_eq!(message.payload, "hello");
    let Signal::Deliver(message) = signal(&mut app, "P ! {event, \"tick\", <<\"3\">>, \"data\"}")
    else {
        panic!("a delivery");
    };
    assert_eq!(
        message.meta.and_then(|meta| meta.id).as_deref(),
        Some(&b"3"[..])
    );
    let closes = ["P ! close", "P ! {close, bye}", "exit(P, kicked)"];
    let terms: [&[u8]; 3] = [b"w\x06normal", b"w\x03bye", b"w\x06kicked"];
    for (expressions, term) in closes.into_iter().zip(terms) {
        let Signal::Close(Reason::Asked(asked)) = signal(&mut app, expressions) else {
            panic!("a close");
        };
        assert_eq!(asked, term);
    }
    app.check("exit(P, normal), pong = net_adm:ping(N)", "pong");
    let Signal::Abort(Reason::Asked(killed)) = signal(&mut app, "exit(P, kill)") else {
        panic!("an end without a goodbye");
    };
    assert_eq!(killed, b"w\x06killed"[..]);
    assert!(edge.seen.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_and_links_of_connections() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.watches_max = 4).await;
    let mut app = app(&epmd);
    app.eval("{ok, [P]} = gen_server:call(L, {connections, 7}).");
    edge.command();
    app.eval("process_flag(trap_exit, true).");
    let watch = || match edge.command() {
        Command::Watch {
            conn: CONN,
            watcher,
        } => watcher,
        other => panic!("{other:?} is no watch"),
    };
    let unwatched = || {
        assert!(matches!(
            edge.command(),
            Command::Unwatch { conn: CONN, .. }
        ))
    };
    // The edge hears of the first and of the last only.
    app.eval("M1 = monitor(process, P).");
    let watcher = watch();
    app.eval("M2 = monitor(process, P), link(P).");
    app.check(
        "true = demonitor(M1), unlink(P), pong = net_adm:ping(N)",
        "pong",
    );
    assert_eq!(edge.metrics.watches.value(), 1);
    app.eval("demonitor(M2).");
    unwatched();
    assert_eq!(edge.metrics.watches.value(), 0);
    // Each is told once, with the reason; what comes twice, or for nobody, is nothing.
    app.eval("{M3, M4, true} = {monitor(process, P), monitor(process, P), link(P)}.");
    assert_eq!(watch(), watcher);
    app.check("pong = net_adm:ping(N)", "pong");
    let client = Gone::Closed(Reason::Client);
    edge.node.gone(watcher, CONN, &client);
    edge.node.gone(watcher, CONN, &client);
    edge.node.gone(Watcher(watcher.0 + 1), CONN, &client);
    app.check(
        "lists:sort([lariat_eval:next(), lariat_eval:next(), lariat_eval:next()]) =:= \
         lists:sort([{'EXIT', P, client} | [{'DOWN', M, process, P, client} || M <- [M3, M4]]])",
        "true",
    );
    assert_eq!(edge.metrics.watches.value(), 0);
    // What the edge did not look up, and what is one too many.
    for (number, (gone, reason)) in [
        (Gone::Before, "noproc"),
        (Gone::Overloaded, "system_limit"),
        (
            Gone::Closed(Reason::Asked((&b"h\x01w\x03bye"[..]).into())),
            "{bye}",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        app.eval(&format!("R{number} = monitor(process, P)."));
        edge.node.gone(watch(), CONN, &gone);
        app.check(
            &format!("{{'DOWN', R{number}, process, P, W}} = lariat_eval:next(), W"),
            reason,
        );
    }
    app.eval("[monitor(process, P) || _ <- [1, 2, 3, 4]].");
    watch();
    app.check(
        "monitor(process, P), element(5, lariat_eval:next())",
        "system_limit",
    );
    app.check(
        "link(P), lariat_eval:next() =:= {'EXIT', P, system_limit}",
        "true",
    );
    assert_eq!(edge.metrics.watches_refused.value(), 3);
    assert_eq!(edge.metrics.watches.value(), 4);
    // All vanishes with the link.
    app.eval("erlang:disconnect_node(N).");
    assert!(matches!(edge.command(), Command::Forget { watcher: gone } if gone == watcher));
    assert_eq!(edge.metrics.watches.value(), 0);
    app.check("[noconnection = element(5, lariat_eval:next()) || _ <- [1, 2, 3, 4]], pong = net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_the_process_that_it_is_linked_to() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.eval("{ok, [P]} = gen_server:call(L, {connections, 7}).");
    edge.command();
    for (why, term) in [
        ("boom", Some(&b"w\x04boom"[..])),
        ("normal", None),
        // A native record, say, would not be decodable; a long one is not kept.
        ("lists:seq(1000, 2000)", Some(b"w\x0freason_too_long")),
    ] {
        app.check(
            &format!("spawn(fun() -> link(P), exit({why}) end), ok"),
            "ok",
        );
        assert!(matches!(edge.command(), Command::Watch { conn: CONN, .. }));
        assert!(matches!(
            edge.command(),
            Command::Unwatch { conn: CONN, .. }
        ));
        if let Some(term) = term {
            let Command::Signal {
                signal: Signal::Close(Reason::Asked(asked)),
                ..
            } = edge.command()
            else {
                panic!("the connection closes");
            };
            assert_eq!(asked, term);
        }
    }
    app.check("pong = net_adm:ping(N)", "pong");
    assert!(edge.seen.try_recv().is_err());
    assert_eq!(edge.metrics.watches.value(), 0);
}

/// Thousands of connections close at once while the peer reads slowly: the link lives, and every
/// monitor is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_mass_of_downs_does_not_cost_the_link() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.send_queue_bytes_max = 64 * 1024).await;
    let mut app = app_with(&epmd, &SMALL_SOCKETS);
    app.eval("{ok, [P]} = gen_server:call(L, {connections, 7}).");
    edge.command();
    app.eval("Ms = [monitor(process, P) || _ <- lists:seq(1, 20000)].");
    let Command::Watch { conn, watcher } = edge.command() else {
        panic!("a watch");
    };
    wait_for("the monitors", || edge.metrics.watches.value() == 20_000);
    app.signal("STOP");
    let reason = Reason::Asked([&b"m\0\0\x03\xe8"[..], &[b'x'; 1000]].concat().into());
    edge.node.gone(watcher, conn, &Gone::Closed(reason));
    assert!(
        edge.metrics.watches.value() > 0,
        "not all fit into the queue"
    );
    app.signal("CONT");
    app.check(
        "lists:sort([receive {'DOWN', M, process, P, _} -> M after 10000 -> hang end || _ <- Ms]) \
         =:= lists:sort(Ms)",
        "true",
    );
    assert_eq!(edge.metrics.watches.value(), 0);
    app.check("receive X -> X after 0 -> net_adm:ping(N) end", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_hear_events_until_they_die_or_detach() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check(
        "{ok, #{epoch := 5, credit := C}} = gen_server:call(L, {attach, self(), #{}}), C",
        "1000",
    );
    let owner = edge.attached();
    let opened = Event::Opened {
        conn: CONN,
        id: Id::Bin((*b"alice").into()),
        info: OpenedInfo {
            transport: Transport::Sse,
            peer: Some("127.0.0.1:1234".parse().unwrap()),
            handler: None,
        },
    };
    let closed = Event::Closed {
        conn: CONN,
        id: Id::Int(-1),
        reason: Reason::OutboxFull,
    };
    let overloaded = Event::Overloaded {
        count: 2,
        bytes: 1 << 40,
    };
    let batch = [
        Event::SnapshotBegin,
        opened,
        Event::SnapshotEnd,
        closed,
        overloaded,
    ];
    edge.node.events(owner, u64::MAX, &batch).unwrap();
    app.check(
        "{lariat, N, E, [{snapshot,'begin'}, {opened,P,<<\"alice\">>,I}, {snapshot,'end'}, \
         {closed,P,-1,outbox_full}, {overloaded,2,B}]} = lariat_eval:next(), \
         {E, I, B, node(P) =:= N}",
        "{18446744073709551615,#{peer => {{127,0,0,1},1234},transport => sse},1099511627776,true}",
    );
    app.check(
        "{ok, #{epoch := 5, credit := C}} = gen_server:call(L, {attach, self(), #{}}), C",
        "1000",
    );
    assert_eq!(edge.attached(), owner, "the same process is the same owner");
    app.check("gen_server:call(L, detach)", "ok");
    assert!(matches!(edge.command(), Command::Detach { owner: gone } if gone == owner));
    app.check("gen_server:call(L, detach)", "ok");
    app.check(
        "gen_server:call(L, {attach, list_to_pid(\"<0.1.0>\"), bad}) =/= ok",
        "true",
    );

    let spawned = "spawn(fun() -> R = gen_server:call(L, {attach, self(), #{}}), \
                   receive die -> R end end)";
    app.eval(&format!("Mortal = {spawned}."));
    let mortal = edge.attached();
    assert_ne!(mortal, owner);
    app.check("exit(Mortal, kill)", "true");
    assert!(matches!(edge.next(), Seen::Gone(gone) if gone == mortal));

    app.eval(&format!("Lost = {spawned}."));
    let lost = edge.attached();
    app.kill();
    assert!(matches!(edge.next(), Seen::Gone(gone) if gone == lost));
    edge.node.events(lost, 1, &batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_to_the_credited_name_are_on_the_credit_of_who_asked_last() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.eval("C = {lariat_credited, N}.");
    app.check("C ! {1, <<>>}", "{1,<<>>}");
    assert_eq!(edge.credit(), None, "nobody has asked");
    let attach = |options| {
        format!(
            "spawn(fun() -> {{ok, _}} = gen_server:call(L, {{attach, self(), {options}}}), \
             receive die -> ok end end)"
        )
    };
    app.eval(&format!("First = {}.", attach("#{credit => true}")));
    let first = edge.attached();
    app.eval(&format!(
        "Other = {}.",
        attach("#{credit => false, more => x}")
    ));
    edge.attached();
    for send in [
        "C ! {1, <<>>}",
        "C ! {[1, 2], [<<>>]}",
        "gen_server:cast(C, {send, 1, <<>>, #{event => <<\"e\">>}})",
    ] {
        app.eval(&format!("{send}."));
        assert_eq!(edge.credit(), Some(first), "{send}");
    }
    for send in [
        "{lariat, N} ! {1, <<>>}",
        "{any, N} ! {1, <<>>}",
        "gen_server:cast(L, {send, 1, <<>>})",
        "gen_server:call(L, {send, 1, <<>>})",
    ] {
        app.eval(&format!("{send}."));
        assert_eq!(edge.credit(), None, "{send}");
    }
    app.eval(&format!("Second = {}.", attach("#{credit => true}")));
    let second = edge.attached();
    app.eval("C ! {1, <<>>}.");
    assert_eq!(edge.credit(), Some(second));
    edge.node
        .events(second, 1, &[Event::Ack { bytes: 1 << 40 }])
        .unwrap();
    app.check("net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_refused_while_the_peer_does_not_read() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.send_queue_bytes_max = 1024 * 1024).await;
    let mut app = app_with(&epmd, &SMALL_SOCKETS);
    app.check(
        "{ok, #{epoch := 5, credit := C}} = gen_server:call(L, {attach, self(), #{}}), C",
        "1000",
    );
    let owner = edge.attached();
    app.signal("STOP");
    let batch = vec![Event::Overloaded { count: 1, bytes: 1 }; 1000];
    let mut sent = 0;
    while edge.node.events(owner, 1, &batch).is_ok() {
        sent += 1;
        assert!(sent < 100_000, "socket buffers end somewhere");
    }
    assert_eq!(edge.metrics.dist_busy.value(), 1);
    app.signal("CONT");
    wait_for("room", || {
        edge.node.events(owner, 2, &[Event::SnapshotBegin]).is_ok()
    });
    app.eval(
        "Count = fun Count(C) -> case lariat_eval:next() of \
         {lariat, _, 1, Es} -> 1000 = length(Es), Count(C + 1); {lariat, _, 2, _} -> C end end.",
    );
    app.check("Count(0)", &sent.to_string());
}
