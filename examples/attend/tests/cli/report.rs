//! What is printed.

use anyhow::Result;
use serde_json::Value;

use super::tool::attend;

#[test]
fn json_is_one_object() -> Result<()> {
    let args = [
        "--random",
        "1,4,2,33,70,16,8",
        "--causal",
        "--time",
        "3",
        "--json",
        "--explain",
    ];
    let report: Value = serde_json::from_str(&attend(&args).succeeded().stdout)?;
    assert!(report["adapter"].is_string());
    assert!(report["declined"].is_array());
    let time = &report["time"];
    assert_eq!(time["runs"], 3);
    for number in ["min_ms", "median_ms", "gflops"] {
        assert!(time[number].as_f64() > Some(0.0), "{number}: {report}");
    }
    let steps = report["steps"].as_array().expect("steps");
    assert!(!steps.is_empty());
    for step in steps {
        for name in ["kernel", "strategy", "tiles"] {
            assert!(step[name].is_string(), "{name}: {report}");
        }
        assert_eq!(step["grid"].as_array().map(Vec::len), Some(3));
        for name in [
            "visited",
            "of",
            "flops",
            "read_bytes",
            "written_bytes",
            "scratch_bytes",
        ] {
            assert!(step[name].is_u64(), "{name}: {report}");
        }
    }
    // 33 rows that see 38 to 70 keys, 4 heads, 2 · (D + Dv) FLOPs per pair.
    let flops: u64 = steps.iter().filter_map(|step| step["flops"].as_u64()).sum();
    assert_eq!(flops, (38..=70).sum::<u64>() * 4 * 2 * (16 + 8));
    Ok(())
}

#[test]
fn plans_are_explained() {
    let run = attend(&[
        "--random",
        "2,4,4,100,100,32",
        "--window",
        "8,8",
        "--explain",
    ])
    .succeeded();
    for word in ["visited", "tiles", "workgroups", "read", "written"] {
        assert!(run.stdout.contains(word), "{word}: {run:?}");
    }
}

/// A plan is made without computing: this one would take minutes on a software adapter.
#[test]
fn plans_need_no_run() {
    attend(&["--random", "1,1,1,400000,400000,64", "--explain"]).succeeded();
}

#[test]
fn adapters_are_listed_and_chosen() {
    let list = attend(&["--list"]).succeeded().stdout;
    assert!(list.starts_with("0  "), "{list}");
    // A software adapter has a row of what is known.
    assert!(
        !list.contains("  cpu") || list.contains("known: software-loops: "),
        "{list}"
    );
    attend(&["--random", "1,1,1,4,4,8", "--adapter", "0", "--json"]).succeeded();
}

/// The sizes of latent attention.
#[test]
fn heads_of_576_channels() {
    let run = attend(&["--random", "1,4,1,3,20,576,512", "--explain"]).succeeded();
    assert!(run.stdout.contains("D<=576 Dv<=512"), "{run:?}");
}

#[test]
fn random_operands_of_every_type() {
    for element in ["f32", "f16", "bf16"] {
        let args = [
            "--random",
            "1,2,1,8,8,4",
            "--element",
            element,
            "--seed",
            "7",
        ];
        assert_eq!(attend(&args).succeeded().stdout, "");
    }
}
