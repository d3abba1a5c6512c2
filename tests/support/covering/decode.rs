//! Kernels for few queries: the same dimensions, of strategies that they have.

use wgpu_attention::Element;
use wgpu_attention::internal::{Decode, MaskKey, Strategy, Variant};
use wgpu_attention::problem::position::RotaryLayout;

use super::{Level, NO_MASK, Scheme, pairwise, prefill};

/// What differs from the kernels for many queries is where scores and channels lie, and which head a row is of: one way
/// of each kind meets them.
fn dimensions() -> Vec<Vec<Level>> {
    let channels = [(4, true), (8, true), (8, false), (16, true), (32, false)];
    let mut strategies = channels
        .map(|(width, fixed)| Level::Strategy(Strategy::Channels { width, fixed }))
        .to_vec();
    strategies.push(Level::Strategy(Strategy::Workgroup));
    let dims = [(128, 128), (80, 80), (64, 64), (33, 17)];
    let layouts = [RotaryLayout::Half, RotaryLayout::Interleaved];
    let [half, interleaved] = layouts.map(|layout| Scheme::Fused {
        layout,
        positions: layout == RotaryLayout::Interleaved,
    });
    let schemes = [
        half,
        interleaved,
        Scheme::T5 { positions: false },
        Scheme::Alibi { positions: true },
        Scheme::None,
    ];
    let masks = [
        MaskKey {
            list: true,
            bits: true,
            segments: true,
            dense: true,
            tree: true,
            ..NO_MASK
        },
        MaskKey {
            list: true,
            device: true,
            ..NO_MASK
        },
        NO_MASK,
    ];
    vec![
        strategies,
        dims.map(|(d, dv)| Level::Dims(d, dv)).to_vec(),
        Element::ALL.map(|x| Level::Elements(x, x, x)).to_vec(),
        [true, false].map(Level::Aligned).to_vec(),
        [1, 2, 4].map(Level::Rows).to_vec(),
        [true, false].map(Level::Softcap).to_vec(),
        vec![
            Level::Bias(true),
            Level::Bias(false),
            Level::BiasOf(Element::BF16),
        ],
        schemes.map(Level::Scheme).to_vec(),
        masks.map(Level::Mask).to_vec(),
    ]
}

/// A set of decode variants in which every two properties that may meet do meet.
pub fn decode() -> impl Iterator<Item = Variant> {
    let channels = Strategy::Channels {
        width: 8,
        fixed: true,
    };
    let scheme = Scheme::Fused {
        layout: RotaryLayout::Half,
        positions: false,
    };
    // The longest rows, and those in as many invocations as may share one.
    let longest = [
        vec![Level::Strategy(channels)],
        vec![
            Level::Strategy(Strategy::Workgroup),
            Level::Lanes(16),
            Level::Scheme(scheme),
            Level::Aligned(true),
        ],
    ]
    .map(|mut levels| {
        levels.push(Level::Dims(576, 512));
        levels.push(Level::Elements(Element::F16, Element::F16, Element::F16));
        levels
    });
    let variants = pairwise(&dimensions()).into_iter().chain(longest);
    variants.map(|levels| Variant::Decode(Decode(prefill(levels))))
}
