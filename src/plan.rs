//! How a problem is computed on a device: an ordered list of dispatches, what they cost, and why no faster path was
//! taken. Planning is pure; no GPU is touched.

mod backward;
mod blocks;
mod check;
mod covering;
mod draft;
mod embed;
mod explain;
mod inputs;
mod lists;
mod merge;
mod params;
mod positions;
mod prefill;
mod rotate;
mod scan;
mod schedule;
mod score;
mod select;
mod steps;
mod tiles;
mod variant;

pub use backward::Backward;
pub use check::{Allowed, CHECK_RUN, Check};
pub use embed::Embedding;
pub use merge::Merge;
pub use params::{Params, Rows};
pub use rotate::{Rotation, TableNeed, TableRows};
pub use scan::BlockScan;
pub use schedule::{Interval, Schedule};
pub use variant::{
    Delta, Gradient, Input, ListBlocks, ListFrom, MaskKey, Output, Pack, PackRows, Pool, Prefill,
    ROTATED_HEADS, ROW_KERNEL_INVOCATIONS, Rotate, SINK_ROWS, ScanBlocks, ScoreBlocks, ScoreKey,
    ScoreNumbers, Strategy, T5_PARTS, Tiles, Tiling, Variant,
};

use std::fmt;

use crate::caps::Caps;
use crate::error::Result;
use crate::problem::{ModText, Problem};

/// A tensor that the caller brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    Q,
    K,
    V,
    O,
    Lse,
    /// `u32 [B]`, for [`crate::problem::Lengths::Device`].
    KvLens,
    /// `i32 [B]`, for [`crate::problem::Offsets::Device`].
    QOffset,
    /// f32, as laid out by [`crate::problem::Score::bias`].
    Bias,
    /// `f32 [Hq]`, for [`crate::problem::Values::Device`].
    Slopes,
    /// `f32 [Hq]`
    Sinks,
    /// `f32 [buckets, Hq]`
    T5,
    /// `i32 [B, Nq]`, for [`crate::problem::Positions::Device`].
    QPositions,
    /// `i32 [B, Nk]`
    KPositions,
    /// `i32 [B, Nq]`, for [`crate::problem::Segments::Device`].
    SegmentsQ,
    /// `i32 [B, Nk]`
    SegmentsK,
    /// `f32 [len]`, for [`crate::problem::ModData::Device`].
    ModData,
    /// Lists of blocks, see [`crate::problem::DeviceBlocks`]: read for [`crate::problem::Blocks::Device`], written by
    /// a [`BlockScan`] and for [`crate::problem::Select::written`].
    BlockLists,
    /// The rows of a [`Rotation`].
    Rows,
    /// The turned rows of a [`Rotation`].
    Turned,
    /// `f32 [rows, dim]` of an [`Embedding`].
    Table,
    /// The embeddings that an [`Embedding`] writes or adds to.
    Embeddings,
    /// `f32 [parts, B, Hq, Nq, Dv]` of a [`Merge`].
    PartialO,
    /// `f32 [parts, B, Hq, Nq]` of a [`Merge`].
    PartialLse,
    /// dO of a [`Backward`].
    DO,
    /// `f32 [B, Hq, Nq]`, the gradient by lse.
    DLse,
    DQ,
    DK,
    DV,
    /// f32, contiguous `[B|1, Hq|1, Nq, Nk]`: the sizes that the bias is not broadcast over.
    DBias,
    /// `f32 [Hq]`
    DSlopes,
    /// `f32 [Hq]`
    DSinks,
    /// `f32 [buckets, Hq]`
    DT5,
}

impl Role {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Lse => "lse",
            Self::KvLens => "kv_lens",
            Self::QOffset => "q_offset",
            Self::Bias => "bias",
            Self::Slopes => "slopes",
            Self::Sinks => "sinks",
            Self::T5 => "t5",
            Self::QPositions => "q_positions",
            Self::KPositions => "k_positions",
            Self::SegmentsQ => "segments_q",
            Self::SegmentsK => "segments_k",
            Self::ModData => "mod_data",
            Self::BlockLists => "block_lists",
            Self::Rows => "rows",
            Self::Turned => "turned",
            Self::Table => "table",
            Self::Embeddings => "embeddings",
            Self::PartialO => "partial_o",
            Self::PartialLse => "partial_lse",
            Self::DO => "do",
            Self::DLse => "dlse",
            Self::DQ => "dq",
            Self::DK => "dk",
            Self::DV => "dv",
            Self::DBias => "dbias",
            Self::DSlopes => "dslopes",
            Self::DSinks => "dsinks",
            Self::DT5 => "dt5",
        }
    }

    /// True for small values that the encoder copies into the call's own buffer.
    pub fn is_copied(self) -> bool {
        matches!(
            self,
            Self::KvLens
                | Self::QOffset
                | Self::Slopes
                | Self::Sinks
                | Self::T5
                | Self::QPositions
                | Self::KPositions
                | Self::SegmentsQ
                | Self::SegmentsK
                | Self::ModData
                | Self::BlockLists
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Operand(Role),
    /// A buffer of the call's own, by its number in [`Plan::scratch`].
    Scratch(usize),
    /// The call's small operands.
    Aux,
    /// Cosines and sines of [`Plan::table`].
    Table,
}

/// One storage binding of a step, in the order of the shader's bindings from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub slot: Slot,
    /// Bytes, a multiple of 256.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    pub writable: bool,
}

impl Binding {
    /// The same bytes for a step that only reads them.
    pub(crate) fn read_only(self) -> Self {
        Self {
            writable: false,
            ..self
        }
    }
}

/// What a step costs. Numbers of tiles and bytes are exact where the host knows lengths and offsets, else at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Key tiles that are visited, over all heads and query tiles.
    pub visited: u64,
    /// Key tiles that are there.
    pub of: u64,
    /// 2·(D + Dv) a visible pair and head; 1 fma is 2.
    pub flops: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.visited += other.visited;
        self.of += other.of;
        self.flops += other.flops;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
    }
}

/// One dispatch of bounded cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub variant: Variant,
    pub bindings: Vec<Binding>,
    pub params: Params,
    /// Workgroups.
    pub grid: [u32; 3],
    pub cost: Cost,
}

/// A faster path that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    pub path: &'static str,
    pub reason: String,
}

/// What a caller's buffer must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub role: Role,
    pub bytes: u64,
    /// Bound as storage; else copied from (`COPY_SRC`), or to where it is an output (`COPY_DST`).
    pub storage: bool,
    /// The call writes it.
    pub output: bool,
    /// Bytes before the tensor, and whether it fills all that follow: two such outputs must not meet in one buffer.
    pub start: u64,
    pub dense: bool,
}

/// Where the encoder copies a device-resident operand into the call's own buffer, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuxCopy {
    pub role: Role,
    /// Words from the start of the call's buffer.
    pub at: u32,
    pub words: u32,
    /// Out of it, once so many steps are recorded.
    pub out: Option<CopyOut>,
}

/// When the encoder copies out of the call's own buffer, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOut {
    /// Steps that are recorded before.
    pub after: usize,
    /// Words from the start of the operand.
    pub to: u32,
}

/// The strategies by name, for a caller that wants a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyKind {
    Subgroup,
    Workgroup,
}

/// Where a rotation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateWhere {
    /// As the attention kernel loads q and k.
    Fused,
    /// In a pass before, into scratch.
    Pass,
}

/// What the caller decides instead of the planner. The default decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub strategy: Option<StrategyKind>,
    /// Lanes of a cluster, for the subgroup strategy.
    pub width: Option<u32>,
    pub tiling: Option<Tiling>,
    /// Parts into which the visited key tiles are split.
    pub splits: Option<u32>,
    /// Query rows of a step at the most.
    pub slice_rows: Option<u32>,
    /// Where q and k are rotated.
    pub rotate: Option<RotateWhere>,
    /// Loads 64 bits at a time, where rows are whole eights of channels.
    pub wide: Option<bool>,
    /// The subgroup strategy computes scores key by key in a loop.
    pub rolled: Option<bool>,
    /// Outputs share a buffer with another operand, so they are written through scratch. `prepare` sets it when it
    /// finds that they do.
    pub shared_outputs: bool,
    /// Writes the number of visited tiles in place of lse: a diagnostic.
    pub count_tiles: bool,
}

/// What is planned.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Attention(Box<Problem>),
    Merge(Merge),
    Rotation(Box<Rotation>),
    Embedding(Box<Embedding>),
    Backward(Box<Backward>),
    Scan(Box<BlockScan>),
}

/// An ordered list of steps. Its `Display` is the explanation for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) task: Task,
    pub(crate) choice: Choice,
    pub(crate) caps: Caps,
    pub(crate) steps: Vec<Step>,
    pub(crate) scratch: Vec<u64>,
    pub(crate) aux: Vec<u32>,
    pub(crate) copies: Vec<AuxCopy>,
    pub(crate) table: Option<TableNeed>,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) declined: Vec<Declined>,
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Plans one attention call.
    pub fn attention(problem: &Problem, caps: &Caps, choice: &Choice) -> Result<Self> {
        problem.validate()?;
        prefill::plan(problem, caps, choice)?.within_limits()
    }

    /// Plans the backward pass of an attention call.
    pub fn backward(backward: &Backward, caps: &Caps, choice: &Choice) -> Result<Self> {
        backward.validate()?;
        backward::plan(backward, caps, choice)?.within_limits()
    }

    /// Plans the merge of partial results.
    pub fn merge(merge: &Merge, caps: &Caps, choice: &Choice) -> Result<Self> {
        merge::plan(merge, caps, choice)?.within_limits()
    }

    /// Plans a rotation of rows by their positions, as an operation of its own.
    pub fn rotation(rotation: &Rotation, caps: &Caps, choice: &Choice) -> Result<Self> {
        rotate::plan(rotation, caps, choice)?.within_limits()
    }

    /// Plans adding a table's rows to embeddings by position.
    pub fn embedding(embedding: &Embedding, caps: &Caps, choice: &Choice) -> Result<Self> {
        embed::plan(embedding, caps, choice)?.within_limits()
    }

    /// Plans the block lists of a mask_mod.
    pub fn scan(scan: &BlockScan, caps: &Caps, choice: &Choice) -> Result<Self> {
        scan::plan(scan, caps, choice)?.within_limits()
    }

    /// Refuses what only the whole plan knows: the small operands together are one binding.
    fn within_limits(self) -> Result<Self> {
        let bytes = self.aux.len() as u64 * 4;
        draft::check_binding(&self.caps, "the small operands together", bytes)?;
        Ok(self)
    }

    /// The same task with outputs that share a buffer with another operand.
    pub fn with_shared_outputs(&self) -> Result<Self> {
        let choice = Choice {
            shared_outputs: true,
            ..self.choice.clone()
        };
        match &self.task {
            Task::Attention(problem) => Self::attention(problem, &self.caps, &choice),
            Task::Merge(merge) => Self::merge(merge, &self.caps, &choice),
            Task::Rotation(rotation) => Self::rotation(rotation, &self.caps, &choice),
            // Its one output is the tensor it adds to.
            Task::Embedding(embedding) => Self::embedding(embedding, &self.caps, &choice),
            Task::Backward(backward) => Self::backward(backward, &self.caps, &choice),
            // Its lists lie in no other operand.
            Task::Scan(scan) => Self::scan(scan, &self.caps, &choice),
        }
    }

    /// The user's functions, where the task has some: together with a step's variant the key of its kernel.
    pub fn mods(&self) -> Option<&ModText> {
        let problem = match &self.task {
            Task::Attention(problem) => problem,
            Task::Backward(backward) => &backward.problem,
            Task::Scan(scan) => return Some(&scan.mods.text),
            Task::Merge(_) | Task::Rotation(_) | Task::Embedding(_) => return None,
        };
        problem.mods.as_ref().map(|mods| &mods.text)
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes of each buffer that the call allocates beside the operands.
    pub fn scratch(&self) -> &[u64] {
        &self.scratch
    }

    /// Bytes that the call allocates beside the operands: scratch, small operands and parameters.
    pub fn scratch_bytes(&self) -> u64 {
        let params = self.steps.len() as u64 * PARAMS_STRIDE;
        self.scratch.iter().sum::<u64>() + self.aux.len() as u64 * 4 + params
    }

    /// Size and usage that each operand's buffer must have.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The rotary table that the steps read, where one of them rotates.
    pub fn table(&self) -> Option<&TableNeed> {
        self.table.as_ref()
    }

    pub fn declined(&self) -> &[Declined] {
        &self.declined
    }

    /// Choices worth knowing: splits, scratch, slices.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The cost of all steps.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for step in &self.steps {
            cost += step.cost;
        }
        cost
    }

    pub fn flops(&self) -> u64 {
        self.cost().flops
    }
}

/// Bytes from one step's parameters to the next one's: the largest alignment that WebGPU allows a device to ask for.
pub const PARAMS_STRIDE: u64 = (size_of::<Params>() as u64).next_multiple_of(OFFSET_ALIGNMENT);
/// Bytes: every device accepts binding offsets of this alignment.
pub const OFFSET_ALIGNMENT: u64 = 256;
