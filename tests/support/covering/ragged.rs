//! Kernels of ragged batches. An address meets nothing but loads and stores, so a few keys, each as different from the
//! next as can be, stand for all; what they compute has tests of its own.

use wgpu_attention::Element;
use wgpu_attention::internal::{
    Address, Decode, GradKv, GradQ, GradScore, Gradient, MaskKey, Prefill, Rotate, ScoreNumbers,
    Sequences, Strategy, Variant,
};
use wgpu_attention::problem::position::RotaryLayout;

use super::{Level, NO_MASK, Scheme, backward, prefill, rotations};

const SUBGROUP: Level = Level::Strategy(Strategy::Subgroup {
    width: 8,
    fixed: true,
});
const WORKGROUP: Level = Level::Strategy(Strategy::Workgroup);
const CHANNELS: Level = Level::Strategy(Strategy::Channels {
    width: 8,
    fixed: true,
});
const FUSED: Level = Level::Scheme(Scheme::Fused {
    layout: RotaryLayout::Half,
    positions: true,
});
const ALIBI: Level = Level::Scheme(Scheme::Alibi { positions: true });
const SEGMENTS: Level = Level::Mask(MaskKey {
    segments: true,
    ..NO_MASK
});

fn elements(element: Element) -> Level {
    Level::Elements(element, element, element)
}

/// Queries and keys in sequences, or queries alone.
fn ragged(levels: Vec<Level>, keys: Address) -> Prefill {
    Prefill {
        q_address: Address::RaggedQueries,
        k_address: keys,
        v_address: keys,
        ..prefill(levels)
    }
}

/// The forward pass.
pub fn forward() -> impl Iterator<Item = Variant> {
    let dims = Level::Dims(64, 64);
    let prefills = [
        (
            vec![
                SUBGROUP,
                dims,
                elements(Element::F16),
                Level::Aligned(true),
                FUSED,
            ],
            Address::RaggedKeys,
        ),
        (
            vec![WORKGROUP, Level::Dims(33, 17), ALIBI, SEGMENTS],
            Address::RaggedKeys,
        ),
        (
            vec![
                WORKGROUP,
                dims,
                elements(Element::BF16),
                Level::Aligned(true),
            ],
            Address::Strided,
        ),
    ];
    let decodes = [
        (
            vec![CHANNELS, dims, ALIBI, Level::Aligned(true)],
            Address::RaggedKeys,
        ),
        (
            vec![WORKGROUP, dims, elements(Element::F16)],
            Address::Strided,
        ),
    ];
    let prefills = prefills.into_iter();
    let prefills = prefills.map(|(levels, keys)| Variant::Prefill(ragged(levels, keys)));
    let decodes = decodes.into_iter();
    let decodes = decodes.map(|(levels, keys)| Variant::Decode(Decode(ragged(levels, keys))));
    let rotate = rotations(Element::F32).next();
    let rotate = rotate.map(|key| {
        Variant::Rotate(Rotate {
            sequences: true,
            ..key
        })
    });
    prefills
        .chain(decodes)
        .chain(rotate)
        .chain([Sequences.into()])
}

/// The backward pass.
pub fn gradients() -> impl Iterator<Item = Variant> {
    let of = |levels: Vec<Level>, keys| -> Gradient { backward::gradient(&ragged(levels, keys)) };
    let dims = Level::Dims(40, 40);
    [
        GradQ(of(vec![SUBGROUP, dims, ALIBI], Address::RaggedKeys)).into(),
        GradQ(of(
            vec![WORKGROUP, dims, elements(Element::F16)],
            Address::Strided,
        ))
        .into(),
        GradKv(of(
            vec![SUBGROUP, Level::Dims(33, 17), SEGMENTS],
            Address::RaggedKeys,
        ))
        .into(),
        GradKv(of(
            vec![WORKGROUP, dims, elements(Element::BF16)],
            Address::RaggedKeys,
        ))
        .into(),
        GradScore(
            of(vec![WORKGROUP, dims, ALIBI], Address::RaggedKeys),
            ScoreNumbers::Slopes,
        )
        .into(),
    ]
    .into_iter()
}
