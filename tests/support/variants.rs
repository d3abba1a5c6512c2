//! A covering variant as a case: what it is asked of, by which choices, and with which cases of the table.

use wgpu_attention::internal::{
    Decode, GradBias, GradKeyBias, GradKv, GradQ, GradScore, Gradient, Prefill, ScoreKey, Strategy,
    Variant,
};
use wgpu_attention::plan::{RotateWhere, StrategyKind};
use wgpu_attention::{Caps, Element, PlanOptions};

use super::cases::{self, Case, Distance, RotaryCase, Setting};
use super::inputs::Data;

pub const SOFTCAP: f32 = 3.0;

/// The channels of a covering variant's ⌈D/4⌉.
pub fn channels(chunks: u32) -> u32 {
    match chunks {
        1 | 5 | 9 => 4 * chunks - 3,
        _ => 4 * chunks,
    }
}

/// Whether a device has the strategy and has what it takes.
fn fits(strategy: Strategy, vec8: bool, invocations: u32, caps: &Caps) -> bool {
    let has = match strategy {
        Strategy::Workgroup => true,
        Strategy::Subgroup { width, fixed } | Strategy::Channels { width, fixed } => caps
            .subgroups
            .is_some_and(|s| width <= s.min && (!fixed || (width == s.min && width == s.max))),
    };
    has && (!vec8 || caps.int64) && invocations <= caps.invocations_per_workgroup
}

fn by_strategy(strategy: Strategy) -> PlanOptions {
    let (strategy, width) = match strategy {
        Strategy::Subgroup { width, .. } | Strategy::Channels { width, .. } => {
            (StrategyKind::Subgroup, Some(width))
        }
        Strategy::Workgroup => (StrategyKind::Workgroup, None),
    };
    PlanOptions::default()
        .with_strategy(strategy)
        .with_width(width)
}

fn distance(score: &ScoreKey) -> Option<Distance> {
    match (score.alibi, score.t5) {
        (true, _) => Some(Distance::Alibi),
        (_, true) => Some(Distance::T5),
        _ => None,
    }
}

pub mod forward {
    use super::*;

    /// The key of a forward variant, and whether it is one for few queries.
    pub fn key(variant: &Variant) -> Option<(Prefill, bool)> {
        match *variant {
            Variant::Prefill(key) => Some((key, false)),
            Variant::Decode(Decode(key)) => Some((key, true)),
            _ => None,
        }
    }

    pub fn can_run(key: &Prefill, caps: &Caps) -> bool {
        fits(key.strategy, key.vec8, key.tiling.invocations, caps)
    }

    /// `decode`: of a decode kernel with this key.
    pub fn choice(key: &Prefill, decode: bool) -> PlanOptions {
        by_strategy(key.strategy)
            .with_decode(decode)
            .with_tiling(key.tiling)
            .with_vec8(key.vec8)
            .with_key_loop(key.key_loop)
            .with_rotate(match key.rotary {
                Some(_) => RotateWhere::Fused,
                None => RotateWhere::Pass,
            })
    }

    fn setting(key: &Prefill) -> Setting {
        let score = key.score;
        Setting {
            head_dim: channels(key.chunks),
            value_dim: channels(key.value_chunks),
            element: match stored(key) {
                Some(_) => key.q.element,
                None => key.v.element,
            },
            output: key.output.element,
            stored: stored(key),
            softcap: score.softcap.then_some(SOFTCAP),
            bias: score.bias,
            bias_element: score.bias_element,
            bias_first: score.bias_first,
            distance: distance(&score),
            rotation: rotates(key).then_some(RotaryCase {
                layout: key.rotary.unwrap_or_default(),
                temperature: score.temperature,
            }),
            positions: score.q_positions,
            block: key
                .mask
                .list
                .then(|| key.tiling.tile_rows().max(key.tiling.tile).max(16)),
            bits: key.mask.bits,
            block_lists: key.mask.device,
            segments: key.mask.segments,
            dense_mask: key.mask.dense,
            tree: key.mask.tree,
            max_score: key.max_score,
        }
    }

    /// The elements of k and v, where k's is another than q's or one of the two has scales.
    fn stored(key: &Prefill) -> Option<[Element; 2]> {
        let (k, v) = (key.k.element, key.v.element);
        (key.q.element != k || k.is_quantized() || v.is_quantized()).then_some([k, v])
    }

    /// As they are loaded, or in a pass that makes f32 of q and k.
    fn rotates(key: &Prefill) -> bool {
        let passed = stored(key).is_none() && key.q.element != key.v.element;
        key.rotary.is_some() || key.score.temperature || passed
    }

    /// The table's cases; a variant for unaligned rows gets rows that start one word further on, or the inputs one
    /// element.
    pub fn cases_of(key: &Prefill) -> Vec<Case> {
        let mut cases = cases::all(&setting(key));
        for case in cases.iter_mut().filter(|_| !key.v.aligned) {
            let p = &mut case.problem;
            for operand in [&mut p.q, &mut p.k, &mut p.v] {
                // Rows with scales begin at whole words.
                let whole = operand.element.is_quantized();
                operand.layout.offset += if whole { 8 } else { 1 };
            }
            p.o.layout.offset += word_elements(key.output.element);
        }
        cases
    }

    /// A 16-bit output whose words are shared is written by a pack step.
    fn word_elements(element: Element) -> u64 {
        element.per_word()
    }

    /// A ramp's scores grow with D, and f32's rounding with them; rotated by positions they cancel besides.
    pub fn data(n: usize, key: &Prefill) -> Data {
        let rotates = key.rotary.is_some() || key.score.temperature || key.q != key.v;
        if n % 2 == 1 && key.chunks < 16 && !rotates {
            Data::Ramp
        } else {
            Data::Normal(1.0)
        }
    }
}

pub mod backward {
    use super::*;

    /// The key of a variant that has the gradients' one.
    pub fn key(variant: &Variant) -> Option<Gradient> {
        match *variant {
            Variant::GradQ(GradQ(key))
            | Variant::GradKv(GradKv(key))
            | Variant::GradBias(GradBias(key))
            | Variant::GradKeyBias(GradKeyBias(key))
            | Variant::GradScore(GradScore(key, _)) => Some(key),
            _ => None,
        }
    }

    pub fn can_run(variant: &Variant, key: &Gradient, caps: &Caps) -> bool {
        fits(
            key.strategy,
            key.vec8,
            variant.workgroup().invocations,
            caps,
        )
    }

    pub fn choice(key: &Gradient) -> PlanOptions {
        by_strategy(key.strategy)
            .with_tiling(key.tiling)
            .with_vec8(key.vec8)
            .with_key_loop(key.key_loop)
    }

    fn setting(key: &Gradient) -> Setting {
        let score = key.score;
        let rotates = score.temperature || key.input.element != key.value.element;
        Setting {
            softcap: score.softcap.then_some(SOFTCAP),
            bias: score.bias,
            bias_element: score.bias_element,
            bias_first: score.bias_first,
            distance: distance(&score),
            rotation: rotates.then_some(RotaryCase {
                layout: Default::default(),
                temperature: score.temperature,
            }),
            positions: score.q_positions,
            dense_mask: key.mask.dense,
            tree: key.mask.tree,
            ..Setting::new(
                channels(key.chunks),
                channels(key.value_chunks),
                key.value.element,
            )
        }
    }

    /// A variant for unaligned rows gets tensors that start one element further on; one for a bias that queries share
    /// gets such a bias.
    pub fn cases_of(variant: &Variant, key: &Gradient) -> Vec<Case> {
        let mut cases = cases::all(&setting(key));
        if matches!(variant, Variant::GradKeyBias(_)) {
            for bias in cases
                .iter_mut()
                .filter_map(|c| c.problem.score.bias.as_mut())
            {
                bias.row = 0;
            }
        }
        for case in cases.iter_mut().filter(|_| !key.value.aligned) {
            let p = &mut case.problem;
            for operand in [&mut p.q, &mut p.k, &mut p.v, &mut p.o] {
                operand.layout.offset += 1;
            }
        }
        cases
    }
}
