//! SmolLM2 itself, where it was fetched.

use serde_json::Value;

use super::tool::{json, real, run, tokens};

const QUESTION: &str = "--prompt=What is the capital of France?";

#[test]
fn it_knows_the_capital_of_france() {
    let Some(model) = real("SmolLM2 on the capital of France") else {
        return;
    };
    let answer = json(&model, &[QUESTION, "--tokens=64", "--check"]);
    assert_eq!(answer["text"], "The capital of France is Paris.");
    let difference = |key: &str| answer["check"][key].as_f64().expect("a number");
    assert!(difference("largest_difference") < 2e-3, "{answer}");
    assert_eq!(difference("rows"), difference("same_likeliest"));
}

#[test]
fn its_greedy_text_is_that_of_the_definition() {
    let Some(model) = real("64 tokens of SmolLM2 against the definition") else {
        return;
    };
    let tell = "--prompt=Tell me about the sea.";
    let answer = |options: &[&str]| json(&model, &[&[tell, "--tokens=64"], options].concat());
    let (ours, plain) = (answer(&[]), answer(&["--reference"]));
    assert_eq!(tokens(&ours), tokens(&plain));
    assert_eq!(tokens(&ours).len(), 64);
    assert_eq!(answer(&["--speculative=4"])["text"], ours["text"]);
    assert!(ours["adapter"].is_string() && plain["adapter"] == Value::Null);
}

#[test]
fn another_hash_is_refused() {
    let Some(model) = real("the hash of SmolLM2") else {
        return;
    };
    run(&model, &["--sha256=00", QUESTION], "")
        .refused(1, &["has the SHA-256 b179", "fetch it again"]);
}
