//! The first program of the documentation runs.

use super::run::example;

#[test]
fn it_prints_its_plan_and_an_answer() {
    let run = example("quickstart", &[]).succeeded();
    assert!(run.stdout.contains("first row of o begins"), "{run:?}");
    // The first query sees one key: row 0 of o is that of v, sin(0), sin(0.3), sin(0.6), ...
    assert!(
        run.stdout.contains("[0.0, 0.29552022, 0.5646425"),
        "{run:?}"
    );
}
