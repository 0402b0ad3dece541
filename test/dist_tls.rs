//! Distribution over TLS with real Erlang, in both link directions, and whom it keeps out.
//!
//! Needs `erl`, `epmd` and `openssl` on the path; each test has its own EPMD and makes its own
//! certificates.

#[path = "support/erlang.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod erlang;
#[path = "support/hidden.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod hidden;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod program;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use erlang::{Epmd, Erl, wait_for};
use hidden::{APP, COOKIE, Edge, US};
use lariat::dist::Tls;
use lariat::metrics::{HandshakeFailed, LinkDown};
use lariat::wire::Event;
use program::Program;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;

/// Silence may last a quarter longer: enough for Erlang to load all that TLS takes, on a busy core,
/// between its last word of the handshake and its first on the link.
const TICK_TIME: Duration = Duration::from_secs(8);
const TICK_TIME_S: &str = "8";

/// A folder with `{name}.pem` and `{name}.key` for each name, and `ca.pem`.
fn certificates(names: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let write = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("the folder is writable");
    };
    let mut params = CertificateParams::new(Vec::new()).expect("they are names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("keys can be made");
    let ca = params.self_signed(&key).expect("it can be signed");
    write("ca.pem", ca.pem());
    let issuer = Issuer::new(params, key);
    for (name, host) in names {
        let mut params = CertificateParams::new(vec![(*host).to_owned()]).expect("it is a name");
        params.distinguished_name.push(DnType::CommonName, *name);
        // OTP 25 looks for an address among the names.
        let as_name = (*host).try_into().expect("it is ASCII");
        params.subject_alt_names.push(SanType::DnsName(as_name));
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &issuer).expect("it can be signed");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    folder
}

fn tls(folder: &Path) -> Tls {
    let file = |name: &str| folder.join(name);
    Tls::load(&file("us.pem"), &file("us.key"), &file("ca.pem")).expect("the files go together")
}

/// The options of an Erlang node with a certificate of `own`, that trusts the authority of `trusted`.
fn options(own: &Path, trusted: &Path) -> String {
    let text = format!(
        "[{{server, [{0}, {{fail_if_no_peer_cert, true}}]}}, {{client, [{0}]}}].",
        format_args!(
            "{{certfile, \"{0}/app.pem\"}}, {{keyfile, \"{0}/app.key\"}}, \
             {{cacertfile, \"{1}/ca.pem\"}}, {{verify, verify_peer}}",
            own.display(),
            trusted.display()
        )
    );
    let path = own.join("app_tls.conf");
    fs::write(&path, text).expect("the folder is writable");
    path.display().to_string()
}

fn tls_erl(epmd: &Epmd, options: &str, more: &[&str]) -> Erl {
    let arguments = [
        &["-proto_dist", "inet_tls", "-ssl_dist_optfile", options],
        more,
    ]
    .concat();
    let mut app = Erl::start(epmd.port, APP, COOKIE, &arguments);
    app.eval(&format!("N = '{US}', L = {{lariat, N}}."));
    app
}

fn works(edge: &Edge, app: &mut Erl) {
    app.check("net_adm:ping(N)", "pong");
    app.check("rpc:call(N, erlang, now, [])", "{badrpc,notsup}");
    app.check("L ! {7, <<\"hello\">>}, ok", "ok");
    assert_eq!(edge.payload(), b"hello");
    app.check("nodes(hidden)", "['lariat@127.0.0.1']");
}

#[tokio::test(flavor = "multi_thread")]
async fn erlang_dials_over_tls_and_large_messages_pass_both_ways_with_ticks() {
    let epmd = Epmd::start();
    let certificates = certificates(&[("us", "127.0.0.1"), ("app", "127.0.0.1")]);
    let edge = Edge::with(&epmd, |config| {
        config.tls = Some(tls(certificates.path()));
        config.tick_time = TICK_TIME;
        config.send_queue_bytes_max = 64 * MIB;
    })
    .await;
    let options = options(certificates.path(), certificates.path());
    let mut app = tls_erl(&epmd, &options, &["-kernel", "net_ticktime", TICK_TIME_S]);
    works(&edge, &mut app);
    app.check(
        "{ok, #{epoch := E}} = gen_server:call(L, {attach, self(), #{}}), E",
        "5",
    );
    let owner = edge.attached();
    app.eval("B = rand:bytes(16 bsl 20), ok.");
    let batch = vec![Event::Overloaded { count: 1, bytes: 1 }; 500_000];
    let start = Instant::now();
    // At least once with both directions busy, then silence but for ticks, longer than silence may
    // last.
    edge.node.events(owner, 1, &batch).unwrap();
    app.check(
        "{ok, #{queued_bytes := Q}} = gen_server:call(L, {send, 7, B}, infinity), Q",
        &(16 * MIB).to_string(),
    );
    assert_eq!(edge.payload().len(), 16 * MIB);
    app.check(
        "{lariat, N, 1, Es} = lariat_eval:next(), length(Es)",
        "500000",
    );
    wait_for("ticks", || start.elapsed() > TICK_TIME * 3 / 2);
    app.check("nodes(hidden)", "['lariat@127.0.0.1']");
    works(&edge, &mut app);
    for reason in LinkDown::ALL {
        assert_eq!(edge.metrics.links_down.of(*reason).value(), 0, "{reason:?}");
    }
    edge.node.stop().await;
    wait_for("the end", || app.eval("nodes(hidden).") == "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_dial_over_tls() {
    let epmd = Epmd::start();
    let certificates = certificates(&[("us", "127.0.0.1"), ("app", "127.0.0.1")]);
    let options = options(certificates.path(), certificates.path());
    let mut app = tls_erl(&epmd, &options, &[]);
    let edge = Edge::with(&epmd, |config| {
        config.tls = Some(tls(certificates.path()));
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    wait_for("our dial", || edge.is_linked());
    works(&edge, &mut app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_authority_is_refused_in_both_directions() {
    let epmd = Epmd::start();
    let names = [("us", "127.0.0.1"), ("app", "127.0.0.1")];
    let (ours, foreign) = (certificates(&names), certificates(&names));
    // It trusts us, but we do not trust it.
    let options = options(foreign.path(), ours.path());
    let mut app = tls_erl(&epmd, &options, &[]);
    let edge = Edge::with(&epmd, |config| config.tls = Some(tls(ours.path()))).await;
    app.check("net_adm:ping(N)", "pang");
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Tls);
    wait_for("it to be counted", || failed.value() > 0);
    edge.node.stop().await;
    let edge = Edge::with(&epmd, |config| {
        config.tls = Some(tls(ours.path()));
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Tls);
    wait_for("our dial to fail", || failed.value() > 0);
    assert_eq!(edge.node.links(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused_when_we_dial() {
    let epmd = Epmd::start();
    let certificates = certificates(&[("us", "127.0.0.1"), ("app", "other.example.com")]);
    let options = options(certificates.path(), certificates.path());
    let _app = tls_erl(&epmd, &options, &[]);
    let edge = Edge::with(&epmd, |config| {
        config.tls = Some(tls(certificates.path()));
        config.connect = vec![APP.parse().unwrap()];
    })
    .await;
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Tls);
    wait_for("our dial to fail", || failed.value() > 0);
    assert_eq!(edge.node.links(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_tcp_is_refused() {
    let epmd = Epmd::start();
    let certificates = certificates(&[("us", "127.0.0.1")]);
    let edge = Edge::with(&epmd, |config| {
        config.tls = Some(tls(certificates.path()));
    })
    .await;
    let mut app = Erl::start(epmd.port, APP, COOKIE, &[]);
    app.check("net_adm:ping('lariat@127.0.0.1')", "pang");
    let failed = edge.metrics.handshakes_failed.of(HandshakeFailed::Tls);
    wait_for("it to be counted", || failed.value() > 0);
    assert_eq!(edge.node.links(), []);
}

#[test]
fn the_recipe_of_the_documentation_works() {
    let text = include_str!("../docs/tls-distribution.md");
    let block = |language: &str| {
        let (_, rest) = text
            .split_once(&format!("```{language}\n"))
            .expect("the recipe has it");
        rest.split_once("```").expect("it ends").0
    };
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let at = folder.path().display();
    let made = Command::new("sh")
        .args(["-e", "-c", block("sh")])
        .current_dir(folder.path())
        .output()
        .expect("there is a shell");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let absolute = |block: &str| block.replace("\"certs/", &format!("\"{at}/certs/"));
    let options = folder.path().join("app_tls.conf");
    fs::write(&options, absolute(block("erlang"))).expect("the folder is writable");
    fs::write(folder.path().join("cookie"), COOKIE).expect("the folder is writable");
    let epmd = Epmd::start();
    let config = format!(
        "name = \"{US}\"\ncookie_file = \"{at}/cookie\"\n{}",
        absolute(block("toml"))
    );
    let _program = Program::start(&epmd, &config);
    let mut app = tls_erl(&epmd, &options.display().to_string(), &[]);
    wait_for("the node", || app.eval("net_adm:ping(N).") == "pong");
    app.check("{ok, #{}} = gen_server:call(L, info), ok", "ok");
    // Without its key the program does not start, and says why.
    fs::remove_file(folder.path().join("certs/lariat.key")).expect("the recipe made it");
    let (code, said) = Program::run(&epmd, &config);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("dist.tls") && said.contains("lariat.key"),
        "{said}"
    );
}
