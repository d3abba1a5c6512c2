//! What is wrong with a config, or with a tensor or an option of a position scheme.

use std::path::Path;

use wgpu_attention::problem::Element;

use super::Setup;
use crate::tool::{Tensor, attend, directory, qkv, text, write};

/// Holds the sentence about a config, and that no output was written.
#[track_caller]
fn refused_config(name: &str, config: &str, words: &[&str]) {
    let setup = Setup::new(&format!("config-{name}"), "").rope(config);
    refused(&setup.directory, qkv(Element::F32), &setup.options, words);
}

#[track_caller]
fn refused(directory: &Path, tensors: Vec<Tensor>, options: &[String], words: &[&str]) {
    let output = directory.join("out.safetensors");
    let files = [write(directory, "in.safetensors", &tensors), text(&output)];
    let args: Vec<_> = files.iter().chain(options).collect();
    attend(&args).refused(1, words);
    assert!(!output.exists());
}

#[test]
fn configs_that_are_refused() {
    refused_config("size", r#"{"head_dim": 64}"#, &["config.json", "64", "12"]);
    refused_config("no-size", "{}", &["hidden_size", "missing"]);
    refused_config("prose", "once", &["config.json", "JSON"]);
    refused_config(
        "type",
        r#"{"head_dim": 12, "rope_scaling": {"type": "banana", "factor": 2.0}}"#,
        &["rope_scaling.type", "banana", "yarn", "llama3", "longrope"],
    );
    refused_config(
        "factor",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear"}}"#,
        &["rope_scaling.factor", "missing"],
    );
    refused_config(
        "below",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear", "factor": 0.5}}"#,
        &["factor", "0.5", "at least 1"],
    );
    refused_config(
        "unknown",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear", "factor": 2.0, "wobble": 1}}"#,
        &["rope_scaling.wobble", "not known"],
    );
    refused_config(
        "not-known",
        r#"{"head_dim": 12, "rope_wobble": 1}"#,
        &["config.json", "rope_wobble", "not known"],
    );
    refused_config(
        "latent",
        r#"{"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "hidden_size": 7168, "num_attention_heads": 128}"#,
        &[
            "head size of 192",
            "12 channels",
            "qk_nope_head_dim",
            "qk_rope_head_dim",
            "repeated for each head",
        ],
    );
    let none = directory("config-none");
    let options = ["--rope".into(), text(&none.join("none.json"))];
    refused(
        &none,
        qkv(Element::F32),
        &options,
        &["none.json", "check the path"],
    );
}

#[test]
fn tensors_that_do_not_fit() {
    let with = |tensor: Tensor, options: &str, words: &[&str]| {
        let setup = Setup::new("unfit", options);
        let tensors = qkv(Element::F32).into_iter().chain([tensor]).collect();
        refused(&setup.directory, tensors, &setup.options, words);
    };
    let zeros = |name, shape: &[usize]| {
        Tensor::floats(name, &vec![0.0; shape.iter().product()]).shaped(shape)
    };
    for shape in [
        &[3, 1, 9, 21][..],
        &[1, 2, 9, 21],
        &[1, 1, 3, 21],
        &[1, 1, 9, 1],
        &[9, 21],
    ] {
        with(
            zeros("bias", shape),
            "",
            &["bias has shape", "[2 or 1, 4 or 1, 9 or 1, 21]"],
        );
    }
    let first = "--softcap 2 --bias-before-softcap";
    let words = ["--bias-before-softcap", "tensor bias"];
    with(Tensor::floats("sinks", &[0.0; 4]), first, &words);
    let infinite = Tensor::floats("bias", &[f32::INFINITY; 9 * 21]).shaped(&[1, 1, 9, 21]);
    with(infinite, "", &["bias[0] is inf", "-inf"]);
    with(zeros("slopes", &[2]), "", &["slopes has shape [2]", "[4]"]);
    let words = ["slopes has shape [4, 2]", "[4]", "[2, 4]"];
    with(zeros("slopes", &[4, 2]), "", &words);
    with(
        zeros("sinks", &[4, 1]),
        "",
        &["sinks has shape [4, 1]", "[4]"],
    );
    with(
        Tensor::floats("sinks", &[0.0, f32::NAN, 0.0, 0.0]),
        "",
        &["sinks[1] is NaN"],
    );
    with(
        zeros("t5", &[32]),
        "--t5 both",
        &["t5 has shape [32]", "[buckets, 4]"],
    );
    with(zeros("t5", &[1, 4]), "--t5 both", &["t5 buckets is 1"]);
    with(
        zeros("t5", &[32, 4]),
        "--t5 causal --t5-distance 16",
        &["t5 distance is 16"],
    );
    with(
        zeros("t5", &[32, 4]),
        "--t5 causal --t5-distance 4000000000",
        &["t5 distance is 4000000000", "at most"],
    );
    with(zeros("t5", &[32, 4]), "", &["tensor t5", "--t5 causal"]);
    with(
        zeros("q_positions", &[9]),
        "",
        &["q_positions has shape [9]", "[2, 9]"],
    );
    with(
        Tensor::floats("k_positions", &[0.5; 42]).shaped(&[2, 21]),
        "",
        &["k_positions[0] is 0.5", "whole number"],
    );
    with(
        Tensor::floats("k_positions", &[2e9; 42]).shaped(&[2, 21]),
        "--alibi",
        &["k_positions[0] is 2000000000", "1073741824"],
    );
    with(
        zeros("slopes", &[4]),
        "--t5 both",
        &["--t5", "add a tensor t5"],
    );
}

#[test]
fn options_that_need_another() {
    for option in [
        "--rope-layout=half",
        "--rope-length=5",
        "--rotated-keys",
        "--t5-distance=4",
        "--t5=maybe",
    ] {
        let run = attend(&["--random", "1,1,1,4,4,8", option]);
        assert_eq!(run.status, Some(2), "{run:?}");
    }
}
