//! The largest scores: kernels leave them behind lse in scratch, per part of the keys; here they are joined, brought to the
//! caller's tensor and made one per head. A binding of their own would be the ninth of a kernel that has a bias and rotates.

use crate::error::Result;
use crate::kernel::{MAX_SCORES_RUN, MaxScores, Params, Strides};
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::parts::{Axis, Lengths, Parts};
use crate::plan::view::{Bound, Rows, View};
use crate::plan::{Binding, Cost, OFFSET_ALIGNMENT};
use crate::problem::{Element, Layout, Operand, Problem, Role};

use super::merge::Target;
use super::pack::pack;

/// Scratch for lse, with room for the largest scores behind it where they are asked for.
#[derive(Clone, Copy)]
pub(in crate::plan) struct LseScratch {
    /// All of it, for the kernel that writes both.
    pub whole: Binding,
    pub lse: Binding,
    largest: Binding,
    /// Numbers from an lse to the largest score of the same row.
    pub at: u32,
}

impl LseScratch {
    /// Bytes of a row that are enough for both, and for what lies between.
    pub const ROW_BYTES: u64 = 3 * 4;

    /// Cuts a call until a binding holds them.
    pub fn fit(parts: &mut Parts) -> Result<()> {
        let bytes = |n: &Lengths| n.rows().saturating_mul(Self::ROW_BYTES);
        let all = bytes(&parts.lengths());
        let axes = [Axis::Queries, Axis::Batches, Axis::Heads];
        parts.fit_by(
            "scratch for lse and the largest scores",
            (all, bytes),
            &axes,
        )
    }

    /// For so many rows, of all parts.
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        what: &'static str,
        rows: u64,
        with_largest: bool,
    ) -> Result<Self> {
        let bytes = rows * 4;
        let behind = bytes.next_multiple_of(OFFSET_ALIGNMENT);
        let whole = builder.scratch(what, if with_largest { behind + bytes } else { bytes })?;
        let part = |offset| Binding {
            offset,
            size: bytes.max(4),
            ..whole
        };
        Ok(Self {
            whole,
            lse: part(0),
            largest: part(if with_largest { behind } else { 0 }),
            at: (behind / 4) as u32,
        })
    }

    /// Joins the parts' largest scores into those of the call, where these are asked for.
    pub fn join(
        &self,
        builder: &mut PlanBuilder<'_>,
        of: (&Params, &Rows),
        parts: u32,
        target: &Target,
    ) -> Result<()> {
        match &target.max_scores {
            Some(to) => join(builder, of, parts, self.largest, to),
            None => Ok(()),
        }
    }
}

/// The largest of contiguous parts of these rows; −∞ of none.
pub(in crate::plan) fn join(
    builder: &mut PlanBuilder<'_>,
    (params, rows): (&Params, &Rows),
    parts: u32,
    from: Binding,
    to: &View,
) -> Result<()> {
    let bound = to.rows(builder.binding_limit(), rows);
    let params = rows.renumber(params).with(|p| {
        p.y = rows.renumber_strides(bound.rows);
        p.partials.begin = 0;
        p.partials.count = parts;
        p.partials.stride = rows.count() as u32;
    });
    step(builder, params, from, bound.binding, rows.count())
}

fn step(
    builder: &mut PlanBuilder<'_>,
    params: Params,
    from: Binding,
    to: Binding,
    items: u64,
) -> Result<()> {
    let run = params.partials.count.min(MAX_SCORES_RUN);
    let cost = Cost {
        read_bytes: items * u64::from(run) * 4,
        written_bytes: items * 4,
        ..Cost::default()
    };
    let bindings = vec![("scores", from), ("y", to)];
    builder.item_steps(MaxScores, params, bindings, items, cost)
}

/// The tensors that a problem wants them in.
pub(in crate::plan) struct Tensors {
    rows: Option<View>,
    heads: Option<View>,
    /// The rows' scores until the last of them is there: what they are written over may be read until then.
    pub deferred: Option<View>,
}

impl Tensors {
    /// Binds them; the rows' only where there are rows.
    pub fn bind(builder: &mut PlanBuilder<'_>, problem: &Problem, params: &Params) -> Result<Self> {
        let (shape, rows) = (&problem.shape, Rows::of(params));
        let mut tensors = Self {
            rows: None,
            heads: None,
            deferred: None,
        };
        let Some(asked) = &problem.max_score else {
            return Ok(tensors);
        };
        if asked.per_head {
            let layout = Layout::heads_first(shape.q_heads, 1, 1);
            let heads = Operand::new(Element::F32, layout);
            let sizes = [1, shape.q_heads, 1];
            tensors.heads = Some(builder.output(Role::MaxScorePerHead, &heads, sizes, 1)?);
        }
        builder.note(
            "the largest scores are written behind lse in scratch, then brought where they belong"
                .into(),
        );
        if rows.count() > 0 {
            let sizes = [shape.batch, shape.q_heads, shape.q_len];
            tensors.rows = Some(builder.output(Role::MaxScore, &asked.operand(), sizes, 1)?);
            let deferred = builder.scratch_rows("scratch for the largest scores", 4, &rows, 1);
            tensors.deferred = Some(deferred);
        }
        Ok(tensors)
    }

    /// Brings them there.
    pub fn bring(&self, builder: &mut PlanBuilder<'_>, params: &Params) -> Result<()> {
        if let (Some(rows), Some(deferred)) = (&self.rows, &self.deferred) {
            pack(
                builder,
                (params, &Rows::of(params)),
                deferred,
                rows,
                Element::F32,
            )?;
        }
        match &self.heads {
            Some(heads) => self.per_head(builder, params, &heads.whole()),
            None => Ok(()),
        }
    }

    /// Run by run the rows of each batch and head, then the batches.
    fn per_head(&self, builder: &mut PlanBuilder<'_>, params: &Params, to: &Bound) -> Result<()> {
        let (heads, mut rows) = (params.sizes.q_heads, params.rows());
        let mut from = match &self.deferred {
            Some(deferred) => {
                builder.check_binding("the largest scores of all rows", deferred.bytes())?;
                deferred.whole().binding
            }
            None => builder.nothing(),
        };
        let mut batches = match self.deferred {
            Some(_) => params.sizes.batch,
            None => 0,
        };
        let mut round = 0;
        while rows > 1 && batches > 0 {
            let runs = rows.div_ceil(MAX_SCORES_RUN);
            let items = product([batches, heads, runs].map(u64::from));
            let runs_to = scratch(builder, round, items)?;
            let params = in_runs(
                params,
                (rows, 1),
                Strides::contiguous(heads, runs, 1, 0),
                runs,
            );
            step(builder, params, from, runs_to, items)?;
            (from, rows, round) = (runs_to, runs, round + 1);
        }
        loop {
            let runs = batches.div_ceil(MAX_SCORES_RUN).max(1);
            let items = product([runs, heads].map(u64::from));
            let (binding, strides) = match runs {
                1 => (to.binding, to.rows),
                _ => (
                    scratch(builder, round, items)?,
                    Strides::contiguous(heads, 1, 1, 0),
                ),
            };
            let params = in_runs(params, (batches, heads), strides, 1);
            step(builder, params, from, binding, items)?;
            if runs == 1 {
                return Ok(());
            }
            (from, batches, round) = (binding, runs, round + 1);
        }
    }
}

/// Two, in alternation: a step reads what the one before has written.
fn scratch(builder: &mut PlanBuilder<'_>, round: usize, numbers: u64) -> Result<Binding> {
    let what = [
        "scratch for the largest scores of runs",
        "scratch for the largest scores of their runs",
    ];
    builder.scratch(what[round % 2], numbers * 4)
}

/// Of `count` scores that lie `stride` apart, into `each` numbers per batch and head.
fn in_runs(params: &Params, (count, stride): (u32, u32), y: Strides, each: u32) -> Params {
    params.with(|p| {
        p.y = y;
        p.range.q_begin = 0;
        p.range.q_end = each;
        p.partials.begin = 0;
        p.partials.count = count;
        p.partials.stride = stride;
    })
}
