//! Pearson's test of counts against probabilities.

use super::distribution::draw;
use rand::{SeedableRng, rngs::StdRng};

/// How far χ² lies above what these probabilities give, in standard deviations (Wilson and Hilferty's cube root, 1931).
/// Cells with less than five expected counts are one cell; an outcome of probability 0 is infinitely far.
pub fn deviations(counts: &[u64], probabilities: &[f64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let (mut chi, mut cells) = (0.0, 0.0);
    let mut rare = (0.0, 0.0);
    let mut add = |count: f64, expected: f64| {
        chi += (count - expected).powi(2) / expected;
        cells += 1.0;
    };
    for (&count, &probability) in counts.iter().zip(probabilities) {
        let (count, expected) = (count as f64, total * probability);
        if probability == 0.0 && count > 0.0 {
            return f64::INFINITY;
        } else if expected >= 5.0 {
            add(count, expected);
        } else {
            rare = (rare.0 + count, rare.1 + expected);
        }
    }
    if rare.1 > 0.0 {
        add(rare.0, rare.1);
    }
    if cells < 2.0 {
        return 0.0; // one outcome, which is certain
    }
    let spread = 2.0 / (9.0 * (cells - 1.0));
    ((chi / (cells - 1.0)).cbrt() - (1.0 - spread)) / spread.sqrt()
}

#[test]
fn the_test_tells_distributions_apart() {
    let row: Vec<f32> = (1..=20).map(|k| k as f32 / 210.0).collect();
    let mut random = StdRng::seed_from_u64(1);
    let mut counts = [0; 20];
    for _ in 0..100_000 {
        counts[draw(&row, &[], &mut random).unwrap() as usize] += 1;
    }
    let right: Vec<f64> = row.iter().map(|&p| f64::from(p)).collect();
    assert!(deviations(&counts, &right) < 4.0);
    let mut wrong = right.clone();
    wrong[9] += 0.01;
    wrong[10] -= 0.01;
    assert!(deviations(&counts, &wrong) > 10.0);
    wrong[4] = 0.0;
    assert_eq!(deviations(&counts, &wrong), f64::INFINITY);
    assert_eq!(deviations(&[7, 0], &[1.0, 0.0]), 0.0);
}
