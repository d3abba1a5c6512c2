//! The variants that the test suites run: a pairwise covering array over the compile key.

pub mod backward;
pub mod cached;
mod decode;
mod pairwise;
pub mod ragged;
pub mod stored;

use wgpu_attention::internal::{
    Address, Check, Input, ListBlocks, ListFrom, MaskKey, MaxScores, Merge, Output, Pack, PackRows,
    Pool, Prefill, Rotate, ScanBlocks, ScoreBlocks, ScoreKey, Strategy, Variant,
    workgroup_tile_bytes,
};
use wgpu_attention::problem::position::RotaryLayout;
use wgpu_attention::{Caps, Element, Tiling};

use pairwise::pairwise;

/// One value of one dimension of the key. A new dimension is a new arm here, a line in [`dimensions`], one in
/// [`set`] and, where it does not go with everything, one in [`excludes`].
#[derive(Clone, Copy, Debug)]
enum Level {
    Strategy(Strategy),
    /// (D, Dv)
    Dims(u32, u32),
    /// Of q and k, of v and of o.
    Elements(Element, Element, Element),
    Lanes(u32),
    Aligned(bool),
    Rows(u32),
    KeyLoop(bool),
    Softcap(bool),
    Bias(bool),
    BiasPairs,
    /// Of 16-bit numbers.
    BiasOf(Element),
    /// Before the softcap, and of bf16: where it joins and how it is loaded do not meet in any text.
    BiasFirst,
    Scheme(Scheme),
    /// Which gradient, in the array of the backward pass.
    Gradient(backward::Kernel),
    Mask(MaskKey),
}

/// Which positions matter, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    None,
    Alibi {
        positions: bool,
    },
    T5 {
        positions: bool,
    },
    Fused {
        layout: RotaryLayout,
        positions: bool,
    },
    /// After a rotation pass: the kernel sees f32 q and k, and the queries' temperature.
    Temperature,
}

const SCHEMES: [Scheme; 10] = [
    Scheme::Fused {
        layout: RotaryLayout::Half,
        positions: false,
    },
    Scheme::Fused {
        layout: RotaryLayout::Half,
        positions: true,
    },
    Scheme::Fused {
        layout: RotaryLayout::Interleaved,
        positions: false,
    },
    Scheme::Fused {
        layout: RotaryLayout::Interleaved,
        positions: true,
    },
    Scheme::Temperature,
    Scheme::T5 { positions: true },
    Scheme::T5 { positions: false },
    Scheme::Alibi { positions: true },
    Scheme::Alibi { positions: false },
    Scheme::None,
];

const NO_MASK: MaskKey = MaskKey {
    list: false,
    bits: false,
    segments: false,
    dense: false,
    tree: false,
    device: false,
    marked: false,
};

const MASKS: [MaskKey; 6] = [
    MaskKey {
        dense: true,
        ..NO_MASK
    },
    MaskKey {
        list: true,
        bits: true,
        segments: true,
        tree: true,
        ..NO_MASK
    },
    MaskKey {
        list: true,
        bits: true,
        ..NO_MASK
    },
    MaskKey {
        list: true,
        device: true,
        ..NO_MASK
    },
    MaskKey {
        list: true,
        ..NO_MASK
    },
    NO_MASK,
];

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
        Element::F32 => vec![Level::Elements(x, x, x)],
        _ => vec![
            Level::Elements(x, x, x),
            Level::Elements(x, x, Element::F32),
            // What a rotation pass makes of q and k.
            Level::Elements(Element::F32, x, x),
        ],
    });
    vec![
        strategies,
        dims.map(|(d, dv)| Level::Dims(d, dv))
            .into_iter()
            .rev()
            .collect(),
        elements.collect(),
        [1, 2, 4].map(Level::Lanes).to_vec(),
        [true, false].map(Level::Aligned).to_vec(),
        [1, 2].map(Level::Rows).to_vec(),
        [false, true].map(Level::KeyLoop).to_vec(),
        [true, false].map(Level::Softcap).to_vec(),
        vec![Level::Bias(true), Level::Bias(false), Level::BiasFirst],
        SCHEMES.map(Level::Scheme).to_vec(),
        MASKS.map(Level::Mask).to_vec(),
    ]
}

/// True for two levels that no variant has together.
fn excludes(a: Level, b: Level) -> bool {
    match (a, b) {
        // Rows that start at multiples of four end there.
        (Level::Dims(d, dv), Level::Aligned(true)) => (d | dv) % 4 != 0,
        // Words that two rows share are written by a pack step.
        (Level::Dims(_, dv), Level::Elements(_, _, output))
            if output != Element::F32 && dv % 2 != 0 =>
        {
            true
        }
        // Shared rows there have variants of their own.
        (Level::Strategy(Strategy::Workgroup), Level::Lanes(lanes)) => lanes > 1,
        (Level::Strategy(Strategy::Workgroup), Level::KeyLoop(key_loop)) => key_loop,
        // Two rows of so many channels take seconds to compile and add nothing.
        (Level::Dims(d, dv), Level::Rows(rows)) => rows > 1 && d + dv > 256,
        (Level::Softcap(softcap), Level::BiasFirst) => !softcap,
        // No pair of channels to rotate.
        (Level::Dims(d, _), Level::Scheme(Scheme::Fused { .. } | Scheme::Temperature)) => d < 8,
        // Only a pass makes f32 of other q and k, and no kernel rotates them again.
        (Level::Dims(d, _), Level::Elements(q, v, _)) if q != v => d < 8,
        (Level::Elements(q, v, _), Level::Scheme(Scheme::Fused { .. })) => q != v,
        (Level::Elements(q, ..), Level::Scheme(Scheme::Temperature)) => q != Element::F32,
        _ => backward::excludes(a, b),
    }
}

/// Levels that are fine two by two, but not all together: a driver of 4 lanes (SwiftShader) takes minutes and
/// gigabytes to compile a lane that holds much more than 160 words of q and o, or half of that when it rotates them. A
/// gradient's lane holds twice as much, and takes the better part of a minute anywhere.
fn is_too_long(row: &[Level]) -> bool {
    let (mut narrow, mut gradient) = (false, false);
    let (mut channels, mut rows, mut lanes, mut most) = (1, 1, 4, 160);
    for level in row {
        match *level {
            Level::Strategy(Strategy::Subgroup { width, .. }) => narrow = width < 8,
            Level::Strategy(Strategy::Channels { width, .. }) => {
                (narrow, lanes) = (width < 8, width);
            }
            Level::Dims(d, dv) => channels = d + dv,
            Level::Rows(n) => rows = n,
            Level::Lanes(n) => lanes = n,
            Level::Scheme(Scheme::Fused { .. }) => most = 80,
            Level::Gradient(_) => gradient = true,
            _ => {}
        }
    }
    let words = channels * rows / lanes;
    match gradient {
        true => words > if narrow { 80 } else { 160 },
        false => narrow && channels * rows > most * lanes,
    }
}

fn set(key: &mut Prefill, level: Level) {
    match level {
        Level::Strategy(strategy) => key.strategy = strategy,
        Level::Dims(d, dv) => (key.chunks, key.value_chunks) = (d.div_ceil(4), dv.div_ceil(4)),
        Level::Elements(input, value, output) => {
            (key.q.element, key.k.element, key.v.element) = (input, input, value);
            key.output.element = output;
        }
        Level::Lanes(lanes) => key.tiling.lanes_per_row = lanes,
        Level::Aligned(aligned) => {
            (key.q.aligned, key.k.aligned, key.v.aligned) = (aligned, aligned, aligned);
            key.output.aligned = aligned;
        }
        Level::Rows(rows) => key.tiling.rows = rows,
        Level::KeyLoop(key_loop) => key.key_loop = key_loop,
        Level::Softcap(softcap) => key.score.softcap = softcap,
        Level::Bias(bias) => key.score.bias = bias,
        Level::BiasFirst => {
            (key.score.softcap, key.score.bias, key.score.bias_first) = (true, true, true);
            key.score.bias_element = Element::BF16;
        }
        Level::BiasOf(element) => (key.score.bias, key.score.bias_element) = (true, element),
        Level::BiasPairs => (key.score.bias, key.score.bias_pairs) = (true, true),
        Level::Scheme(scheme) => set_scheme(key, scheme),
        Level::Gradient(_) => {}
        Level::Mask(mask) => key.mask = mask,
    }
}

fn set_scheme(key: &mut Prefill, scheme: Scheme) {
    let mut given = false;
    match scheme {
        Scheme::None => {}
        Scheme::Alibi { positions } => (key.score.alibi, given) = (true, positions),
        Scheme::T5 { positions } => (key.score.t5, given) = (true, positions),
        Scheme::Fused { layout, positions } => (key.rotary, given) = (Some(layout), positions),
        Scheme::Temperature => key.score.temperature = true,
    }
    (key.score.q_positions, key.score.k_positions) = (given, given);
}

/// A set of variants in which every two properties that may meet do meet, at most 160 of them, 60 for few queries, 20 of caches, 20 of quantised rows and 8 of ragged batches, with
/// tiles small enough to compile fast: what the portability and GPU suites run.
pub fn forward() -> Vec<Variant> {
    let outputs = Element::ALL.into_iter();
    let merge = outputs.clone().flat_map(|element| {
        [true, false].map(|aligned| {
            Variant::from(Merge {
                output: Output { element, aligned },
            })
        })
    });
    let pack = outputs.clone().flat_map(packs).map(Variant::Pack);
    let rotate = outputs
        .flat_map(|element| rotations(element).chain(vec8_rotation(element)))
        .map(Variant::Rotate);
    let forward = pairwise(&dimensions()).into_iter().map(prefill);
    forward
        .chain(vec8())
        .map(Variant::Prefill)
        .chain(decode::decode())
        .chain(stored::stored())
        .chain(merge)
        .chain(pack)
        .chain(rotate)
        .chain(cached::cached())
        .chain(listing())
        .chain(ragged::forward())
        .chain([Check.into(), MaxScores.into()])
        .collect()
}

/// Loads of 64 bits, which Tint cannot check, so they are none of the pairs: every element in both strategies, both
/// layouts of rows that are rotated as they are loaded, and eights that do not fall evenly to the lanes of a row, with
/// many rows and a bias loaded in pairs, and with a bias loaded one by one.
fn vec8() -> impl Iterator<Item = Prefill> {
    let subgroup = Level::Strategy(Strategy::Subgroup {
        width: 8,
        fixed: true,
    });
    let workgroup = Level::Strategy(Strategy::Workgroup);
    let schemes = [RotaryLayout::Half, RotaryLayout::Interleaved].map(|layout| {
        let positions = false;
        Level::Scheme(Scheme::Fused { layout, positions })
    });
    let elements = Element::ALL.map(|element| Level::Elements(element, element, element));
    let whole = [subgroup, workgroup].into_iter().flat_map(move |strategy| {
        let levels = elements.into_iter().chain(schemes);
        levels.map(move |level| vec![strategy, Level::Dims(64, 64), level])
    });
    let many_rows = vec![Level::Lanes(2), Level::Rows(6), Level::BiasPairs];
    let few_rows = vec![Level::Lanes(4), Level::Bias(true)];
    let uneven = [many_rows, few_rows].map(|mut levels| {
        levels.extend([subgroup, Level::Dims(40, 24)]);
        levels
    });
    whole.chain(uneven).map(|mut levels| {
        levels.push(Level::Aligned(true));
        Prefill {
            vec8: true,
            ..prefill(levels)
        }
    })
}

/// The steps that make lists of blocks.
fn listing() -> impl Iterator<Item = Variant> {
    let inputs = Element::ALL.map(|element| Input {
        element,
        aligned: element == Element::BF16,
    });
    let pools = inputs.map(|input| {
        Variant::Pool(Pool {
            input,
            extremes: input.element == Element::F32,
        })
    });
    let both = [(false, true), (true, false)];
    let scores =
        both.map(|(extremes, scanned)| Variant::ScoreBlocks(ScoreBlocks { extremes, scanned }));
    let scan = Variant::ScanBlocks(ScanBlocks {
        intervals: true,
        mask_mod: false,
        segments: true,
        dense: true,
        tree: true,
    });
    let lists = [
        (ListFrom::Scores, 8),
        (ListFrom::Scan, 64),
        (ListFrom::Lists, 8),
    ]
    .map(|(from, invocations)| Variant::ListBlocks(ListBlocks { from, invocations }));
    let pools = pools.into_iter().chain(scores).chain([scan]);
    pools.chain(lists)
}

/// Rows in order, and of a table: written or added, by index and by position.
fn packs(output: Element) -> impl Iterator<Item = Pack> {
    let table = |add| PackRows::Table {
        add,
        positions: add,
    };
    [PackRows::InOrder, table(false), table(true)]
        .map(|rows| Pack { output, rows })
        .into_iter()
}

/// Every layout, whole and ragged, with and without given positions, over the elements in turn.
fn rotations(element: Element) -> impl Iterator<Item = Rotate> {
    let layouts = [RotaryLayout::Half, RotaryLayout::Interleaved];
    let keys = layouts
        .into_iter()
        .flat_map(|layout| [true, false].map(|whole| (layout, whole)));
    keys.map(move |(layout, whole_chunks)| Rotate {
        input: Input {
            element,
            aligned: whole_chunks,
        },
        from: Address::Strided,
        output: Output {
            element: if whole_chunks { element } else { Element::F32 },
            aligned: whole_chunks,
        },
        layout,
        whole_chunks,
        vec8: false,
        positions: element == Element::F16,
        sequences: false,
    })
}

/// One of them 64 bits at a time, in the layouts by turns.
fn vec8_rotation(element: Element) -> Option<Rotate> {
    let layout = match element {
        Element::F16 => RotaryLayout::Interleaved,
        _ => RotaryLayout::Half,
    };
    rotations(element)
        .find(|key| key.whole_chunks && key.layout == layout)
        .map(|key| Rotate { vec8: true, ..key })
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
        q: Input {
            element: Element::F32,
            aligned: false,
        },
        k: Input {
            element: Element::F32,
            aligned: false,
        },
        v: Input {
            element: Element::F32,
            aligned: false,
        },
        output: Output {
            element: Element::F32,
            aligned: false,
        },
        chunks: 1,
        value_chunks: 1,
        q_address: Address::Strided,
        k_address: Address::Strided,
        v_address: Address::Strided,
        score: ScoreKey::default(),
        mask: MaskKey::default(),
        rotary: None,
        vec8: false,
        key_loop: false,
        max_score: false,
        count_tiles: false,
    };
    for &level in &levels {
        set(&mut key, level);
    }
    // The largest scores meet trees, and no more.
    key.max_score = key.mask.tree;
    if key.q.element != key.v.element || key.score.temperature {
        // A pass leaves contiguous rows.
        key.q.aligned = levels
            .iter()
            .any(|level| matches!(level, Level::Dims(d, _) if d % 4 == 0));
        key.k.aligned = key.q.aligned;
    }
    fit_tile(&mut key);
    key
}

/// Keys and invocations: two clusters per workgroup, or the largest tile that WebGPU's least memory holds.
fn fit_tile(key: &mut Prefill) {
    let tiling = &mut key.tiling;
    if let Strategy::Subgroup { width, .. } = key.strategy {
        tiling.invocations = 2 * width;
        tiling.keys = width / tiling.lanes_per_row;
        tiling.tile = tiling.keys;
        return;
    }
    if let Strategy::Channels { width, .. } = key.strategy {
        tiling.invocations = 2 * width;
        (tiling.lanes_per_row, tiling.keys, tiling.tile) = (width, width, width);
        return;
    }
    let vec4s = [key.chunks, key.value_chunks];
    let of_chunk = if key.vec8 { 2 } else { 1 };
    let of = |tile: u32| Tiling {
        keys: tile.min(4),
        tile,
        ..*tiling
    };
    let bytes = |tile: &u32| workgroup_tile_bytes(&of(*tile), vec4s, of_chunk);
    let fits = |tile: &u32| bytes(tile) <= Caps::BASELINE.workgroup_memory;
    *tiling = of([16, 8, 4].into_iter().find(fits).unwrap_or(2));
}
