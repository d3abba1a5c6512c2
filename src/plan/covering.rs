//! The variants that the test suites run: a pairwise covering array over the compile key.

use std::collections::BTreeSet;

use crate::caps::Caps;
use crate::problem::Element;

use super::variant::{Input, Prefill, Strategy, Tiling, Variant, workgroup_tile_bytes};

/// One value of one dimension of the key. A new dimension is a new arm here, a line in [`dimensions`], one in
/// [`set`] and, where it does not go with everything, one in [`excludes`].
#[derive(Clone, Copy, Debug)]
enum Level {
    Strategy(Strategy),
    /// (D, Dv)
    Dims(u32, u32),
    /// Of the inputs and of o.
    Elements(Element, Element),
    Lanes(u32),
    Aligned(bool),
    Rows(u32),
    Softcap(bool),
}

fn dimensions() -> Vec<Vec<Level>> {
    let subgroup =
        |width| [true, false].map(|fixed| Level::Strategy(Strategy::Subgroup { width, fixed }));
    let mut strategies: Vec<Level> = [4, 8, 16, 32].into_iter().flat_map(subgroup).collect();
    strategies.push(Level::Strategy(Strategy::Workgroup));
    let dims = [
        (1, 1),
        (33, 17),
        (64, 64),
        (80, 80),
        (128, 128),
        (192, 128),
        (256, 256),
    ];
    let elements = Element::ALL.into_iter().flat_map(|x| match x {
        Element::F32 => vec![Level::Elements(x, x)],
        _ => vec![Level::Elements(x, x), Level::Elements(x, Element::F32)],
    });
    vec![
        strategies,
        dims.map(|(d, dv)| Level::Dims(d, dv)).to_vec(),
        elements.collect(),
        [1, 2, 4].map(Level::Lanes).to_vec(),
        [true, false].map(Level::Aligned).to_vec(),
        [1, 2].map(Level::Rows).to_vec(),
        [true, false].map(Level::Softcap).to_vec(),
    ]
}

/// True for two levels that no variant has together.
fn excludes(a: Level, b: Level) -> bool {
    match (a, b) {
        // Rows that start at multiples of four end there.
        (Level::Dims(d, dv), Level::Aligned(true)) => (d | dv) % 4 != 0,
        // Words that two rows share are written by a pack step.
        (Level::Dims(_, dv), Level::Elements(_, output)) => output != Element::F32 && dv % 2 != 0,
        (Level::Strategy(Strategy::Workgroup), Level::Lanes(lanes)) => lanes > 1,
        // Two rows of so many channels take seconds to compile and add nothing.
        (Level::Dims(d, dv), Level::Rows(rows)) => rows > 1 && d + dv > 256,
        _ => false,
    }
}

fn set(key: &mut Prefill, level: Level) {
    match level {
        Level::Strategy(strategy) => key.strategy = strategy,
        Level::Dims(d, dv) => (key.chunks, key.value_chunks) = (d.div_ceil(4), dv.div_ceil(4)),
        Level::Elements(input, output) => (key.input.element, key.output) = (input, output),
        Level::Lanes(lanes) => key.tiling.lanes_per_row = lanes,
        Level::Aligned(aligned) => key.input.aligned = aligned,
        Level::Rows(rows) => key.tiling.rows = rows,
        Level::Softcap(softcap) => key.softcap = softcap,
    }
}

impl Variant {
    /// A set of variants in which every two properties that may meet do meet, at most 160 of them, with tiles small
    /// enough to compile fast: what the portability and GPU suites run.
    pub fn covering() -> Vec<Self> {
        let outputs = Element::ALL.into_iter();
        let combine = outputs.clone().map(|output| Self::Combine { output });
        let pack = outputs.map(|output| Self::Pack { output });
        let forward = pairwise(&dimensions()).into_iter().map(prefill);
        forward
            .map(Self::Prefill)
            .chain(combine)
            .chain(pack)
            .collect()
    }
}

fn prefill(levels: Vec<Level>) -> Prefill {
    let mut key = Prefill {
        strategy: Strategy::Workgroup,
        tiling: Tiling {
            invocations: 32,
            lanes_per_row: 1,
            rows: 1,
            keys: 4,
            tile: 4,
        },
        input: Input {
            element: Element::F32,
            aligned: false,
        },
        output: Element::F32,
        chunks: 1,
        value_chunks: 1,
        softcap: false,
        count_tiles: false,
    };
    for level in levels {
        set(&mut key, level);
    }
    fit_tile(&mut key);
    key
}

/// Keys and invocations: two clusters a workgroup, or the largest tile that WebGPU's least memory holds.
fn fit_tile(key: &mut Prefill) {
    let tiling = &mut key.tiling;
    if let Strategy::Subgroup { width, .. } = key.strategy {
        tiling.invocations = 2 * width;
        tiling.keys = width / tiling.lanes_per_row;
        tiling.tile = tiling.keys;
        return;
    }
    let chunks = key.chunks + key.value_chunks;
    let fits = |tile: &u32| workgroup_tile_bytes(*tile, chunks) <= Caps::BASELINE.workgroup_memory;
    tiling.tile = [16, 8].into_iter().find(fits).unwrap_or(tiling.keys);
}

/// A level by its dimension and its number there.
type Place = (usize, usize);

/// Rows of one level a dimension that between them hold every pair of levels that do not exclude each other. Each
/// row starts with a pair still missing and is filled up with the levels that add most (a greedy array, as AETG's).
fn pairwise(dimensions: &[Vec<Level>]) -> Vec<Vec<Level>> {
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
            let fitting = places(dimension).filter(|&a| row.iter().all(|&b| agree(a, b)));
            // Of equal gains the last: the dimensions end with what compiles fastest.
            row.extend(fitting.max_by_key(|&a| gain(a)));
        }
        row.sort();
        missing.retain(|pair| !pair.iter().all(|place| row.contains(place)));
        rows.push(row.into_iter().map(level).collect());
    }
    rows
}
