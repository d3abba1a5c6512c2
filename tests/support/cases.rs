//! The case table: small problems that between them touch every edge, for any head size, element and score.

mod layouts;
mod masks;
mod schemes;
mod sizes;
pub mod sparse;
mod stored;

pub use schemes::{Distance, RotaryCase};

use wgpu_attention::problem::{Element, MaxScore, Problem, Shape};
use wgpu_attention::reference::Tensors;

/// What a variant is compiled for, so that each can be run against the whole table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    pub head_dim: u32,
    pub value_dim: u32,
    pub element: Element,
    /// The element of o.
    pub output: Element,
    /// The elements of k and v where these are others than q's.
    pub stored: Option<[Element; 2]>,
    pub softcap: Option<f32>,
    /// With a dense bias, some of it −∞.
    pub bias: bool,
    pub bias_element: Element,
    /// It comes before the softcap.
    pub bias_first: bool,
    pub distance: Option<Distance>,
    pub rotation: Option<RotaryCase>,
    /// Positions are given token by token.
    pub positions: bool,
    /// The side of blocks that are listed, and whether some are partial.
    pub block: Option<u32>,
    pub bits: bool,
    /// The lists lie on the device.
    pub block_lists: bool,
    /// Documents that do not rise along the sequence.
    pub segments: bool,
    /// A bit per pair.
    pub dense_mask: bool,
    /// Queries are drafts that branch, where there are no more than may be.
    pub tree: bool,
    /// The largest scores are written too.
    pub max_score: bool,
}

impl Setting {
    /// One element type, q·k alone.
    pub fn new(head_dim: u32, value_dim: u32, element: Element) -> Self {
        Self {
            head_dim,
            value_dim,
            element,
            output: element,
            stored: None,
            softcap: None,
            bias: false,
            bias_element: Element::F32,
            bias_first: false,
            distance: None,
            rotation: None,
            positions: false,
            block: None,
            bits: false,
            block_lists: false,
            segments: false,
            dense_mask: false,
            tree: false,
            max_score: false,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub problem: Problem,
    /// q, k and v lie in one buffer.
    pub packed: bool,
    /// `[B]`, the buffer's content for device-side lengths.
    pub kv_lens: Option<Vec<u32>>,
    /// `[B]`, the buffer's content for device-side offsets.
    pub q_offset: Option<Vec<i32>>,
    /// The buffers' contents for device-side parts of the score and for positions.
    pub values: DeviceValues,
}

/// What lies on the device where a problem says [`Values::Device`](wgpu_attention::problem::Values::Device) or
/// [`Positions::Device`](wgpu_attention::problem::Positions::Device).
#[derive(Clone, Debug, Default)]
pub struct DeviceValues {
    /// `[B]`
    pub prefix: Option<Vec<u32>>,
    /// `[S + 1]`
    pub cu_seqlens_q: Option<Vec<u32>>,
    pub cu_seqlens_k: Option<Vec<u32>>,
    /// `[Hq]`
    pub slopes: Option<Vec<f32>>,
    pub sinks: Option<Vec<f32>>,
    /// `[buckets, Hq]`
    pub t5: Option<Vec<f32>>,
    /// `[B, Nq]` and `[B, Nk]`
    pub q_positions: Option<Vec<i32>>,
    pub k_positions: Option<Vec<i32>>,
    pub segments_q: Option<Vec<i32>>,
    pub segments_k: Option<Vec<i32>>,
    /// As [`wgpu_attention::problem::DenseMask`] lays them out.
    pub mask: Option<Vec<u32>>,
    /// As [`wgpu_attention::problem::Tree::words`] makes them.
    pub tree: Option<Vec<u32>>,
    /// As [`wgpu_attention::problem::DeviceBlocks`] lays them out.
    pub block_lists: Option<Vec<u32>>,
}

impl Case {
    /// A problem of these sizes (head sizes are the setting's) with contiguous operands.
    pub fn new(name: impl Into<String>, setting: &Setting, sizes: Sizes) -> Self {
        let shape = Shape {
            batch: sizes.batch,
            q_heads: sizes.q_heads,
            kv_heads: sizes.kv_heads,
            q_len: sizes.q_len,
            kv_len: sizes.kv_len,
            head_dim: setting.head_dim,
            value_dim: setting.value_dim,
        };
        let mut problem = Problem::new(shape, setting.element);
        problem.o.element = setting.output;
        schemes::apply(setting, &mut problem);
        Self {
            name: name.into(),
            problem,
            packed: false,
            kv_lens: None,
            q_offset: None,
            values: DeviceValues::default(),
        }
    }

    /// The same case, its problem changed.
    pub fn with(mut self, change: impl FnOnce(&mut Problem)) -> Self {
        change(&mut self.problem);
        self
    }

    /// True where no length, offset or prefix lies on the device, so that a plan's tiles are no guess.
    pub fn host_knows_intervals(&self) -> bool {
        let values = &self.values;
        let sequences = values.cu_seqlens_q.is_none() && values.cu_seqlens_k.is_none();
        self.kv_lens.is_none() && self.q_offset.is_none() && values.prefix.is_none() && sequences
    }

    /// The reference's view of these operands.
    pub fn tensors<'a>(&'a self, q: &'a [f64], k: &'a [f64], v: &'a [f64]) -> Tensors<'a> {
        let values = &self.values;
        Tensors::new(q, k, v)
            .with_kv_lens(self.kv_lens.as_deref())
            .with_q_offset(self.q_offset.as_deref())
            .with_prefix(values.prefix.as_deref())
            .with_slopes(values.slopes.as_deref())
            .with_sinks(values.sinks.as_deref())
            .with_t5(values.t5.as_deref())
            .with_q_positions(values.q_positions.as_deref())
            .with_k_positions(values.k_positions.as_deref())
            .with_segments_q(values.segments_q.as_deref())
            .with_segments_k(values.segments_k.as_deref())
            .with_mask(values.mask.as_deref())
            .with_tree(values.tree.as_deref())
            .with_block_lists(values.block_lists.as_deref())
    }
}

/// Sizes of a case beside the head sizes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub batch: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub q_len: u32,
    pub kv_len: u32,
}

impl Sizes {
    /// One batch, one head.
    pub fn one(q_len: u32, kv_len: u32) -> Self {
        Self {
            batch: 1,
            q_heads: 1,
            kv_heads: 1,
            q_len,
            kv_len,
        }
    }

    /// Two batches, `q_heads` over `kv_heads`.
    pub fn two(q_heads: u32, kv_heads: u32, q_len: u32, kv_len: u32) -> Self {
        Self {
            batch: 2,
            q_heads,
            kv_heads,
            q_len,
            kv_len,
        }
    }
}

/// The whole table for one setting.
pub fn all(setting: &Setting) -> Vec<Case> {
    let mut cases = sizes::cases(setting);
    cases.extend(masks::cases(setting));
    cases.extend(layouts::cases(setting));
    cases.iter_mut().for_each(schemes::near);
    for case in &mut cases {
        sparse::apply(setting, case);
        setting
            .stored
            .into_iter()
            .for_each(|[k, v]| case.store(k, v));
        let p = &mut case.problem;
        let largest = MaxScore::rows(&p.shape).with_per_head(p.shape.q_len.is_multiple_of(2));
        p.max_score = setting.max_score.then_some(largest);
    }
    cases
}
