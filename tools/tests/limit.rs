//! `lariat-tools limit`: everything that it writes arrives, and its numbers belong together.

#![expect(clippy::unwrap_used, reason = "tests, and functions only tests call")]

use std::fs;
use std::process::Command;

use serde_json::Value;

fn limit(arguments: &str) -> (Value, i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lariat-tools"))
        .arg("limit")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let told = String::from_utf8(output.stderr).unwrap();
    (report, output.status.code().unwrap(), told)
}

#[test]
fn all_that_is_written_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limit.json");
    let arguments = format!(
        "--connections 300 --seconds 1 --rate 1000 --json {}",
        file.display()
    );
    let (report, status, told) = limit(&arguments);
    assert_eq!(status, 0, "{report:#}\n{told}");
    assert_eq!(report["ok"], true);
    assert_eq!(report["accept"]["count"], 300);
    for kind in ["fan_out", "unicast", "paced", "at_the_rate"] {
        let number = |name: &str| report[kind][name].as_f64().unwrap();
        assert!(number("count") > 0.0, "{kind}: {report:#}");
        let product = number("per_second") * number("us_each");
        assert!((product - 1e6).abs() < 1e3, "{kind}: {report:#}");
    }
    let unicast = report["unicast"]["per_second"].as_f64().unwrap();
    let paced = report["paced"]["per_second"].as_f64().unwrap();
    assert!(paced <= unicast * 0.71, "{report:#}");
    for kind in ["paced", "at_the_rate"] {
        assert!(
            report[kind]["latency_us_p999"].is_u64(),
            "{kind}: {report:#}"
        );
    }
    let given = report["at_the_rate"]["per_second"].as_f64().unwrap();
    assert!(given <= 1_010.0, "{report:#}");
    let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, report);
    assert!(told.contains("writes to random ones"), "{told}");
}

#[test]
fn what_cannot_be_done_is_refused_with_advice() {
    let (_, status, told) = limit("--connections 4000000000");
    assert_eq!(status, 64);
    assert!(told.contains("ulimit -Hn"), "{told}");
    assert_eq!(limit("--bytes 3").1, 64);
}
