//! The training example learns, and draws its curve.

use super::run::{assert_drawn, example, picture};

#[test]
fn the_loss_falls_a_hundredfold() {
    let picture = picture("fit");
    example("fit", &[&picture.display().to_string()]).succeeded();
    assert_drawn(&picture);
}

#[test]
fn a_loss_that_does_not_fall_is_an_error() {
    let picture = picture("fit-short").display().to_string();
    let run = example("fit", &[&picture, "--steps", "2"]);
    assert_eq!(run.status, Some(1), "{run:?}");
    assert!(run.stderr.contains("the loss fell only"), "{run:?}");
}
