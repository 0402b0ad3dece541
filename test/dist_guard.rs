//! Who may connect: the program with its config file against real Erlang.
//!
//! Needs `erl` and `epmd` on the path; each test has its own EPMD and ends what it started. The
//! bounds of handshakes, in number and time, are tested in `dist_erl.rs`.

#[path = "support/erlang.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod erlang;
#[path = "support/program.rs"]
mod program;

use std::path::Path;

use erlang::{Epmd, Erl, wait_for};
use program::Program;

const US: &str = "lariat@127.0.0.1";

fn erl(epmd: &Epmd, name: &str, cookie: &str) -> Erl {
    let mut erl = Erl::start(epmd.port, name, cookie, &[]);
    erl.eval(&format!("N = '{US}'."));
    erl
}

/// The folder with the files `ours` and `theirs`, each a cookie of that text.
fn cookies() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    for name in ["ours", "theirs"] {
        std::fs::write(folder.path().join(name), name).expect("the folder is writable");
    }
    folder
}

fn config(cookies: &Path, rest: &str) -> String {
    let folder = cookies.display();
    format!("name = \"{US}\"\ncookie_file = \"{folder}/ours\"\n{rest}")
        .replace("FOLDER", &folder.to_string())
}

#[test]
fn a_peer_may_have_a_cookie_of_its_own_in_both_link_directions() {
    let epmd = Epmd::start();
    let cookies = cookies();
    let table = "[dist.cookies]\n\"special@127.0.0.1\" = \"FOLDER/theirs\"\n";
    {
        let _program = Program::start(&epmd, &config(cookies.path(), table));
        let mut usual = erl(&epmd, "usual@127.0.0.1", "ours");
        let mut special = erl(&epmd, "special@127.0.0.1", "theirs");
        wait_for("the node", || usual.eval("net_adm:ping(N).") == "pong");
        special.check("net_adm:ping(N)", "pong");
        // The cookie of others does not open the door that has one of its own, nor the reverse.
        special.check(
            "true = erlang:disconnect_node(N), true = erlang:set_cookie(N, ours), net_adm:ping(N)",
            "pang",
        );
        usual.check(
            "true = erlang:disconnect_node(N), true = erlang:set_cookie(N, theirs), net_adm:ping(N)",
            "pang",
        );
    }
    let connect = format!("connect = [\"special@127.0.0.1\"]\n{table}");
    let mut special = erl(&epmd, "special@127.0.0.1", "theirs");
    let _program = Program::start(&epmd, &config(cookies.path(), &connect));
    wait_for("its dial", || {
        special.eval("nodes(hidden).") == format!("['{US}']")
    });
    special.check("net_adm:ping(N)", "pong");
}

#[test]
fn the_list_decides_who_may_dial() {
    let epmd = Epmd::start();
    let cookies = cookies();
    let list = "[dist]\nallow = [\"friend@127.0.0.1\"]\n";
    let _program = Program::start(&epmd, &config(cookies.path(), list));
    let mut friend = erl(&epmd, "friend@127.0.0.1", "ours");
    let mut stranger = erl(&epmd, "stranger@127.0.0.1", "ours");
    wait_for("the node", || friend.eval("net_adm:ping(N).") == "pong");
    stranger.check("net_adm:ping(N)", "pang");
    stranger.check("{lariat, N} ! {1, <<\"x\">>}, nodes(hidden)", "[]");
    friend.check("net_adm:ping(N)", "pong");
}

#[test]
fn a_name_that_is_taken_is_said_and_is_exit_code_69() {
    let epmd = Epmd::start();
    let cookies = cookies();
    let mut twin = Erl::start(epmd.port, US, "ours", &[]);
    let (code, said) = Program::run(&epmd, &config(cookies.path(), ""));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("\"lariat\" already"), "{said}");
    assert!(said.contains("choose another --name"), "{said}");
    twin.check("node()", "'lariat@127.0.0.1'");
}

#[test]
fn what_is_wrong_with_the_cookies_is_said_and_is_exit_code_78() {
    let epmd = Epmd::start();
    let cookies = cookies();
    for (table, parts) in [
        (
            "\"nobody\" = \"FOLDER/ours\"",
            ["dist.cookies", "name@host"],
        ),
        ("\"a@b\" = \"FOLDER/none\"", ["none", "No such file"]),
    ] {
        let table = format!("[dist.cookies]\n{table}\n");
        let (code, said) = Program::run(&epmd, &config(cookies.path(), &table));
        assert_eq!(code, Some(78), "{said}");
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
    }
}
