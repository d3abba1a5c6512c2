//! The cases: every strategy with every element, kind of call and feature of masks, scores and positions, those first that
//! differ most.

use std::fmt;

use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, DenseMask, Lengths, Operand, Pattern, Position, Segments, Values,
    alibi_slopes,
};
use wgpu_attention::{Backward, Element, Layout, Mask, Plan, PlanOptions, Problem, Result, Shape};

use crate::device::Gpu;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Prefill,
    Decode,
    Gradient,
}

const KINDS: [Kind; 3] = [Kind::Prefill, Kind::Decode, Kind::Gradient];

/// What else there is beside q·k.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feature {
    Plain,
    Causal,
    Window,
    Softcap,
    Bias,
    Alibi,
    Rotary,
    Documents,
    Blocks,
    Lengths,
    Sinks,
    MaskBits,
}

const FEATURES: [Feature; 12] = [
    Feature::Plain,
    Feature::Causal,
    Feature::Rotary,
    Feature::Blocks,
    Feature::Bias,
    Feature::Window,
    Feature::MaskBits,
    Feature::Softcap,
    Feature::Alibi,
    Feature::Lengths,
    Feature::Documents,
    Feature::Sinks,
];

/// Of q, and of k and v.
const ELEMENTS: [(Element, Element); 5] = [
    (Element::F32, Element::F32),
    (Element::F16, Element::F16),
    (Element::BF16, Element::BF16),
    (Element::F16, Element::Int8),
    (Element::F32, Element::Int4),
];

/// D and Dv: whole vectors, ragged ones, odd ones, long ones.
const DIMS: [(u32, u32); 4] = [(64, 64), (40, 24), (33, 17), (128, 128)];

/// One call.
pub struct Case {
    pub kind: Kind,
    feature: Feature,
    strategy: StrategyKind,
    pub problem: Problem,
    pub options: PlanOptions,
}

/// All that the device can run.
pub fn all(gpu: &Gpu) -> Vec<Case> {
    let mut strategies = vec![StrategyKind::Workgroup];
    if gpu.attention.caps().subgroups.is_some() {
        strategies.insert(0, StrategyKind::Subgroup);
    }
    let mut cases = Vec::new();
    // Each round has every strategy, kind and element once, with another feature and other sizes.
    for round in 0..FEATURES.len() {
        for (n, &strategy) in strategies.iter().enumerate() {
            for (m, kind) in KINDS.into_iter().enumerate() {
                for (e, elements) in ELEMENTS.into_iter().enumerate() {
                    let feature = FEATURES[(round + 5 * e + 3 * m + n) % FEATURES.len()];
                    let dims = DIMS[(round + e + m + n) % DIMS.len()];
                    cases.extend(case(strategy, kind, elements, feature, dims));
                }
            }
        }
    }
    cases
}

fn case(
    strategy: StrategyKind,
    kind: Kind,
    (element, stored): (Element, Element),
    feature: Feature,
    (head_dim, value_dim): (u32, u32),
) -> Option<Case> {
    // Gradients read floats of one type; only whole pairs of channels rotate.
    let is_odd = feature == Feature::Rotary && head_dim % 8 != 0;
    if (kind == Kind::Gradient && stored.is_quantized()) || is_odd {
        return None;
    }
    let (q_len, kv_len) = match kind {
        Kind::Prefill => (37, 53),
        Kind::Decode => (1, 300),
        Kind::Gradient => (37, 41),
    };
    let shape = Shape {
        batch: 2,
        q_heads: 4,
        kv_heads: 2,
        q_len,
        kv_len,
        head_dim,
        value_dim,
    };
    let mut problem = Problem::new(shape, element);
    if stored != element {
        problem = problem.with_kv_elements(stored, stored);
    }
    if kind == Kind::Gradient {
        let layout = Layout::heads_first(shape.q_heads, q_len, value_dim);
        problem = problem.with_o(Operand::new(Element::F32, layout));
    }
    feature.add(&mut problem);
    let decode = (kind != Kind::Gradient).then_some(kind == Kind::Decode);
    Some(Case {
        kind,
        feature,
        strategy,
        problem,
        options: PlanOptions::default()
            .with_strategy(strategy)
            .with_decode(decode),
    })
}

impl Case {
    /// How the device computes it.
    pub fn plan(&self, gpu: &Gpu) -> Result<Plan> {
        let attention = &gpu.attention;
        match self.kind {
            Kind::Prefill | Kind::Decode => attention.plan_with(&self.problem, &self.options),
            Kind::Gradient => attention.plan_backward_with(&self.backward(), &self.options),
        }
    }

    /// Its gradients, in f32.
    pub fn backward(&self) -> Backward {
        Backward::new(self.problem.clone(), Element::F32)
    }
}

impl Feature {
    fn add(self, problem: &mut Problem) {
        let shape = problem.shape;
        let ids = |len: u32| (0..shape.batch).flat_map(move |_| (0..len as i32).map(|i| i / 20));
        match self {
            Self::Plain => {}
            Self::Causal => problem.mask.causal = true,
            Self::Window => problem.mask = Mask::window(12, 5),
            Self::Softcap => problem.score.softcap = Some(3.0),
            Self::Bias => {
                let bias = Layout::heads_first(shape.q_heads, shape.q_len, shape.kv_len);
                problem.score.bias = Some(bias);
            }
            Self::Alibi => {
                problem.score.slopes = Some(Values::Host(alibi_slopes(shape.q_heads)));
            }
            Self::Rotary => problem.position = Position::rotary(Rotary::new(shape.head_dim)),
            Self::Documents => {
                problem.mask.segments = Some(Segments::Host {
                    q: ids(shape.q_len).collect(),
                    k: ids(shape.kv_len).collect(),
                });
            }
            Self::Blocks => {
                let grid = BlockGrid::of(16, &shape);
                let mask = BlockMask::from_pattern(grid, &Pattern::sliding_window(40, 8));
                problem.mask.blocks = mask.ok().map(Into::into);
            }
            Self::Lengths => {
                let lens = (0..shape.batch).map(|b| shape.kv_len - 7 * b);
                problem.mask.kv_lens = Lengths::Host(lens.collect());
            }
            Self::Sinks => {
                let sinks = (0..shape.q_heads).map(|h| h as f32 - 1.5);
                problem.score.sinks = Some(Values::Host(sinks.collect()));
            }
            Self::MaskBits => {
                let pairs = u64::from(shape.q_len) * u64::from(shape.kv_len);
                let visible: Vec<bool> = (0..pairs).map(|n| n * n % 7 != 3).collect();
                let mask = DenseMask::from_bools([1, 1, shape.q_len], shape.kv_len, &visible);
                problem.mask.dense = mask.ok();
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (problem, shape) = (&self.problem, &self.problem.shape);
        write!(
            f,
            "{:?} {:?} {:?} q {} k {} D={} Dv={}",
            self.strategy,
            self.kind,
            self.feature,
            problem.q.element,
            problem.k.element,
            shape.head_dim,
            shape.value_dim
        )
    }
}
