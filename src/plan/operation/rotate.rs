//! Rotating rows by their positions: a pass before attention, or an operation of its own.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{Address, Input, Output, Params, ROTATED_HEADS, Rotate};
use crate::plan::builder::PlanBuilder;
use crate::plan::parts::{Parts, RowsOf};
use crate::plan::source::Source;
use crate::plan::tiles;
use crate::plan::view::{Rows, View};
use crate::plan::{Binding, Cost, Plan, PlanOptions, TableRows};
use crate::problem::position::{Rotary, RotaryLayout, Side};
use crate::problem::{Element, Layout, Operand, Position, Positions, Role, tokens};
use crate::task::{Rotation, Task};

use super::pack::pack_into;
use super::rotary_table::bind_table;

/// Whether partners lie in whole chunks of `channels`, so that a kernel that loads those can rotate as it loads.
pub(in crate::plan) fn whole_chunks(rotary: &Rotary, channels: u32) -> bool {
    let whole = rotary.dim.is_multiple_of(match rotary.layout {
        RotaryLayout::Half => 2 * channels,
        RotaryLayout::Interleaved => channels,
    });
    whole && rotary.start.is_multiple_of(channels)
}

/// Which rows a call rotates, for its notes.
pub(in crate::plan) fn rotated_rows(position: &Position) -> &'static str {
    if position.k_rotated {
        "k holds rotated keys; queries are rotated"
    } else {
        "q and k are rotated"
    }
}

/// One side's rows rotated into contiguous f32 scratch, before the attention kernel.
pub(in crate::plan) struct Pass<'a> {
    pub rotary: &'a Rotary,
    pub side: Side,
    pub source: View,
    pub operand: &'a Operand,
    pub from: Address,
    /// Heads and rows of the whole tensor, and which rows are rotated.
    pub heads: u32,
    pub rows: std::ops::Range<u32>,
    pub positions: &'a Positions,
    /// The rows are those of a ragged batch, and `params` of rows.
    pub sequences: bool,
}

impl Pass<'_> {
    /// Records the pass and answers the rotated rows.
    pub fn plan(&self, builder: &mut PlanBuilder<'_>, params: &Params) -> Result<Source> {
        let dim = self.rotary.head_dim;
        let name = match self.side {
            Side::Query => "scratch for rotated q",
            Side::Key => "scratch for rotated k",
        };
        let mut params = params.with(|p| {
            p.sizes.q_heads = self.heads;
            p.range.q_begin = self.rows.start;
            p.range.q_end = self.rows.end;
        });
        if self.side == Side::Key {
            as_queries(builder, &mut params)?;
        }
        let rotate = RotateStep {
            rotary: self.rotary,
            rows: self.operand,
            from: self.from,
            positions: self.positions,
            sequences: self.sequences,
        };
        let rows = Rows::of(&params);
        let to = builder.scratch_rows(name, 4, &rows, dim);
        rotate.steps(builder, &params, (&self.source, &to), Output::scratch(dim))?;
        let [_, heads, count] = rows.sizes();
        Ok(Source {
            operand: Operand::heads_first(Element::F32, heads, count, dim),
            view: to,
            address: Address::Strided,
        })
    }
}

/// Gradients of one side's rows, contiguous f32 in scratch, rotated back to where they are to be stored.
pub(in crate::plan) struct BackPass<'a> {
    pub rotary: &'a Rotary,
    pub side: Side,
    pub from: View,
    pub rows: Rows,
    pub positions: &'a Positions,
    /// The rows are those of a ragged batch.
    pub sequences: bool,
}

impl BackPass<'_> {
    pub fn plan(
        &self,
        builder: &mut PlanBuilder<'_>,
        params: &Params,
        (operand, to): (&Operand, &View),
        what: &'static str,
    ) -> Result<()> {
        let mut params = params.with(|p| p.rotation.sine = -1.0);
        if self.side == Side::Key {
            as_queries(builder, &mut params)?;
        }
        let [_, heads, count] = self.rows.sizes();
        let layout = Layout::heads_first(heads, count, self.rotary.head_dim);
        let scratch = Operand::new(Element::F32, layout);
        let rotate = RotateStep {
            rotary: self.rotary,
            rows: &scratch,
            from: Address::Strided,
            positions: self.positions,
            sequences: self.sequences,
        };
        let of = (&params, &self.rows);
        pack_into(builder, of, (operand, to), what, |builder, to, output| {
            rotate.steps_of(builder, of, (&self.from, to), output)
        })
    }
}

/// The parameters of a rotation of keys, in the words of its kernel, which speaks of queries.
fn as_queries(builder: &mut PlanBuilder<'_>, params: &mut Params) -> Result<()> {
    params.rotation.q_at = params.rotation.k_at;
    params.intervals.offsets_at = builder.push_sequence_words(params, 0)?;
    params.sequences.q_at = params.sequences.k_at;
    params.sizes.q_len = params.sizes.kv_len;
    params.rotation.side_at = params.rotation.key_at;
    Ok(())
}

/// Rows that a step rotates.
pub(super) struct RotateStep<'a> {
    pub rotary: &'a Rotary,
    pub rows: &'a Operand,
    pub from: Address,
    pub positions: &'a Positions,
    /// The rows are those of a ragged batch.
    pub sequences: bool,
}

impl RotateStep<'_> {
    /// Adds the steps of all rows of `params`.
    pub fn steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        params: &Params,
        views: (&View, &View),
        output: Output,
    ) -> Result<()> {
        self.steps_of(builder, (params, &Rows::of(params)), views, output)
    }

    /// Those of these rows: as many as the bindings of two tensors call for.
    fn steps_of(
        &self,
        builder: &mut PlanBuilder<'_>,
        (params, rows): (&Params, &Rows),
        (from, to): (&View, &View),
        output: Output,
    ) -> Result<()> {
        let mut parts = Parts::of_rows(builder, rows);
        // A cache's rows are found by the numbers of the whole problem.
        if self.from == Address::Strided {
            parts.fit("a rotation's input", from, RowsOf::Queries)?;
            parts.fit("a rotation's output", to, RowsOf::Queries)?;
        }
        parts.settle(builder)?;
        let limit = builder.binding_limit();
        for rows in parts.rows() {
            let (from, to) = (from.rows(limit, &rows), to.rows(limit, &rows));
            let params = rows.renumber(params).with(|p| {
                p.x = rows.renumber_strides(from.rows);
                p.y = rows.renumber_strides(to.rows);
            });
            self.push(builder, params, (from.binding, to.binding), output)?;
        }
        Ok(())
    }

    /// Adds the step whose rows lie as `params.x` and `params.y` say.
    fn push(
        &self,
        builder: &mut PlanBuilder<'_>,
        params: Params,
        (from, to): (Binding, Binding),
        output: Output,
    ) -> Result<()> {
        let key = self.key(builder, &params, output)?;
        let tokens =
            u64::from(params.sizes.batch) * u64::from(params.range.q_end - params.range.q_begin);
        let rows = tokens * u64::from(params.sizes.q_heads);
        let parts = u64::from(params.sizes.q_heads.div_ceil(ROTATED_HEADS));
        let bindings = vec![("x", from), ("o", to)];
        let dim = u64::from(params.sizes.head_dim);
        let cost = Cost {
            read_bytes: rows * self.rows.row_bytes(params.sizes.head_dim)
                + tokens * parts * u64::from(params.rotation.dim) * 4,
            written_bytes: key.output.element.bytes(rows * dim),
            flops: rows * u64::from(params.rotation.dim) * 3,
            ..Cost::default()
        };
        let items = tokens * parts * u64::from(chunks_owned(&params, &key));
        builder.item_steps(key, params, bindings, items, cost)
    }

    fn key(
        &self,
        builder: &mut PlanBuilder<'_>,
        params: &Params,
        output: Output,
    ) -> Result<Rotate> {
        let dim = self.rotary.head_dim;
        let mut declined = Vec::new();
        let mut vec8 = tiles::vec8_loads(builder.caps, builder.options, &mut declined)?;
        // Rows with scales are read word by word, wherever they begin.
        let read = self.rows.element.is_quantized() || params.x.is_aligned(8);
        let whole = dim.is_multiple_of(8) && read && params.y.is_aligned(8);
        if vec8 && !(whole && whole_chunks(self.rotary, 8)) {
            vec8 = false;
            declined.push(tiles::no_vec8());
        }
        declined.into_iter().for_each(|x| builder.decline(x));
        Ok(Rotate {
            input: Input::of(&[self.rows], &[dim]),
            from: self.from,
            output,
            layout: self.rotary.layout,
            whole_chunks: whole_chunks(self.rotary, 4),
            vec8,
            positions: *self.positions != Positions::Index,
            sequences: self.sequences && *self.positions == Positions::Index,
        })
    }
}

/// Chunks of a row that have an invocation each: where partners of the half layout lie in whole chunks, one of the two.
fn chunks_owned(params: &Params, key: &Rotate) -> u32 {
    let channels = key.chunk_channels();
    let chunks = params.sizes.head_dim.div_ceil(channels);
    if key.whole_chunks && key.layout == RotaryLayout::Half {
        chunks - params.rotation.dim / (2 * channels)
    } else {
        chunks
    }
}

pub(in crate::plan) fn plan(
    rotation: &Rotation,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan> {
    rotation.validate()?;
    let mut builder = PlanBuilder::new(caps, options);
    if rotation.batch > 0 && rotation.len > 0 {
        steps(&mut builder, rotation)?;
    }
    Ok(builder.finish(Task::Rotation(Box::new(rotation.clone()))))
}

fn steps(builder: &mut PlanBuilder<'_>, rotation: &Rotation) -> Result<()> {
    let (rotary, dim) = (&rotation.rotary, rotation.rotary.head_dim);
    let mut params = Params::default().with(|p| {
        p.sizes.batch = rotation.batch;
        p.sizes.q_heads = rotation.heads;
        p.sizes.group = 1;
        p.sizes.q_len = rotation.len;
        p.range.q_end = rotation.len;
        p.sizes.head_dim = dim;
    });
    let known = rotation.known_range();
    let range = rotation
        .range
        .clone()
        .or(known.clone())
        .ok_or(Error::Unstated)?;
    if known.is_some_and(|k| !range.contains(k.start()) || !range.contains(k.end()))
        || range.is_empty()
    {
        let (start, end) = (*range.start(), *range.end());
        let allowed = "an ordered range that holds every position of the call".into();
        return Err(Error::Positions {
            start,
            end,
            allowed,
        });
    }
    let length = rotation.length.unwrap_or((*range.end()).max(0) as u32 + 1);
    let rows = match &rotation.range {
        Some(range) => TableRows::Range(range.clone()),
        None => TableRows::new(rotary, range, &[&rotation.positions]),
    };
    params.rotation.q_at = match &rotation.positions {
        Positions::Index => Ok(0),
        Positions::Host(p) => builder.push_aux(rows.words(p)),
        Positions::Device => {
            builder.copy_aux(Role::QPositions, tokens(rotation.batch, rotation.len))
        }
    }?;
    params.intervals.offsets_at = builder.push_per_batch(&params, rotation.start as u32)?;
    bind_table(builder, &mut params, rotary, rows, length)?;
    if rotation.transposed {
        params.rotation.sine = -1.0;
    }
    if rotation.side == Side::Key {
        params.rotation.side_at = params.rotation.key_at;
    }
    let from = builder.input(Role::Rows, &rotation.rows, rotation.sizes(), dim)?;
    let to = builder.output(Role::Rotated, &rotation.rotated, rotation.sizes(), dim)?;
    let rotate = RotateStep {
        rotary,
        rows: &rotation.rows,
        from: Address::Strided,
        positions: &rotation.positions,
        sequences: false,
    };
    pack_into(
        builder,
        (&params, &Rows::of(&params)),
        (&rotation.rotated, &to),
        "rotated",
        |builder, to, output| rotate.steps(builder, &params, (&from, to), output),
    )
}
