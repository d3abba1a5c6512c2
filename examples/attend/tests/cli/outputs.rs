//! The output file: whole or not there, under any legal name.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use wgpu_attention::problem::{Element, Mask, Problem, Shape};
use wgpu_attention::reference::{Tensors, max_scores, max_scores_per_head};

use super::support::golden::Golden;
use super::tool::{attend, directory, qkv, text, write};

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory of the test's");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    };
    entries.map(name).collect()
}

/// Those of the reference, beside o and lse; without the option they are not there.
#[test]
fn the_largest_scores() -> Result<()> {
    let directory = directory("max-score");
    let input = write(&directory, "in.safetensors", &qkv(Element::F32));
    let output = text(&directory.join("out.safetensors"));
    attend(&[&input, &output, "--causal", "--softcap", "2", "--max-score"]).succeeded();
    let (file, got) = (Golden::open(&input)?, Golden::open(&output)?);
    let [q, k, v] = [file.floats("q")?, file.floats("k")?, file.floats("v")?];
    let shape = Shape {
        batch: 2,
        q_heads: 4,
        kv_heads: 2,
        q_len: 9,
        kv_len: 21,
        head_dim: 12,
        value_dim: 6,
    };
    let mut problem = Problem::new(shape, Element::F32).with_mask(Mask::causal());
    problem.score.softcap = Some(2.0);
    let want = max_scores(&problem, &Tensors::new(&q, &k, &v));
    let of_heads = max_scores_per_head(&problem, &want);
    for (name, want) in [("max_score", want), ("max_score_head", of_heads)] {
        for (got, want) in got.floats(name)?.iter().zip(&want) {
            assert!((got - want).abs() < 1e-5, "{name}: {got}, not {want}");
        }
        assert_eq!(got.floats(name)?.len(), want.len());
    }
    attend(&[&input, &output]).succeeded();
    assert!(Golden::open(&output)?.floats("max_score").is_err());
    Ok(())
}

/// As long as a file's name may be on most systems.
#[test]
fn long_names() {
    let directory = directory("long-names");
    for length in [245, 255] {
        let name = "n".repeat(length);
        let output = directory.join(&name);
        let input = write(&directory, "in.safetensors", &qkv(Element::F32));
        attend(&[input.as_str(), text(&output).as_str()]).succeeded();
        std::fs::remove_file(&output).expect("it was written");
    }
    assert_eq!(names(&directory), ["in.safetensors"]);
}

/// Found before a device is opened, let alone before anything is computed: the work is made to be refused later.
#[test]
fn a_path_that_cannot_be_written_is_found_first() {
    let directory = directory("unwritable");
    let input = write(&directory, "in.safetensors", &qkv(Element::F32));
    let file_as_directory = directory.join("in.safetensors").join("out.safetensors");
    let too_long = directory.join("n".repeat(256));
    for output in [
        directory.join("none/out.safetensors"),
        file_as_directory,
        too_long,
        directory.clone(),
    ] {
        attend(&[
            input.as_str(),
            text(&output).as_str(),
            "--adapter",
            "no such adapter",
        ])
        .refused(1, &["cannot be written, check the path"]);
    }
    assert_eq!(names(&directory), ["in.safetensors"]);
    // What can be written is left as it was when something else is wrong.
    let output = directory.join("out.safetensors");
    std::fs::write(&output, "an old file").expect("a file for the test");
    attend(&[
        input.as_str(),
        text(&output).as_str(),
        "--adapter",
        "no such adapter",
    ])
    .refused(1, &["no such adapter"]);
    assert_eq!(std::fs::read(&output).expect("it is there"), b"an old file");
}

/// Sizes of which the first is enough: refused at once, without a walk over four billion batches.
#[test]
fn absurd_sizes_are_refused_soon() {
    let start = Instant::now();
    attend(&["--random", "4294967295,1,1,1,1,1", "--explain"]).refused(1, &["small operands"]);
    attend(&["--random", "1,4294967295,1,0,1,1", "--alibi", "--explain"])
        .refused(1, &["4294967295 heads"]);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

/// A hundred megabytes take long enough to be interrupted on the way.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    use super::tool::{Tensor, command};

    let directory = directory("interrupted");
    let tensors = [
        Tensor::normal("q", Element::F32, &[1, 1, 100_000, 4], 1),
        Tensor::normal("k", Element::F32, &[1, 1, 1, 4], 2),
        Tensor::normal("v", Element::F32, &[1, 1, 1, 256], 3),
    ];
    let input = write(&directory, "in.safetensors", &tensors);
    let output = directory.join("out.safetensors");
    for signal in ["-INT", "-TERM"] {
        // A run may be done before its signal arrives.
        let interrupted = (0..10).any(|_| {
            let mut child = command(&[input.as_str(), text(&output).as_str()])
                .spawn()
                .expect("cargo builds the tool for its tests");
            while !names(&directory)
                .iter()
                .any(|name| is_large(&directory, name))
                && child.try_wait().expect("a child").is_none()
            {
                std::thread::sleep(Duration::from_micros(200));
            }
            let pid = child.id().to_string();
            let _ = std::process::Command::new("kill")
                .args([signal, &pid])
                .status();
            let status = child.wait().expect("a child");
            let _ = std::fs::remove_file(&output);
            assert_eq!(names(&directory), ["in.safetensors"], "{signal}");
            status.code() == Some(130)
        });
        assert!(interrupted, "no run could be interrupted by {signal}");
    }
}

/// Whether a partial file has data: the one that only tries the path has none.
#[cfg(unix)]
fn is_large(directory: &Path, name: &str) -> bool {
    let is_partial = name.ends_with(".partial");
    is_partial && std::fs::metadata(directory.join(name)).is_ok_and(|file| file.len() > 0)
}
