//! The variants of the backward pass that the suites run: a covering array of its own, over the gradients and what
//! changes their code.

use wgpu_attention::internal::{
    Delta, GradBias, GradKeyBias, GradKv, GradQ, GradScore, GradSinks, Gradient, Input, MaskKey,
    Prefill, Reduce, ScoreNumbers, Strategy, Variant, workgroup_tile_bytes,
};
use wgpu_attention::{Caps, Element, Tiling};

use super::{Level, Scheme, pairwise, prefill};

/// The kernels that share the gradients' key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    Kv,
    Q,
    Bias,
    KeyBias,
    Slopes,
    T5,
}

fn dimensions() -> Vec<Vec<Level>> {
    let subgroup = |width, fixed| Level::Strategy(Strategy::Subgroup { width, fixed });
    let schemes = [
        Scheme::Temperature,
        Scheme::T5 { positions: true },
        Scheme::T5 { positions: false },
        Scheme::Alibi { positions: true },
        Scheme::Alibi { positions: false },
        Scheme::None,
    ];
    let elements = Element::ALL.into_iter().flat_map(|x| match x {
        Element::F32 => vec![Level::Elements(x, x, x)],
        // The second is what a rotation pass makes of q and k.
        _ => vec![
            Level::Elements(x, x, x),
            Level::Elements(Element::F32, x, x),
        ],
    });
    vec![
        [
            Kernel::T5,
            Kernel::Slopes,
            Kernel::Bias,
            Kernel::KeyBias,
            Kernel::Q,
            Kernel::Kv,
        ]
        .map(Level::Gradient)
        .to_vec(),
        vec![
            subgroup(4, true),
            subgroup(32, false),
            subgroup(8, false),
            subgroup(8, true),
            Level::Strategy(Strategy::Workgroup),
        ],
        // Longer rows change no text but its length, and a gradient of 64 channels compiles for 10 s: see `long`.
        [(40, 40), (33, 17), (1, 1)]
            .map(|(d, dv)| Level::Dims(d, dv))
            .to_vec(),
        elements.collect(),
        [1, 2, 4].map(Level::Lanes).to_vec(),
        [true, false].map(Level::Aligned).to_vec(),
        [1, 2].map(Level::Rows).to_vec(),
        [false, true].map(Level::KeyLoop).to_vec(),
        [true, false].map(Level::Softcap).to_vec(),
        [true, false].map(Level::Bias).to_vec(),
        schemes.map(Level::Scheme).to_vec(),
    ]
}

/// A gradient needs the parameter it is of.
pub(super) fn excludes(a: Level, b: Level) -> bool {
    match (a, b) {
        (Level::Gradient(Kernel::Bias | Kernel::KeyBias), Level::Bias(bias)) => !bias,
        (Level::Gradient(Kernel::Slopes), Level::Scheme(scheme)) => {
            !matches!(scheme, Scheme::Alibi { .. })
        }
        (Level::Gradient(Kernel::T5), Level::Scheme(scheme)) => {
            !matches!(scheme, Scheme::T5 { .. })
        }
        _ => false,
    }
}

/// Like [`super::forward`], for the backward pass.
pub fn all() -> Vec<Variant> {
    let deltas = Element::ALL.into_iter().flat_map(|element| {
        [true, false].map(|aligned| {
            let input = Input { element, aligned };
            Variant::Delta(Delta {
                o: input,
                d_o: input,
                dlse: aligned,
            })
        })
    });
    let gradients = pairwise(&dimensions()).into_iter().map(variant);
    let vec8 = super::vec8()
        .filter(|key| key.rotary.is_none())
        .flat_map(|key| {
            let of_rows = gradient(&key);
            let mut of_keys = of_rows;
            of_keys.score.bias_pairs = false;
            [GradQ(of_rows).into(), GradKv(of_keys).into()]
        });
    gradients
        .chain(vec8)
        .chain(long())
        .chain(masked())
        .chain(super::ragged::gradients())
        .chain(deltas)
        .chain([GradSinks.into(), Reduce.into()])
        .collect()
}

/// Long rows, which take half a minute to compile for a lane that holds them whole, and the longest.
fn long() -> impl Iterator<Item = Variant> {
    let subgroup = Strategy::Subgroup {
        width: 8,
        fixed: true,
    };
    [
        (subgroup, (256, 256), 4, Kernel::Q),
        (Strategy::Workgroup, (576, 512), 16, Kernel::Kv),
    ]
    .map(|(strategy, (d, dv), lanes, kernel)| {
        variant(vec![
            Level::Strategy(strategy),
            Level::Dims(d, dv),
            Level::Lanes(lanes),
            Level::Gradient(kernel),
        ])
    })
    .into_iter()
}

/// Every gradient over lists with bits, and over documents and a boolean mask, of drafts that branch, one in each strategy; a bias comes before
/// the softcap.
fn masked() -> impl Iterator<Item = Variant> {
    let masks = [
        MaskKey {
            list: true,
            bits: true,
            tree: true,
            ..MaskKey::default()
        },
        MaskKey {
            segments: true,
            dense: true,
            tree: true,
            ..MaskKey::default()
        },
        MaskKey {
            list: true,
            device: true,
            ..MaskKey::default()
        },
    ];
    let strategies = [
        Strategy::Workgroup,
        Strategy::Subgroup {
            width: 8,
            fixed: true,
        },
    ];
    let kernels = [
        Kernel::Kv,
        Kernel::Q,
        Kernel::Bias,
        Kernel::KeyBias,
        Kernel::Slopes,
        Kernel::T5,
    ];
    strategies
        .into_iter()
        .zip(masks)
        .flat_map(move |(strategy, mask)| {
            kernels.map(|kernel| {
                let mut levels = vec![
                    Level::Strategy(strategy),
                    Level::Dims(33, 17),
                    Level::Gradient(kernel),
                    Level::Mask(mask),
                ];
                // Half of them in rows that invocations share.
                let shares = matches!(kernel, Kernel::Q | Kernel::KeyBias | Kernel::T5);
                levels
                    .extend((shares && strategy == Strategy::Workgroup).then_some(Level::Lanes(8)));
                levels.extend(match kernel {
                    Kernel::Bias | Kernel::KeyBias | Kernel::Q => Some(Level::BiasFirst),
                    Kernel::Slopes => Some(Level::Scheme(Scheme::Alibi { positions: false })),
                    Kernel::T5 => Some(Level::Scheme(Scheme::T5 { positions: false })),
                    Kernel::Kv => None,
                });
                variant(levels)
            })
        })
}

fn variant(levels: Vec<Level>) -> Variant {
    let kernel = levels.iter().find_map(|level| match level {
        Level::Gradient(kernel) => Some(*kernel),
        _ => None,
    });
    let mut key = gradient(&prefill(levels));
    match kernel.unwrap_or(Kernel::Q) {
        Kernel::Q => GradQ(key).into(),
        Kernel::Kv => GradKv(key).into(),
        Kernel::KeyBias => GradKeyBias(key).into(),
        Kernel::Slopes => GradScore(key, ScoreNumbers::Slopes).into(),
        Kernel::T5 => GradScore(with_room(key), ScoreNumbers::T5).into(),
        Kernel::Bias => {
            key.tiling.tile = key.tiling.keys;
            GradBias(key).into()
        }
    }
}

/// A tile that leaves room for the sums.
fn with_room(mut key: Gradient) -> Gradient {
    let vec4s = [key.chunks, key.value_chunks];
    let bytes = |tiling: &Tiling| {
        workgroup_tile_bytes(tiling, vec4s, if key.vec8 { 2 } else { 1 })
            + ScoreNumbers::T5.parts() * tiling.invocations * 4
    };
    while key.strategy == Strategy::Workgroup
        && bytes(&key.tiling) > Caps::BASELINE.workgroup_memory
    {
        key.tiling.tile /= 2;
    }
    key
}

/// The gradient kernels' key with the same levels.
pub(super) fn gradient(key: &Prefill) -> Gradient {
    Gradient {
        strategy: key.strategy,
        tiling: key.tiling,
        input: key.q,
        value: key.v,
        d_o: key.v,
        q_address: key.q_address,
        k_address: key.k_address,
        chunks: key.chunks,
        value_chunks: key.value_chunks,
        score: key.score,
        mask: key.mask,
        vec8: key.vec8,
        key_loop: key.key_loop,
        count_tiles: false,
    }
}
