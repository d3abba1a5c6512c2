//! How a problem is computed on a device: an ordered list of dispatches, what they cost, and why no faster path was
//! taken. Planning is pure; no GPU is touched.

mod attention;
mod backward;
mod budget;
mod builder;
mod check;
mod cost;
mod dispatch;
mod explain;
mod forward;
mod limits;
mod operation;
mod options;
mod pace;
mod parts;
#[cfg(feature = "wgpu")]
mod reset;
mod schedule;
mod scratch;
mod slices;
mod source;
mod sparse;
mod step;
mod table;
mod tile_costs;
mod tiles;
mod units;
mod view;

pub use crate::kernel::StrategyKind;
pub use budget::Budget;
pub use check::{Allowed, Check};
pub use cost::Cost;
pub use options::{PlanOptions, RotateWhere};
#[doc(hidden)]
pub use pace::Pace;
pub use schedule::{Interval, Schedule};
#[doc(hidden)]
pub use slices::{Load, Slicer};
pub use slices::{Piece, Slice};
pub use step::Step;
#[doc(hidden)]
pub use step::{Binding, Bindings, Slot};
pub use table::{TableNeed, TableRows};

use crate::caps::Caps;
#[cfg(feature = "wgpu")]
use crate::error::Error;
use crate::error::Result;
use crate::problem::{ModText, Problem, Role};
use crate::task::{Backward, BlockScan, Embedding, KvAppend, Merge, Quantization, Rotation, Task};
use crate::tuning::{Class, TunedTiles};

pub(crate) use tiles::Asked;

/// A faster path that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declined {
    /// The path that was passed over.
    pub path: &'static str,
    /// Why, and what would help.
    pub reason: String,
}

/// What a caller's buffer must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// Whose buffer.
    pub role: Role,
    /// Bytes that the buffer has at the least, those before the tensor included.
    pub bytes: u64,
    /// Bound as storage; else copied from (`COPY_SRC`), or to where it is an output (`COPY_DST`).
    pub storage: bool,
    /// The call writes it.
    pub output: bool,
    /// Bytes before the tensor, and whether it fills all that follow: two such outputs must not meet in one buffer.
    pub start: u64,
    /// The tensor fills all bytes that follow.
    pub dense: bool,
}

/// Where the encoder copies a device-resident operand into the call's own buffer, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuxCopy {
    /// Whose buffer.
    pub role: Role,
    /// Words from the start of the call's buffer.
    pub at: u32,
    /// Words of four bytes.
    pub words: u32,
    /// Out of it, once so many steps are recorded.
    pub out: Option<CopyOut>,
}

/// When the encoder copies out of the call's own buffer, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyOut {
    /// Steps that are recorded before.
    pub after: usize,
    /// Words from the start of the operand.
    pub to: u32,
}

/// Where the small operands hold lengths and offsets that a call may be given anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostAt {
    pub lens: Option<u32>,
    pub offsets: Option<u32>,
}

/// An ordered list of steps. Its `Display` is the explanation for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    pub(crate) task: Task,
    pub(crate) options: PlanOptions,
    pub(crate) caps: Caps,
    pub(crate) steps: Vec<Step>,
    pub(crate) scratch: Vec<u64>,
    pub(crate) aux: Vec<u32>,
    pub(crate) copies: Vec<AuxCopy>,
    /// Where lengths and offsets lie that the host holds, in words.
    pub(crate) host_at: HostAt,
    pub(crate) table: Option<TableNeed>,
    /// The operand `rotations` stands in the table's place.
    pub(crate) rows_given: bool,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) declined: Vec<Declined>,
    pub(crate) notes: Vec<String>,
    /// Classes of problems whose tiles were chosen.
    pub(crate) asked: Vec<Asked>,
}

impl Plan {
    /// Plans one attention call.
    pub fn attention(problem: &Problem, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "attention").entered();
        problem.validate()?;
        options.validate()?;
        caps.validate()?;
        let plan = |options: &PlanOptions| {
            tuned(options, |options| {
                forward::plan(problem, caps, options)?.within_limits()
            })
        };
        scratch::bounded(options, problem.shape.q_len, plan)
    }

    /// Plans the backward pass of an attention call.
    pub fn backward(backward: &Backward, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "backward").entered();
        backward.validate()?;
        options.validate()?;
        caps.validate()?;
        let plan = |options: &PlanOptions| {
            tuned(options, |options| {
                backward::plan(backward, caps, options)?.within_limits()
            })
        };
        scratch::bounded(options, backward.problem.shape.q_len, plan)
    }

    /// Plans the merge of partial results.
    pub fn merge(merge: &Merge, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "merge").entered();
        options.validate_without_tiles("a merge", false)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            operation::merge(merge, caps, options)?.within_limits()
        })
    }

    /// Plans a rotation of rows by their positions, as an operation of its own.
    pub fn rotation(rotation: &Rotation, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "rotation").entered();
        options.validate_without_tiles("a rotation", true)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            operation::rotate(rotation, caps, options)?.within_limits()
        })
    }

    /// Plans writing new keys and values into a cache.
    pub fn append(append: &KvAppend, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "append").entered();
        options.validate_without_tiles("an append", true)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            operation::append(append, caps, options)?.within_limits()
        })
    }

    /// Plans adding a table's rows to embeddings by position.
    pub fn embedding(embedding: &Embedding, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "embedding").entered();
        options.validate_without_tiles("an embedding", false)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            operation::embed(embedding, caps, options)?.within_limits()
        })
    }

    /// Plans storing rows with their scales.
    pub fn quantization(
        quantization: &Quantization,
        caps: &Caps,
        options: &PlanOptions,
    ) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "quantization").entered();
        options.validate_without_tiles("a quantization", false)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            operation::quantize(quantization, caps, options)?.within_limits()
        })
    }

    /// Plans the block lists of a mask_mod.
    pub fn scan(scan: &BlockScan, caps: &Caps, options: &PlanOptions) -> Result<Self> {
        let _span = tracing::debug_span!("plan", task = "scan").entered();
        options.validate_without_tiles("a scan of blocks", false)?;
        caps.validate()?;
        scratch::bounded(options, 1, |options| {
            sparse::scan(scan, caps, options)?.within_limits()
        })
    }

    /// The same task with outputs that share a buffer with another operand.
    pub fn with_shared_outputs(&self) -> Result<Self> {
        self.again(&PlanOptions {
            shared_outputs: true,
            ..self.options.clone()
        })
    }

    /// The same task with other options.
    pub(crate) fn again(&self, options: &PlanOptions) -> Result<Self> {
        match &self.task {
            Task::Attention(problem) => Self::attention(problem, &self.caps, options),
            Task::Merge(merge) => Self::merge(merge, &self.caps, options),
            Task::Rotation(rotation) => Self::rotation(rotation, &self.caps, options),
            // Its one output is the tensor it adds to.
            Task::Embedding(embedding) => Self::embedding(embedding, &self.caps, options),
            // It writes rows to where they belong, whatever else the buffer holds.
            Task::KvAppend(append) => Self::append(append, &self.caps, options),
            Task::Quantization(rows) => Self::quantization(rows, &self.caps, options),
            Task::Backward(backward) => Self::backward(backward, &self.caps, options),
            // Its lists lie in no other operand.
            Task::Scan(scan) => Self::scan(scan, &self.caps, options),
        }
    }

    /// The user's functions, where the task has some: together with a step's variant the key of its kernel.
    pub fn mods(&self) -> Option<&ModText> {
        let problem = match &self.task {
            Task::Attention(problem) => problem,
            Task::Backward(backward) => &backward.problem,
            Task::Scan(scan) => return Some(&scan.mods.text),
            Task::Merge(_)
            | Task::Rotation(_)
            | Task::Embedding(_)
            | Task::KvAppend(_)
            | Task::Quantization(_) => {
                return None;
            }
        };
        problem.mods.as_ref().map(|mods| &mods.text)
    }

    /// The dispatches, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes of each buffer that the call allocates beside the operands.
    pub fn scratch(&self) -> &[u64] {
        &self.scratch
    }

    /// Bytes that the call allocates beside the operands: scratch, small operands and parameters.
    pub fn scratch_bytes(&self) -> u64 {
        let params = self.steps.len() as u64 * PARAMETER_BYTES;
        self.scratch.iter().sum::<u64>() + self.aux.len() as u64 * 4 + params
    }

    /// Bytes beside the operands that each step is the first to need: its parameters, the buffers that no step before has
    /// bound, and at the first step the call's small operands. Together [`Self::scratch_bytes`].
    pub fn step_scratch(&self) -> Vec<u64> {
        let mut unused = self.scratch.clone();
        let mut fresh = |step: &Step| {
            let buffers = step.bindings.iter().filter_map(|(_, x)| match x.slot {
                Slot::Scratch(n) => unused.get_mut(n).map(std::mem::take),
                _ => None,
            });
            PARAMETER_BYTES + buffers.sum::<u64>()
        };
        let mut bytes: Vec<u64> = self.steps.iter().map(&mut fresh).collect();
        let counted: u64 = bytes.iter().sum();
        if let Some(first) = bytes.first_mut() {
            *first += self.scratch_bytes().saturating_sub(counted);
        }
        bytes
    }

    #[cfg(feature = "wgpu")]
    /// Refuses a tensor that neither the plan reads or writes nor its task names.
    pub(crate) fn check_named(&self, role: Role) -> Result<()> {
        if self.task.names(role) || self.requirements.iter().any(|need| need.role == role) {
            return Ok(());
        }
        Err(Error::Unnamed {
            what: role.name(),
            task: self.task.name(),
        })
    }

    /// Size and usage that each operand's buffer must have.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The rotary table that the steps read, where one of them rotates.
    pub fn table(&self) -> Option<&TableNeed> {
        self.table.as_ref()
    }

    /// The classes of problems whose tiles a tuning may say, and the tiles that each got.
    pub fn tile_classes(&self) -> impl Iterator<Item = (Class, TunedTiles)> {
        self.asked.iter().map(|asked| (asked.class, asked.tiles))
    }

    /// Faster paths that were not taken, each with its reason.
    pub fn declined(&self) -> &[Declined] {
        &self.declined
    }

    /// Worth knowing: splits, scratch, slices.
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

    /// FLOPs of all steps; 1 fma is 2.
    pub fn flops(&self) -> u64 {
        self.cost().flops
    }
}

/// Plans with the tuning of the options, or without where that is at fault that there is no plan.
fn tuned(options: &PlanOptions, plan: impl Fn(&PlanOptions) -> Result<Plan>) -> Result<Plan> {
    match plan(options) {
        Err(error) if options.tuning.is_some() => {
            let mut plan = plan(&options.clone().with_tuning(None))?;
            plan.notes
                .push(format!("the tuning is left out, for with it: {error}"));
            Ok(plan)
        }
        planned => planned,
    }
}

/// Bytes: every device accepts binding offsets of this alignment, the largest that WebGPU lets one ask for.
pub const OFFSET_ALIGNMENT: u64 = 256;
// Every device that passes as one has what the kernels of rows need.
const _: () = assert!(crate::kernel::ROW_KERNEL_INVOCATIONS <= Caps::LEAST_INVOCATIONS);

/// Bytes of a step's parameters at the most, alignment included.
const PARAMETER_BYTES: u64 = 2 * OFFSET_ALIGNMENT;
