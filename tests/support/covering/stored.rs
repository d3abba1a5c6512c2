//! Keys and values that are stored otherwise than queries: each codec, whole and ragged, 4 and 8 channels at a time, in
//! every strategy, and where rows are rotated as they are loaded.

use wgpu_attention::Element::{self, BF16, F16, F32, Int4, Int8};
use wgpu_attention::internal::{
    Address, Append, Decode, Hadamard, Input, Output, Pool, Prefill, Strategy, Variant,
};
use wgpu_attention::problem::position::RotaryLayout;

use super::{Level, Scheme, prefill, rotations};

const SUBGROUP: Strategy = Strategy::Subgroup {
    width: 8,
    fixed: true,
};
const CHANNELS: Strategy = Strategy::Channels {
    width: 8,
    fixed: true,
};
const WORKGROUP: Strategy = Strategy::Workgroup;

const fn fused(layout: RotaryLayout) -> Level {
    let positions = false;
    Level::Scheme(Scheme::Fused { layout, positions })
}

const HALF: Level = fused(RotaryLayout::Half);
const NEIGHBOURS: Level = fused(RotaryLayout::Interleaved);
const PLAIN: Level = Level::Scheme(Scheme::None);

/// Strategy, the elements of q, k and v, (D, Dv), vec8 loads, positions.
type Stored = (Strategy, [Element; 3], (u32, u32), bool, Level);

const MANY_QUERIES: [Stored; 6] = [
    (SUBGROUP, [F16, Int8, Int8], (80, 80), false, PLAIN),
    (SUBGROUP, [F32, Int8, Int4], (64, 64), true, NEIGHBOURS),
    // Keys that were rotated before, in the cache's own type.
    (SUBGROUP, [F32, F16, F16], (80, 80), false, PLAIN),
    (SUBGROUP, [BF16, Int4, Int8], (33, 17), false, PLAIN),
    (WORKGROUP, [F16, Int4, Int4], (40, 24), true, PLAIN),
    (WORKGROUP, [F32, Int4, F16], (128, 128), false, HALF),
];

const FEW_QUERIES: [Stored; 4] = [
    (CHANNELS, [F32, Int8, Int8], (128, 128), true, PLAIN),
    (CHANNELS, [F16, Int4, Int4], (64, 64), true, HALF),
    (CHANNELS, [BF16, Int4, Int4], (33, 17), false, PLAIN),
    (WORKGROUP, [F32, Int8, Int4], (80, 80), false, NEIGHBOURS),
];

pub fn stored() -> impl Iterator<Item = Variant> {
    let many = MANY_QUERIES.into_iter().map(|x| Variant::Prefill(key(x)));
    let few = FEW_QUERIES.map(|x| Variant::Decode(Decode(key(x))));
    many.chain(few).chain(passes()).chain(makers())
}

fn key((strategy, [q, k, v], (d, dv), vec8, scheme): Stored) -> Prefill {
    let whole = d % 4 == 0;
    let levels = vec![
        Level::Strategy(strategy),
        Level::Dims(d, dv),
        Level::Elements(q, q, if dv % 2 == 0 { q } else { F32 }),
        Level::Aligned(whole),
        scheme,
    ];
    let mut key = prefill(levels);
    (key.k.element, key.v.element) = (k, v);
    Prefill { vec8, ..key }
}

/// What reads quantised keys before attention: a rotation and a pool.
fn passes() -> impl Iterator<Item = Variant> {
    let mut rotate = rotations(F32).next().expect("a rotation");
    (rotate.input.element, rotate.vec8) = (Int4, true);
    let input = Input {
        element: Int8,
        aligned: true,
    };
    let extremes = true;
    let pool = Pool { input, extremes };
    [Variant::Rotate(rotate), Variant::Pool(pool)].into_iter()
}

/// What makes such rows of floats, and what rotates rows by Hadamard matrices.
fn makers() -> impl Iterator<Item = Variant> {
    let input = |element, aligned| Input { element, aligned };
    let output = |element, aligned| Output { element, aligned };
    let appends = [
        (input(F32, true), output(Int8, true), Address::Strided),
        (input(BF16, false), output(Int4, false), Address::Paged),
    ];
    let appends = appends.map(|(input, output, to)| {
        let vec8 = false;
        Variant::Append(Append {
            input,
            output,
            to,
            ragged: false,
            vec8,
        })
    });
    let rotations = [(F32, F16, true), (BF16, F32, false)].map(|(from, to, aligned)| {
        Variant::Hadamard(Hadamard {
            input: input(from, aligned),
            output: output(to, aligned),
        })
    });
    appends.into_iter().chain(rotations)
}
