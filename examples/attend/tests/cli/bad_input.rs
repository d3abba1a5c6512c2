//! What is wrong with a file or a command line is said in one sentence, and no output is written.

use std::path::{Path, PathBuf};

use wgpu_attention::problem::Element;

use super::tool::{Run, Tensor, attend, directory, qkv, text, write};

/// Runs with an output that must not come to be.
fn run(directory: &Path, input: &str, options: &[&str]) -> Run {
    let output = directory.join("out.safetensors");
    let run = attend(&[&[input, text(&output).as_str()], options].concat());
    assert!(!output.exists(), "an output was written: {run:?}");
    run
}

fn with(name: &str, change: impl FnOnce(&mut Vec<Tensor>)) -> (PathBuf, String) {
    let directory = directory(name);
    let mut tensors = qkv(Element::F32);
    change(&mut tensors);
    let input = write(&directory, "in.safetensors", &tensors);
    (directory, input)
}

/// Holds the sentence about a file that `change` spoiled.
#[track_caller]
fn refused(name: &str, status: i32, words: &[&str], change: impl FnOnce(&mut Vec<Tensor>)) {
    let (directory, input) = with(name, change);
    run(&directory, &input, &[]).refused(status, words);
}

#[test]
fn files_that_cannot_be_read() {
    let directory = directory("unreadable");
    run(&directory, &text(&directory.join("none")), &[]).refused(1, &["none", "check the path"]);
    run(&directory, &text(&directory), &[]).refused(1, &["cannot be read"]);
    let whole =
        std::fs::read(write(&directory, "whole", &qkv(Element::F32))).expect("just written");
    for (name, bytes) in [
        ("prose", &b"once upon a time there was no header"[..]),
        ("empty", &[]),
        ("header-only", &whole[..40]),
        ("truncated", &whole[..whole.len() - 7]),
        ("longer", &[&whole[..], b"more"].concat()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, bytes).expect("a file for the test");
        run(&directory, &text(&path), &[]).refused(1, &[name, "not a valid safetensors file"]);
    }
}

#[test]
fn tensors_missing_or_unknown() {
    refused("missing", 1, &["no tensor v"], |t| t.truncate(2));
    refused("unknown", 1, &["unknown tensor values"], |t| {
        t.push(Tensor::floats("values", &[1.0]))
    });
}

#[test]
fn what_is_not_supported_yet_is_said() {
    let name = "router";
    refused(
        &format!("not-yet-{name}"),
        2,
        &[name, "not supported yet"],
        |t| {
            t.push(Tensor::floats(name, &[1.0]));
        },
    );
}

/// A file with gradients of the output can be used without asking for gradients.
#[test]
fn tensors_of_an_option_that_is_not_given() {
    let (_, input) = with("ignored", |t| t.push(Tensor::floats("do", &[1.0])));
    attend(&[input]).succeeded();
}

#[test]
fn wrong_ranks_and_types() {
    refused("rank", 1, &["q has shape", "[B, Hq, Nq, D]"], |t| {
        t[0].shape = vec![8, 9, 12]
    });
    refused("type", 1, &["v is of type I32", "BF16"], |t| {
        t[2].dtype = safetensors::Dtype::I32
    });
    refused("mixed", 1, &["F32, F16 and F32"], |t| {
        t[1] = Tensor::normal("k", Element::F16, &[2, 2, 21, 12], 2);
    });
}

#[test]
fn sizes_that_do_not_fit() {
    let q = |shape: &[usize]| Tensor::normal("q", Element::F32, shape, 1);
    refused("batches", 1, &["batches B"], |t| t[0] = q(&[1, 4, 9, 12]));
    refused("channels", 1, &["channels D"], |t| t[0] = q(&[2, 4, 9, 11]));
    refused("heads", 1, &["heads", "kv_heads"], |t| {
        t[0] = q(&[2, 3, 9, 12])
    });
    refused("no-heads", 1, &["heads", "0"], |t| t[0] = q(&[2, 0, 9, 12]));
    refused("keys", 1, &["keys Nk"], |t| {
        t[2] = Tensor::normal("v", Element::F32, &[2, 2, 20, 6], 3)
    });
    attend(&["--random", "1,1,1,4,4,577"]).refused(1, &["head_dim", "577", "1 to 576"]);
    attend(&["--random", "1,1,1,4,4,8,0"]).refused(1, &["value_dim", "0"]);
}

#[test]
fn lengths_and_offsets_out_of_range() {
    let lens = |name: &str, values: &[i32], words: &[&str]| {
        refused(name, 1, words, |t| {
            t.push(Tensor::integers("kv_lens", values))
        });
    };
    lens("len-long", &[21, 22], &["kv_lens[1] is 22", "0 to 21"]);
    lens("len-negative", &[-1, 2], &["kv_lens[0] is -1"]);
    lens("len-count", &[1, 2, 3], &["kv_lens", "[2]"]);
    for (name, value) in [
        ("len-half", 2.5),
        ("len-nan", f32::NAN),
        ("len-inf", f32::INFINITY),
    ] {
        refused(name, 1, &["kv_lens[1]"], |t| {
            t.push(Tensor::floats("kv_lens", &[1.0, value]))
        });
    }
    refused("prefix", 1, &["prefix[1] is -3"], |t| {
        t.push(Tensor::integers("prefix", &[2, -3]))
    });
    refused("offset", 1, &["q_offset[0]"], |t| {
        t.push(Tensor::floats("q_offset", &[1e10, 0.0]))
    });
}

#[test]
fn values_of_options() {
    let (directory, input) = with("prefixes", |t| {
        t.push(Tensor::integers("prefix", &[2, 3]));
    });
    run(&directory, &input, &["--causal", "--prefix", "2"])
        .refused(1, &["--prefix", "tensor prefix", "leave one"]);
    let (directory, input) = with("values", |_| {});
    run(&directory, &input, &["--scale", "nan"]).refused(1, &["scale"]);
    run(&directory, &input, &["--softcap", "-2"]).refused(1, &["softcap"]);
    run(&directory, &input, &["--strategy", "matrix"]).refused(1, &["matrix", "cannot run here"]);
    run(&directory, &input, &["--adapter", "abacus"]).refused(1, &["abacus", "--list"]);
}

#[test]
fn bad_command_lines() {
    let (_, input) = with("command-line", |_| {});
    let bad: [&[&str]; 9] = [
        &[],
        &[&input, "out", "more"],
        &[&input, "--window", "5"],
        &[&input, "--window", "5,x"],
        &[&input, "--frobnicate"],
        &[&input, "--splits", "0"],
        &[&input, "--time", "0"],
        &[&input, "--random", "1,1,1,4,4,8"],
        &["--random", "1,1,1,4,4"],
    ];
    for args in bad {
        let run = attend(args);
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        assert!(run.stderr.starts_with("error: "), "{run:?}");
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let (directory, input) = with("unwritable", |_| {});
    attend(&[&input, &text(&directory)]).refused(1, &["cannot be written", "directory"]);
    let nowhere = directory.join("none").join("out.safetensors");
    attend(&[&input, &text(&nowhere)]).refused(1, &["cannot be written"]);
}

/// An old output stays whole when a run fails, is replaced when one succeeds, and nothing else is left behind.
#[test]
fn outputs_are_replaced_whole() {
    let (directory, input) = with("replaced", |_| {});
    let output = directory.join("out.safetensors");
    std::fs::write(&output, "old").expect("a file for the test");
    attend(&[&input, &text(&output), "--softcap", "0"]).refused(1, &["softcap"]);
    assert_eq!(std::fs::read(&output).expect("the old output"), b"old");
    attend(&[&input, &text(&output)]).succeeded();
    assert!(std::fs::read(&output).expect("the new output").len() > 1000);
    assert_eq!(
        std::fs::read_dir(&directory)
            .expect("the test's directory")
            .count(),
        2
    );
}
