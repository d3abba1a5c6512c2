//! The example of static patterns tells each one's density, and draws them all.

use super::run::{assert_drawn, example, picture};

#[test]
fn every_pattern_is_drawn() {
    let picture = picture("patterns");
    let run = example("patterns", &[&picture.display().to_string()]).succeeded();
    assert!(run.stdout.contains("causal: 128 x 128 pairs"), "{run:?}");
    // 128·129/2 of 128² pairs.
    assert!(run.stdout.contains("density 50.39 %"), "{run:?}");
    assert_eq!(run.stdout.matches("density").count(), 14, "{run:?}");
    assert_drawn(&picture);
}
