//! What is wrong with a file or a command line is said in one sentence.

use std::path::Path;

use super::tiny::{F32, Meta, Tiny, WIDTH};
use super::tool::{file, open, run, tiny};

const PROMPT: &str = "--prompt=the sea";

/// Holds the sentence about a model that was spoiled.
#[track_caller]
fn refused(name: &str, model: &Tiny, words: &[&str]) {
    let path = file(&format!("{name}.gguf"), &model.bytes());
    run(&path, &[PROMPT, "--reference"], "").refused(1, &[words, &[name]].concat());
}

#[test]
fn files_that_are_no_model() {
    run(Path::new("/none.gguf"), &[PROMPT], "").refused(1, &["/none.gguf cannot be read"]);
    let prose = file("prose.gguf", b"once upon a time");
    run(&prose, &[PROMPT], "").refused(1, &["prose", "begins with", "GGUF format"]);
    let empty = file("empty.gguf", b"");
    run(&empty, &[PROMPT], "").refused(1, &["empty", "GGUF format"]);
    let mut old = Tiny::new().bytes();
    old[4] = 1;
    run(&file("old.gguf", &old), &[PROMPT], "").refused(1, &["old", "version is 1", "2 and 3"]);
}

/// Wherever a file ends too early, it is said that it does.
#[test]
fn truncated_files() {
    let whole = Tiny::new().bytes();
    let cuts = (4..whole.len()).step_by(211).chain([whole.len() - 1]);
    for cut in cuts {
        let path = file("cut.gguf", &whole[..cut]);
        let error = open(&path)
            .err()
            .unwrap_or_else(|| panic!("{cut} of {}", whole.len()));
        let message = format!("{error:#}");
        assert!(
            message.contains("is truncated") && message.contains("fetch it again"),
            "{cut}: {message}"
        );
    }
    for cut in [30, 3000, whole.len() / 2] {
        let path = file(&format!("cut-{cut}.gguf"), &whole[..cut]);
        run(&path, &[PROMPT], "").refused(1, &["truncated", "fetch it again"]);
    }
}

#[test]
fn models_of_another_kind() {
    let text = |text: &str| Meta::Text(text.into());
    let with = |key: &str, value| Tiny::new().with(key, value);
    let key = "general.architecture";
    refused(
        "qwen",
        &with(key, text("qwen2")),
        &["qwen2", "\"llama\" is read"],
    );
    let scaled = with("llama.rope.scaling.type", text("yarn"));
    refused(
        "scaled",
        &scaled,
        &["llama.rope.scaling.type", "not supported"],
    );
    let partial = with("llama.rope.dimension_count", Meta::Count(16));
    refused("partial", &partial, &["rotates 16 of 32 channels"]);
    let heads = with("llama.attention.head_count_kv", Meta::Count(3));
    refused("heads", &heads, &["4 query heads and 3 KV heads"]);
    let none = with("llama.attention.head_count", Meta::Count(0));
    refused("none", &none, &["head_count is Whole(0)", "from 1"]);
    let pre = with("tokenizer.ggml.pre", text("llama-bpe"));
    refused("pre", &pre, &["llama-bpe", "\"smollm\" is read"]);
    let template = with("tokenizer.chat_template", text("[INST]"));
    refused("template", &template, &["chat template", "--raw"]);
    let bare = Tiny::new().without("tokenizer.ggml.tokens");
    refused("bare", &bare, &["no metadata tokenizer.ggml.tokens"]);
    let merges = with("tokenizer.ggml.merges", Meta::Texts(vec!["t q".into()]));
    refused("merges", &merges, &["merge \"t q\" is not of its tokens"]);
    let count = with("llama.vocab_size", Meta::Count(99));
    refused("count", &count, &["states 99 tokens and names 267"]);
}

#[test]
fn tensors_that_do_not_fit() {
    let mut shape = Tiny::new();
    shape.tensor("blk.1.ffn_up.weight").axes.reverse();
    refused(
        "shape",
        &shape,
        &["blk.1.ffn_up.weight has axes [96, 128]", "[128, 96]"],
    );
    let missing = Tiny::new().without("blk.0.attn_v.weight");
    refused("missing", &missing, &["no tensor blk.0.attn_v.weight"]);
    let mut more = Tiny::new();
    let bias = more.tensor("output_norm.weight").clone();
    more.tensors.push(("blk.0.attn_q.bias".into(), bias));
    refused("more", &more, &["21 tensors", "2 layers 20"]);
    let mut kind = Tiny::new();
    kind.tensor("blk.0.attn_q.weight").kind = 2;
    refused(
        "kind",
        &kind,
        &["blk.0.attn_q.weight", "storage type is 2", "Q4_1"],
    );
    let layers = Tiny::new().with("llama.block_count", Meta::Count(i32::MAX as u32));
    refused("layers", &layers, &["no tensor blk.2.attn_norm.weight"]);
    let mut far = Tiny::new().with("llama.feed_forward_length", Meta::Count(i32::MAX as u32));
    let gate = far.tensor("blk.0.ffn_gate.weight");
    (gate.axes, gate.kind) = (vec![WIDTH as u64, i32::MAX as u64], F32);
    refused("far", &far, &["truncated", "ffn_gate"]);
}

#[test]
fn what_a_prompt_needs() {
    let model = tiny();
    let long = format!("--prompt={}", "x ".repeat(300));
    run(&model, &[&long, "--raw"], "").refused(1, &["600 tokens", "room for 512"]);
    run(&model, &[PROMPT, "--raw", "--context=3"], "")
        .refused(1, &["room for 3", "--context more"]);
    run(&model, &[PROMPT, "--context=513"], "").refused(1, &["513", "trained on 512"]);
    run(&model, &[PROMPT, "--stream=4,509"], "")
        .refused(1, &["4 first", "window of 509", "on 512"]);
    run(&model, &["--prompt=", "--raw"], "").refused(1, &["the prompt is empty"]);
    run(&model, &[PROMPT, "--adapter=no such"], "").refused(1, &["no adapter is called"]);
}

#[test]
fn bad_command_lines() {
    for (options, words) in [
        (&["--tempo=1"][..], "--tempo"),
        (&["--tokens=0"], "from 1 to"),
        (&["--temperature=-1"], "from 0.001 to 1000"),
        (&["--temperature=nan"], "from 0.001 to 1000"),
        (&["--top-p=0"], "above 0, at most 1"),
        (&["--top-p=1.5"], "above 0, at most 1"),
        (&["--seed=x"], "a whole number from 0"),
        (&["--speculative=64"], "from 0 to 63"),
        (&["--paged=48"], "a power of two"),
        (&["--stream=4"], "F,W"),
        (&["--stream=4,0"], "a window from 1"),
        (&["--stream=4,32", "--paged"], "cannot be used with"),
        (&["--stream=4,32", "--check", PROMPT], "cannot be used with"),
        (&["--reference", "--paged"], "cannot be used with"),
        (&["--reference", "--kv=int8"], "cannot be used with"),
        (&["--kv=int3"], "int8"),
        (&["--raw"], "--prompt"),
        (&["--check"], "--prompt"),
        (&["--reference", "--adapter=0"], "cannot be used with"),
        (&["--raw", "--system=x", PROMPT], "cannot be used with"),
    ] {
        run(&tiny(), options, "").refused(2, &[words]);
    }
}
