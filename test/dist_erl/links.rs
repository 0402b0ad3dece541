//! How links come and go: handshakes in both roles, EPMD and without, ticks, hostile peers.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_cookie_is_refused_in_both_directions() {
    let epmd = Epmd::start();
    let mut app = Erl::start(epmd.port, APP, "other", &[]);
    let edge = Edge::with(&epmd, |config| {
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    let cookie = edge.metrics.handshakes_failed.of(HandshakeFailed::Cookie);
    wait_for("our dial to be refused", || cookie.value() > 0);
    app.check("net_adm:ping('lariat@127.0.0.1')", "pang");
    assert_eq!(edge.node.links(), []);
    // The right cookie, for this node alone.
    app.check("erlang:set_cookie('lariat@127.0.0.1', biscuit)", "true");
    wait_for("our dial", || edge.is_linked());
    app.check("net_adm:ping('lariat@127.0.0.1')", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whom_the_list_allows_may_come() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| {
        config.allow = vec!["friend@127.0.0.1".parse().unwrap()];
    })
    .await;
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pang");
    let refused = edge.metrics.handshakes_failed.of(HandshakeFailed::Refused);
    wait_for("it to be counted", || refused.value() > 0);
    // Nobody may come under our own name.
    let mut twin = ScriptedPeer::dial(edge.node.listen_address(), US, COOKIE);
    assert_eq!(twin.status(), "not_allowed");
    assert!(twin.is_hung_up());
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Name);
    wait_for("it to be counted", || failed.value() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_linked_again_when_it_is_back() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| {
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    let mut first = app(&epmd);
    wait_for("the first link", || edge.is_linked());
    first.check("net_adm:ping(N)", "pong");
    first.kill();
    wait_for("the loss", || edge.node.links().is_empty());
    let mut second = app(&epmd);
    wait_for("the second link", || edge.is_linked());
    second.check("net_adm:ping(N)", "pong");
    assert_eq!(edge.metrics.links_down.of(LinkDown::Peer).value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lingering_link_is_replaced_when_the_peer_dials_again() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut ghost = ScriptedPeer::dial(edge.node.listen_address(), APP, COOKIE);
    assert_eq!(ghost.status(), "ok");
    ghost.prove();
    wait_for("the ghost's link", || edge.is_linked());
    // Who does not know the cookie cannot disturb the link by claiming its name.
    let mut thief = ScriptedPeer::dial(edge.node.listen_address(), APP, "guess");
    assert_eq!(thief.status(), "alive");
    drop(thief);
    assert!(edge.is_linked());
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
    assert!(ghost.is_hung_up());
    wait_for("its end", || {
        edge.metrics.links_down.of(LinkDown::Replaced).value() == 1
    });
    assert!(edge.is_linked());
}

#[tokio::test(flavor = "multi_thread")]
async fn we_replace_a_lingering_link_of_our_own_when_we_dial_again() {
    let epmd = Epmd::start();
    let mut app = app(&epmd);
    let port = app.eval("{ok, Names} = net_adm:names(), proplists:get_value(\"app\", Names).");
    let mut ghost = ScriptedPeer::dial(("127.0.0.1", port.parse().unwrap()), US, COOKIE);
    assert_eq!(ghost.status(), "ok");
    ghost.prove();
    let edge = Edge::with(&epmd, |config| {
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    wait_for("the link", || edge.is_linked());
    assert!(ghost.is_hung_up());
    app.check("net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_simultaneous_dials_the_greater_name_keeps_its_own() {
    for (name, verdict) in [
        ("zeta@127.0.0.1", "ok_simultaneous"),
        ("alpha@127.0.0.1", "nok"),
    ] {
        let epmd = Epmd::start();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let edge = Edge::with(&epmd, |config| {
            config.connect = vec![format!("{name}:{port}").parse().unwrap()];
        })
        .await;
        let mut dialled = ScriptedPeer::accept(&listener, name, COOKIE);
        let mut dialling = ScriptedPeer::dial(edge.node.listen_address(), name, COOKIE);
        assert_eq!(dialling.status(), verdict);
        if verdict == "nok" {
            assert!(dialling.is_hung_up());
            dialled.welcome();
        } else {
            dialling.prove();
            dialled.say("nok");
            assert!(dialled.is_hung_up());
        }
        wait_for("the one link", || {
            edge.node.links() == [name.parse().unwrap()]
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_than_the_dialled_one_is_no_link() {
    let epmd = Epmd::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let edge = Edge::with(&epmd, |config| {
        config.connect = vec![format!("expected@127.0.0.1:{port}").parse().unwrap()];
    })
    .await;
    let mut other = ScriptedPeer::accept(&listener, "other@127.0.0.1", COOKIE);
    other.challenge();
    assert!(other.is_hung_up());
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Name);
    wait_for("it to be counted", || failed.value() > 0);
    assert_eq!(edge.node.links(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_bounded_in_number_and_time() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.handshakes_max = 1).await;
    let mut slow = ScriptedPeer::dial(edge.node.listen_address(), APP, COOKIE);
    assert_eq!(slow.status(), "ok");
    let mut one_too_many = ScriptedPeer::dial(edge.node.listen_address(), APP, COOKIE);
    assert!(one_too_many.is_hung_up());
    let limit = edge.metrics.handshakes_failed.of(HandshakeFailed::Limit);
    wait_for("the one too many to be counted", || limit.value() == 1);
    slow.prove();
    wait_for("the link", || edge.is_linked());
    edge.node.stop().await;
    let edge = Edge::with(&epmd, |config| {
        config.handshake_timeout = Duration::from_millis(500);
    })
    .await;
    let mut slow = ScriptedPeer::dial(edge.node.listen_address(), APP, COOKIE);
    assert!(slow.is_hung_up());
    let timeout = edge.metrics.handshakes_failed.of(HandshakeFailed::Timeout);
    wait_for("the slow one to be counted", || timeout.value() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dialling_each_other_at_once_always_ends_in_one_link() {
    let epmd = Epmd::start();
    for peer in ["alpha@127.0.0.1", "zeta@127.0.0.1"] {
        let mut app = Erl::start(epmd.port, peer, COOKIE, &[]);
        app.eval(
            "Try = fun Try(0) -> pang; Try(C) -> case net_adm:ping('lariat@127.0.0.1') of \
             pong -> pong; pang -> Try(C - 1) end end.",
        );
        for _ in 0..10 {
            // It begins to dial as soon as the name is registered, as we do.
            app.begin("Try(100000).");
            let edge = Edge::with(&epmd, |config| {
                config.connect = vec![peer.parse().unwrap()];
            })
            .await;
            assert_eq!(app.result(), "pong");
            wait_for("the link", || edge.node.links() == [name(peer)]);
            edge.node.stop().await;
            wait_for("its end", || app.eval("nodes(hidden).") == "[]");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_only_their_own_link() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.frame_bytes_max = 1024).await;
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
    let hostile: [(&[u8], LinkDown); 3] = [
        (b"\0\0\0\x03\x70\x83\x6a", LinkDown::Malformed),
        (
            b"\0\0\0\x08\x70\x83\x6c\xff\xff\xff\xff\x6a",
            LinkDown::Malformed,
        ),
        (b"\x7f\xff\xff\xff\x70\x83", LinkDown::FrameTooLarge),
    ];
    for (bytes, _) in hostile {
        let mut peer = ScriptedPeer::dial(edge.node.listen_address(), "evil@127.0.0.1", COOKIE);
        peer.status();
        peer.prove();
        std::io::Write::write_all(&mut peer.stream, bytes).unwrap();
        assert!(peer.is_hung_up());
        wait_for("its end", || edge.is_linked());
    }
    // A payload that cannot be decoded, or an unknown operation, ends nothing.
    let mut peer = ScriptedPeer::dial(edge.node.listen_address(), "odd@127.0.0.1", COOKIE);
    peer.status();
    peer.prove();
    let record = b"\x70\x83h\x04a\x06jjw\x03any\x83\x43\x00\x00";
    let unknown = b"\x70\x83h\x02acj";
    for body in [&record[..], unknown] {
        let frame = [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
        std::io::Write::write_all(&mut peer.stream, &frame).unwrap();
    }
    wait_for("both to be counted", || {
        edge.metrics.dropped.of(Dropped::Undecodable).value() == 1
            && edge.metrics.unknown_controls.value() == 1
    });
    assert_eq!(edge.node.links().len(), 2);
    for (_, reason) in hostile {
        assert!(edge.metrics.links_down.of(reason).value() > 0);
    }
    app.check("net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_that_one_peer_finds_costs_its_link_only() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    let mut finder = Erl::start(epmd.port, "finder@127.0.0.1", COOKIE, &[]);
    app.check("net_adm:ping(N)", "pong");
    finder.eval(&format!(
        "N = '{US}', pong = net_adm:ping(N), true = monitor_node(N, true)."
    ));
    finder.check(
        &format!(
            "gen_server:cast({{lariat, N}}, {{close_all, {BUG}}}), receive {{nodedown, N}} -> ok end"
        ),
        "ok",
    );
    wait_for("the link's end", || {
        edge.metrics.links_down.of(LinkDown::Panic).value() == 1
    });
    finder.check("net_adm:ping(N)", "pong");
    app.check("net_adm:ping(N)", "pong");
    assert_eq!(edge.metrics.links_down.of(LinkDown::Panic).value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_registered_again_when_epmd_is_back() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let taken = Config {
        epmd: Some(epmd.port),
        ..config()
    };
    let (inbound, _seen) = recorder();
    let error = dist::start(taken, inbound, Arc::default())
        .await
        .unwrap_err();
    assert!(matches!(error, dist::Error::NameTaken(_)), "{error}");
    let port = epmd.port;
    drop(epmd);
    let epmd = Epmd::start_at(port);
    wait_for("the registration", || {
        edge.metrics.epmd_registrations.value() == 2
    });
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_epmd_both_sides_can_dial() {
    let no_epmd = free_port();
    let offline = |config: &mut Config| config.epmd = None;
    // Erlang dials a port that it was told.
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, offline).await;
    let port = edge.node.listen_address().port().to_string();
    let mut app = Erl::start(
        no_epmd,
        APP,
        COOKIE,
        &["-erl_epmd_port", &port, "-dist_listen", "false"],
    );
    app.check("net_adm:ping('lariat@127.0.0.1')", "pong");
    edge.node.stop().await;
    drop(app);
    // We dial a port that we were told.
    let port = free_port().to_string();
    let range = [
        "-kernel",
        "inet_dist_listen_min",
        &port,
        "inet_dist_listen_max",
        &port,
    ];
    let mut app = app_with(&epmd, &range);
    let edge = Edge::with(&epmd, |config| {
        offline(config);
        config.connect = vec![format!("{APP}:{port}").parse().unwrap()];
    })
    .await;
    wait_for("the link", || edge.is_linked());
    app.check("net_adm:ping(N)", "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_keep_an_idle_link_and_silence_ends_it() {
    let epmd = Epmd::start();
    let tick_time = Duration::from_secs(4);
    let edge = Edge::with(&epmd, |config| config.tick_time = tick_time).await;
    let mut app = app_with(&epmd, &["-kernel", "net_ticktime", "4"]);
    app.check("net_adm:ping(N)", "pong");
    // Erlang ticks once a second, and drops who is silent for five.
    let received = edge.metrics.frames_received.value();
    wait_for("ticks of six seconds", || {
        edge.metrics.frames_received.value() >= received + 6
    });
    assert!(edge.is_linked());
    app.check("nodes(hidden)", "['lariat@127.0.0.1']");
    app.signal("STOP");
    let timeout = edge.metrics.links_down.of(LinkDown::TickTimeout);
    wait_for("the silence to be noticed", || edge.node.links().is_empty());
    assert_eq!(timeout.value(), 1);
    app.signal("CONT");
    // The first may still go to the link that is no more.
    wait_for("a new link", || app.eval("net_adm:ping(N).") == "pong");
}
