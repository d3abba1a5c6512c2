//! What is given in the place of what is read, and the way out that the sentence names.

use safetensors::tensor::Dtype;
use wgpu_attention::problem::Element;

use super::tool::{Tensor, attend, directory, qkv, write};

/// A tensor of bytes.
fn bytes(name: &'static str, dtype: Dtype, shape: &[usize]) -> Tensor {
    Tensor {
        name,
        dtype,
        shape: shape.to_vec(),
        bytes: vec![1; shape.iter().product()],
    }
}

/// Holds the sentence about a file with this tensor too.
#[track_caller]
fn with(case: &str, tensor: Tensor, words: &[&str]) {
    let directory = directory(&format!("messages-{case}"));
    let mut tensors = qkv(Element::F32);
    tensors.push(tensor);
    let input = write(&directory, "in.safetensors", &tensors);
    attend(&[input]).refused(1, words);
}

#[test]
fn a_bool_bias_is_told_what_numbers_hide() {
    for dtype in [Dtype::BOOL, Dtype::U8] {
        let bias = bytes("bias", dtype, &[1, 1, 9, 21]);
        let words = ["bias is of type", "0 where visible", "-inf where hidden"];
        with(&format!("{dtype}"), bias, &words);
    }
}

#[test]
fn a_padding_mask_is_told_of_lengths() {
    let ways = ["kv_lens [B]", "segments_q"];
    let bias = Tensor::normal("bias", Element::F32, &[2, 21], 1);
    with("bias-of-keys", bias, &ways);
    for name in ["attention_mask", "key_padding_mask"] {
        let mask = bytes(name, Dtype::BOOL, &[2, 21]);
        with(name, mask, &[&[name], &ways[..]].concat());
    }
}

#[test]
fn a_softcap_of_nothing_is_left_out() {
    attend(&["--random", "1,1,1,4,4,8", "--softcap", "0"])
        .refused(1, &["softcap is 0", "leave it out"]);
}

/// The words of the language's parsers stand in no message.
#[test]
fn values_that_are_none() {
    let bad = [
        ["--window=-1,0", "inf where it has no end"],
        ["--window=5", "give L,R"],
        ["--window=x,0", "a whole number from 0, or inf"],
        ["--first=x", "a whole number from 0"],
        ["--prefix=-1", "a whole number from 0"],
        ["--block-size=1.5", "a whole number from 0"],
        ["--top-k=x", "a whole number from 0"],
        ["--scale=x", "a number such as"],
        ["--softcap=1,5", "a number such as"],
        ["--splits=x", "a whole number from 1"],
        ["--splits=-1", "a whole number from 1"],
        ["--slice-rows=0", "a whole number from 1"],
        ["--seed=x", "a whole number from 0"],
        ["--random=1,1,1,4,x,8", "a whole number from 0"],
    ];
    for [option, wanted] in bad {
        let random = if option.starts_with("--random") {
            "--causal"
        } else {
            "--random=1,1,1,4,4,8"
        };
        let run = attend(&[random, option]);
        assert_eq!(run.status, Some(2), "{option}: {run:?}");
        assert!(run.stderr.contains(wanted), "{option}: {run:?}");
        let parsers = ["invalid digit", "invalid float", "not in", "too large"];
        assert!(
            !parsers.iter().any(|word| run.stderr.contains(word)),
            "{option}: {run:?}"
        );
    }
}
