//! `--doctor`: a report of this adapter, which is a good one, and what it refuses.

use serde_json::Value;

use super::tool::{attend, directory};

#[test]
fn a_few_seconds_of_a_good_adapter() {
    let file = directory("doctor").join("report.json");
    let path = file.to_str().expect("a path of UTF-8");
    let run = attend(&["--doctor", path, "--seconds", "3"]).succeeded();
    for word in ["cases ran in", "right, 0 wrong or failing", path] {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
    let text = std::fs::read_to_string(&file).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert!(report["right"].as_u64() > Some(0), "{text}");
    assert!(report["cases"].as_u64() >= Some(100), "{text}");
    assert_eq!(report["faults"], Value::Array(vec![]), "{text}");
    assert_eq!(report["running"], Value::Null);
    assert_eq!(report["device_lost"], false);
    let caps = report["caps"].as_str().expect("the caps");
    assert!(caps.contains("workgroup_memory"), "{caps}");
    let is_software = report["adapter"]["class"] == "cpu";
    let quirks = report["quirks"].to_string();
    assert_eq!(is_software, quirks.contains("software-loops"), "{quirks}");
}

#[test]
fn what_is_no_report_is_not_overwritten() {
    let file = directory("doctor-input").join("in.safetensors");
    std::fs::write(&file, "tensors").expect("a file");
    let path = file.to_str().expect("a path of UTF-8");
    attend(&["--doctor", path]).refused(1, &["in.safetensors", "--doctor FILE.json"]);
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "tensors");
    let missing = file.with_file_name("no/such/report.json");
    let run = attend(&[
        "--doctor",
        missing.to_str().expect("UTF-8"),
        "--seconds",
        "1",
    ]);
    assert_eq!(run.status, Some(1), "{run:?}");
    assert!(run.stderr.contains("choose another file"), "{run:?}");
}

#[test]
fn options_that_go_with_nothing() {
    for args in [
        &["--random", "1,1,1,4,4,8", "--seconds", "3"][..],
        &["--random", "1,1,1,4,4,8", "--doctor"],
        &["in.safetensors", "--doctor"],
        &["--doctor", "--seconds", "0"],
    ] {
        assert_eq!(attend(args).status, Some(2), "{args:?}");
    }
    let run = attend(&["--doctor", "--adapter", "abacus"]);
    run.refused(1, &["abacus", "--list"]);
}
