//! Every two levels that may meet, in few rows.

use std::collections::BTreeSet;

use super::{Level, excludes, is_too_long};

/// A level by its dimension and its number there.
type Place = (usize, usize);

/// Rows of one level a dimension that between them hold every pair of levels that do not exclude each other. Each
/// row starts with a pair still missing and is filled up with the levels that add most (a greedy array, as AETG's).
pub fn pairwise(dimensions: &[Vec<Level>]) -> Vec<Vec<Level>> {
    let level = |(dimension, n): Place| -> Level { dimensions[dimension][n] };
    let agree = |a: Place, b: Place| !excludes(level(a.min(b)), level(a.max(b)));
    let places = |dimension: usize| (0..dimensions[dimension].len()).map(move |n| (dimension, n));
    let mut missing: BTreeSet<[Place; 2]> = (0..dimensions.len())
        .flat_map(|a| (a + 1..dimensions.len()).map(move |b| (a, b)))
        .flat_map(|(a, b)| places(a).flat_map(move |a| places(b).map(move |b| [a, b])))
        .filter(|&[a, b]| agree(a, b))
        .collect();
    let mut rows = Vec::new();
    while let Some(seed) = missing.first() {
        let mut row = seed.to_vec();
        for dimension in (0..dimensions.len()).filter(|d| seed.iter().all(|place| place.0 != *d)) {
            let gain = |a: Place| {
                row.iter()
                    .filter(|&&b| missing.contains(&[a.min(b), a.max(b)]))
                    .count()
            };
            let too_long = |a: Place| {
                let with = row.iter().copied().chain([a]).map(level);
                is_too_long(&with.collect::<Vec<_>>())
            };
            let fitting =
                places(dimension).filter(|&a| row.iter().all(|&b| agree(a, b)) && !too_long(a));
            // Of equal gains the last: the dimensions end with what compiles fastest.
            row.extend(fitting.max_by_key(|&a| gain(a)));
        }
        row.sort();
        missing.retain(|pair| !pair.iter().all(|place| row.contains(place)));
        rows.push(row.into_iter().map(level).collect());
    }
    rows
}
