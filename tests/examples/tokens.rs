//! Tokens through a cache.

use super::run::example;

#[test]
fn it_says_what_a_token_costs_and_where_it_ended() {
    let run = example("tokens", &[]).succeeded();
    assert!(run.stdout.contains("us of CPU per layer"), "{run:?}");
    assert!(run.stdout.contains("the cache holds 64 tokens"), "{run:?}");
}
