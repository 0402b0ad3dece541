//! The real program starts itself again with small caches of its allocator, and is the same process.
//!
//! What that is worth is for `scripts/bench churn` to say.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "support/service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod service;

use service::Service;

#[test]
fn it_runs_with_small_caches_under_its_name_and_process_id() {
    let mut service = Service::start("drain_grace = \"off\"\n");
    let about = |file: &str| {
        let path = format!("/proc/{}/{file}", service.process_id());
        std::fs::read_to_string(path).expect("it runs, and is ours")
    };
    let environment = about("environ");
    let is_set = |text: &str| environment.split('\0').any(|variable| variable == text);
    assert!(
        is_set("GLIBC_TUNABLES=glibc.malloc.tcache_count=1"),
        "{environment:?}"
    );
    assert_eq!(about("comm"), "lariat\n");
    assert!(about("cmdline").contains("\0--no-epmd\0"));
    service.signal("TERM");
    assert!(service.ended().success());
}
