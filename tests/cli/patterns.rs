//! The example of static patterns tells each one's density, and draws them all.

use super::tool::{directory, example, text};

#[test]
fn every_pattern_is_drawn() {
    let picture = directory("patterns").join("patterns.png");
    let run = example("patterns", &[text(&picture)]).succeeded();
    assert!(run.stdout.contains("causal: 128 x 128 pairs"), "{run:?}");
    // 128·129/2 of 128² pairs.
    assert!(run.stdout.contains("density 50.39 %"), "{run:?}");
    assert_eq!(run.stdout.matches("density").count(), 14, "{run:?}");
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG"));
}
