//! Large messages between the hidden node and real Erlang: in parts, with others in between.
//!
//! Needs `erl` and `epmd` on the path; each test has its own EPMD and ends what it started.

#[path = "support/erlang.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod erlang;
#[path = "support/hidden.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod hidden;
#[path = "support/scripted_peer.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod scripted_peer;

use std::io::Write;
use std::time::{Duration, Instant};

use erlang::{Epmd, Erl, wait_for};
use hidden::{COOKIE, Edge, SMALL_SOCKETS, app, app_with};
use lariat::metrics::{Dropped, LinkDown};
use lariat::wire::Event;
use scripted_peer::ScriptedPeer;

const MIB: usize = 1024 * 1024;

/// About `bytes` of events.
fn events(bytes: usize) -> Vec<Event> {
    // A tuple of an atom and two small integers.
    const EVENT_BYTES: usize = 18;
    vec![Event::Overloaded { count: 1, bytes: 1 }; bytes / EVENT_BYTES]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_erlang_sends_in_parts_arrives_whole_and_others_get_in_between() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
    let before = edge.metrics.frames_received.value();
    app.check(
        "rand:seed(exsss, {1,2,3}), B = rand:bytes(16 bsl 20), L ! {7, B}, \
         {ok, #{queued_bytes := Q}} = gen_server:call(L, {send, 7, B}), Q",
        &(16 * MIB).to_string(),
    );
    let first = edge.payload();
    assert_eq!(first.len(), 16 * MIB);
    assert_eq!(first, edge.payload());
    // They are counted when the read that brings them is over.
    wait_for("as many frames as there are parts", || {
        edge.metrics.frames_received.value() - before > 2 * 256
    });
    // Eight processes at once, their parts mixed; each message is what its process made.
    app.check(
        "Me = self(), [spawn(fun() -> [L ! {I, binary:copy(<<I>>, 1000000 + I)} || _ <- [1,2,3]], \
         Me ! done end) || I <- lists:seq(1, 8)], [receive done -> ok end || _ <- lists:seq(1, 8)], \
         net_adm:ping(N)",
        "pong",
    );
    for _ in 0..24 {
        let payload = edge.payload();
        assert_eq!(payload.len(), 1_000_000 + usize::from(payload[0]));
        assert!(payload.iter().all(|byte| *byte == payload[0]));
    }
    assert_eq!(edge.metrics.assembly_bytes.value(), 0);
    assert_eq!(edge.metrics.links_down.of(LinkDown::Malformed).value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_send_in_parts_arrives_whole_and_others_overtake_it() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| {
        config.send_queue_bytes_max = 128 * MIB;
    })
    .await;
    let mut app = app_with(&epmd, &SMALL_SOCKETS);
    let attach = |app: &mut Erl, name: &str| {
        app.eval(&format!(
            "Shell{name} = self(), spawn(fun() -> \
               {{ok, _}} = gen_server:call(L, {{attach, self(), #{{}}}}), \
               (fun Told() -> receive {{lariat, _, E, Es}} -> \
                  Shell{name} ! {{told, '{name}', E, length(Es)}}, Told() end end)() end)."
        ));
        edge.attached()
    };
    let (one, other) = (attach(&mut app, "One"), attach(&mut app, "Other"));
    app.eval("Told = fun() -> receive {told, W, E, C} -> {W, E, C} after 20000 -> none end end.");
    let large = events(24 * MIB);
    // It does not read: the sockets fill, and the rest waits here.
    app.signal("STOP");
    edge.node.events(one, 1, &large).unwrap();
    edge.node.events(one, 2, &events(100)).unwrap();
    edge.node.events(other, 3, &events(100)).unwrap();
    app.signal("CONT");
    app.check("Told()", "{'Other',3,5}");
    app.check("Told()", &format!("{{'One',1,{}}}", large.len()));
    app.check("Told()", "{'One',2,5}");
    app.check("net_adm:ping(N)", "pong");
    wait_for("the queue to be empty", || {
        edge.metrics.dist_queue_bytes.value() == 0
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_go_on_while_16_mib_go_back_and_forth() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| {
        config.tick_time = Duration::from_secs(8);
        config.send_queue_bytes_max = 64 * MIB;
    })
    .await;
    let mut app = app_with(&epmd, &["-kernel", "net_ticktime", "8"]);
    app.check(
        "gen_server:call(L, {attach, self(), #{}})",
        "{ok,#{credit => 1000,epoch => 5}}",
    );
    let owner = edge.attached();
    // One process sends them, this one counts what comes back, a third pings meanwhile.
    app.eval(
        "B = binary:copy(<<7>>, 16 bsl 20), spawn_link(fun Send() -> \
         {ok, _} = gen_server:call(L, {send, 7, B}, infinity), Send() end).",
    );
    app.eval(
        "Took = fun Took() -> receive {lariat, N, _, Es} -> length(Es) after 20000 -> none end end.",
    );
    let batch = events(16 * MIB);
    let start = Instant::now();
    let mut rounds = 0;
    // Longer than silence may last: ten seconds.
    while start.elapsed() < Duration::from_secs(12) || rounds < 2 {
        edge.node.events(owner, 1, &batch).unwrap();
        app.check("net_adm:ping(N)", "pong");
        app.check("Took()", &batch.len().to_string());
        assert_eq!(edge.payload().len(), 16 * MIB);
        rounds += 1;
    }
    assert!(edge.is_linked());
    app.check("nodes(hidden)", "['lariat@127.0.0.1']");
    for reason in LinkDown::ALL {
        assert_eq!(edge.metrics.links_down.of(*reason).value(), 0, "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_allowed_is_given_up_and_the_link_stays() {
    let epmd = Epmd::start();
    let edge = Edge::with(&epmd, |config| config.frame_bytes_max = MIB).await;
    let mut app = app(&epmd);
    // What is sent before there is a link is one frame, however large.
    app.check("net_adm:ping(N)", "pong");
    app.eval("B = binary:copy(<<7>>, 3 bsl 20), ok.");
    app.check("L ! {7, B}, net_adm:ping(N)", "pong");
    app.check(
        "gen_server:call(L, {send, 7, B}, infinity)",
        "{error,{bad_request,unknown}}",
    );
    app.check(
        "rpc:call(N, erlang, byte_size, [B], infinity)",
        "{badrpc,notsup}",
    );
    assert_eq!(edge.metrics.dropped.of(Dropped::TooLarge).value(), 3);
    app.check("L ! {7, <<\"small\">>}, ok", "ok");
    assert_eq!(edge.payload(), b"small");
    assert!(edge.is_linked());
    assert_eq!(edge.metrics.assembly_bytes.value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_sequences_end_only_their_own_link() {
    let epmd = Epmd::start();
    let edge = Edge::start(&epmd).await;
    let mut app = app(&epmd);
    app.check("net_adm:ping(N)", "pong");
    let part = |kind: u8, sequence: u64, left: u64| {
        let mut body = vec![131, kind];
        body.extend(sequence.to_be_bytes());
        body.extend(left.to_be_bytes());
        if kind == 69 {
            body.push(0);
        }
        body.extend(b"h\x04a\x06jjw\x03any");
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    };
    let broken = [
        vec![part(70, 1, 1)],
        vec![part(69, 1, 3), part(70, 1, 1)],
        vec![part(69, 1, 3), part(69, 1, 3)],
        vec![part(69, 1, 0)],
    ];
    for (count, frames) in (1..).zip(broken) {
        let mut peer = ScriptedPeer::dial(edge.node.listen_address(), "evil@127.0.0.1", COOKIE);
        peer.status();
        peer.prove();
        peer.stream.write_all(&frames.concat()).unwrap();
        assert!(peer.is_hung_up());
        let malformed = edge.metrics.links_down.of(LinkDown::Malformed);
        wait_for("its end", || malformed.value() == count);
    }
    // One that is never finished holds what came, and is forgotten with its link.
    let mut peer = ScriptedPeer::dial(edge.node.listen_address(), "slow@127.0.0.1", COOKIE);
    peer.status();
    peer.prove();
    peer.stream.write_all(&part(69, 1, u64::MAX)).unwrap();
    let held = &edge.metrics.assembly_bytes;
    wait_for("the part", || held.value() > 0);
    drop(peer);
    wait_for("its end", || held.value() == 0);
    app.check("net_adm:ping(N)", "pong");
}
