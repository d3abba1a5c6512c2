//! The training example learns, and draws its curve.

use super::tool::{directory, example, text};

#[test]
fn the_loss_falls_a_hundredfold() {
    let picture = directory("fit").join("fit.png");
    example("fit", &[text(&picture)]).succeeded();
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG"));
}

#[test]
fn a_loss_that_does_not_fall_is_an_error() {
    let picture = text(&directory("fit-short").join("fit.png"));
    let run = example("fit", &[picture.as_str(), "--steps", "2"]);
    assert_eq!(run.status, Some(1), "{run:?}");
    assert!(run.stderr.contains("the loss fell only"), "{run:?}");
}
