//! `lariat-tools dataset` as a process: what it writes where, and its exit status.
//!
//! The law of the graph itself is tested beside its code.

#![expect(clippy::unwrap_used, reason = "tests, and functions only tests call")]

use std::fs;
use std::process::{Command, Output, Stdio};

fn dataset(arguments: &str) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lariat-tools"));
    command.arg("dataset").args(arguments.split_whitespace());
    command
}

#[test]
fn the_same_seed_writes_the_same_bytes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("friends.txt");
    let printed = dataset("--users 500 --edges 4 --seed 9");
    assert!(printed.status.success());
    let written = dataset(&format!(
        "--users 500 --edges 4 --seed 9 --output {}",
        file.display()
    ));
    assert!(written.status.success() && written.stdout.is_empty());
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    assert_ne!(
        dataset("--users 500 --edges 4 --seed 8").stdout,
        printed.stdout
    );
}

#[test]
fn lines_are_two_ids_and_as_many_as_documented() {
    let text = String::from_utf8(dataset("--users 1000 --edges 5").stdout).unwrap();
    assert_eq!(text.lines().count(), 1000 * 5 - 5 * 6 / 2);
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        let (subscriber, subscribee) = line.split_once(' ').unwrap();
        let [subscriber, subscribee] =
            [subscriber, subscribee].map(|id| id.parse::<u32>().unwrap());
        assert!((1..=1000).contains(&subscriber) && (1..subscriber).contains(&subscribee));
    }
}

#[test]
fn a_reader_that_had_enough_is_no_failure() {
    let mut child = command("--users 100000 --edges 10")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_drawn_is_refused_with_advice() {
    for (arguments, advice) in [
        ("--users 5 --edges 5", "--users 6"),
        ("--users 5 --edges 0", "at least 1"),
        ("--users many --edges 5", "--users"),
        ("--edges 5", "--users"),
    ] {
        let refused = dataset(arguments);
        assert_eq!(refused.status.code(), Some(64), "{arguments}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(text.contains(advice), "{arguments}: {text}");
    }
    let unwritable = dataset("--users 9 --edges 2 --output /nowhere/friends.txt");
    assert_eq!(unwritable.status.code(), Some(74));
}
