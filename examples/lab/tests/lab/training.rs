//! A few steps of training.

use lab::model::Model;
use lab::scheme::{Learned, Scheme};
use lab::text;
use lab::train::{Recipe, Run};

use super::tool::{folder, gpu};

const STEPS: usize = 20;

fn recipe(steps: usize) -> Recipe {
    Recipe {
        steps,
        batch: 4,
        len: 64,
        rate: 0.003,
        warm_up: 5,
        seed: 5,
    }
}

/// Bits per byte of each step, on a run that stands in `name`.
fn losses(name: &std::path::Path, recipe: &Recipe, until: usize) -> Vec<f64> {
    let mut run = Run::open(name, recipe, || Model::new(5)).unwrap();
    let scheme = Scheme::AsTrained(Learned::Rope);
    run.train_until(gpu(), &scheme, &text::train().unwrap(), recipe, until)
        .unwrap();
    run.progress.losses
}

#[test]
fn twenty_steps_lower_the_loss() {
    let losses = losses(&folder("twenty"), &recipe(STEPS), STEPS);
    assert_eq!(losses.len(), STEPS);
    // 8 bits a byte is what a model that knows nothing needs.
    assert!((7.5..8.5).contains(&losses[0]), "{losses:?}");
    assert!(losses[STEPS - 1] < losses[0] - 2.0, "{losses:?}");
}

/// A run that stopped goes on as if it had not.
#[test]
fn an_interrupted_run_loses_nothing() {
    let whole = losses(&folder("whole"), &recipe(6), 6);
    let parts = folder("parts");
    assert_eq!(losses(&parts, &recipe(6), 3).len(), 3);
    let resumed = losses(&parts, &recipe(6), 6);
    assert_eq!(whole.len(), resumed.len());
    for (a, b) in whole.iter().zip(&resumed) {
        assert!((a - b).abs() < 1e-4, "{whole:?} and {resumed:?}");
    }
}
