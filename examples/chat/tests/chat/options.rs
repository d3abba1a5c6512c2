//! What each option does, on the tiny model.

use super::tool::{json, run, tiny, tokens};

const RAW: &[&str] = &["--prompt=the sea and the land and the sea and", "--raw"];

fn raw(options: &[&str]) -> serde_json::Value {
    json(&tiny(), &[RAW, options].concat())
}

#[test]
fn text_and_measures_have_a_stream_each() {
    let run = run(&tiny(), &[RAW, &["--tokens=8", "--check"]].concat(), "").succeeded();
    let answer = raw(&["--tokens=8"]);
    assert_eq!(
        run.stdout.trim_end_matches('\n'),
        answer["text"]
            .as_str()
            .expect("a text")
            .trim_end_matches('\n')
    );
    for word in ["read", "tokens/s", "attention", "cache", "8 rows of logits"] {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
}

#[test]
fn tokens_and_context_bound_an_answer() {
    assert_eq!(tokens(&raw(&["--tokens=5"])).len(), 5);
    let answer = raw(&["--tokens=100", "--context=40"]);
    // 40 are held and one more is known.
    assert_eq!(answer["cache"]["tokens"], 40);
    let read = answer["read"]["tokens"].as_u64().expect("a count") as usize + 1;
    assert_eq!(tokens(&answer).len(), 40 + 1 - read);
    // Two layers, k and v, of two heads of 32 channels each; beside them what tells where they lie.
    let bytes = answer["cache"]["bytes"].as_u64().expect("a count");
    let rows = 40 * 2 * 2 * 64 * 4;
    assert!((rows..rows + rows / 2).contains(&bytes), "{bytes}");
}

#[test]
fn pages_change_nothing_that_is_said() {
    let plain = raw(&["--tokens=40"]);
    for option in ["--paged", "--paged=1", "--paged=16"] {
        assert_eq!(
            tokens(&raw(&["--tokens=40", option])),
            tokens(&plain),
            "{option}"
        );
    }
}

#[test]
fn fewer_bits_take_less_memory() {
    let answer = |kv: &str| {
        let answer = raw(&["--tokens=20", kv, "--check"]);
        let bytes = answer["cache"]["bytes"].as_u64().expect("a count");
        let far = answer["check"]["largest_difference"]
            .as_f64()
            .expect("a number");
        (bytes, far)
    };
    let [exact, int8, int4] = ["--kv=f32", "--kv=int8", "--kv=int4"].map(answer);
    assert!(
        exact.0 > int8.0 && int8.0 > int4.0,
        "{exact:?} {int8:?} {int4:?}"
    );
    assert!(
        exact.1 < 1e-3 && int8.1 > exact.1,
        "{exact:?} {int8:?} {int4:?}"
    );
}

/// A stream goes on where a context would be full, in memory that does not grow, and says what its definition says.
#[test]
fn a_stream_has_no_end() {
    let stream = |more: &[&str]| raw(&[&["--stream=4,32"], more].concat());
    let (short, long) = (stream(&["--tokens=20"]), stream(&["--tokens=600"]));
    assert_eq!(tokens(&long).len(), 600);
    assert_eq!(short["cache"]["bytes"], long["cache"]["bytes"]);
    assert_eq!(
        tokens(&stream(&["--tokens=120", "--reference"])),
        tokens(&long)[..120]
    );
    assert_eq!(
        tokens(&stream(&["--tokens=100", "--speculative=4"])).len(),
        100
    );
}

#[test]
fn drafts_change_the_number_of_passes_and_not_the_text() {
    let (plain, drafted) = (
        raw(&["--tokens=60"]),
        raw(&["--tokens=60", "--speculative=4"]),
    );
    assert_eq!(tokens(&plain), tokens(&drafted));
    assert_eq!(plain["written"]["passes"], 60);
    let kept = drafted["drafts"]["kept"].as_u64().expect("a count");
    let passes = drafted["written"]["passes"].as_u64().expect("a count");
    assert!(kept > 0 && passes + kept >= 60 && passes < 60, "{drafted}");
}

#[test]
fn the_reference_says_the_same() {
    assert_eq!(
        tokens(&raw(&["--tokens=40"])),
        tokens(&raw(&["--tokens=40", "--reference"]))
    );
}

#[test]
fn seeds_and_temperatures_draw() {
    let drawn = |more: &[&str]| tokens(&raw(&[&["--tokens=30"], more].concat()));
    let hot = drawn(&["--temperature=1.5"]);
    assert_eq!(hot, drawn(&["--temperature=1.5", "--seed=0"]));
    assert_ne!(hot, drawn(&["--temperature=1.5", "--seed=1"]));
    assert_ne!(hot, drawn(&[]));
    // So little probability is that of the likeliest token alone.
    assert_eq!(drawn(&["--temperature=1.5", "--top-p=1e-6"]), drawn(&[]));
    assert_ne!(drawn(&["--temperature=1.5", "--top-p=0.5"]), hot);
    // With drafts other numbers are drawn, from the same rows.
    let drafted = ["--temperature=0.7", "--speculative=3"];
    assert_eq!(drawn(&drafted).len(), 30);
    assert_eq!(drawn(&drafted), drawn(&drafted));
}

/// A conversation goes on in its cache: the second message is read after the first answer.
#[test]
fn a_line_is_a_message() {
    let options = ["--tokens=6", "--context=400"];
    let run = run(&tiny(), &options, "the sea\n\nthe land\n").succeeded();
    assert!(run.stderr.contains("written  12 tokens"), "{run:?}");
    let one = super::tool::run(&tiny(), &options, "the sea\n").succeeded();
    assert!(
        run.stdout.starts_with(one.stdout.trim_end_matches('\n')),
        "{run:?} {one:?}"
    );
    let full = super::tool::run(
        &tiny(),
        &["--tokens=6", "--context=120"],
        "the sea\nthe land\n",
    );
    assert_eq!(full.status, Some(1), "{full:?}");
    assert!(
        full.stderr.contains("the context of 120 tokens is full"),
        "{full:?}"
    );
}

#[test]
fn the_system_prompt_is_read() {
    let answer = |system: &str| {
        let system = format!("--system={system}");
        let answer = json(&tiny(), &["--prompt=the", "--tokens=8", &system]);
        answer["read"]["tokens"].as_u64().expect("a count")
    };
    // One letter more, one token more.
    assert_eq!(answer("ab") + 1, answer("abc"));
}
