//! Rotating rows by their positions: a pass before attention, or an operation of its own.

use std::ops::RangeInclusive;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::problem::position::{Rotary, RotaryLayout, Side};
use crate::problem::{Element, Layout, Operand, Position, Positions, Problem};

use super::draft::{Bound, Draft};
use super::merge::pack_into;
use super::params::{Params, Rows};
use super::variant::{Input, Output, ROTATED_HEADS, Rotate, Variant};
use super::{Binding, Choice, Cost, Plan, Role, Slot, Task, tiles};

/// Rows `[B, H, N, D]` to be turned by their positions, in place or not: what a cache does with its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    pub rotary: Rotary,
    pub batch: u32,
    pub heads: u32,
    /// N
    pub len: u32,
    pub rows: Operand,
    pub turned: Operand,
    /// [`Positions::Index`]: row i stands at `start + i`.
    pub positions: Positions,
    pub start: i32,
    /// Which side's table: it matters under xPos only.
    pub side: Side,
    /// Turns back by the same angles, keeping the attention factor: the transpose, as gradients need it.
    pub transposed: bool,
    /// As in [`crate::problem::Position`].
    pub length: Option<u32>,
    pub range: Option<RangeInclusive<i32>>,
}

impl Rotation {
    /// Contiguous `[B, H, N, D]` rows at positions 0 … N − 1.
    pub fn new(rotary: Rotary, [batch, heads, len]: [u32; 3], element: Element) -> Self {
        let rows = Operand::new(element, Layout::heads_first(heads, len, rotary.head_dim));
        Self {
            rotary,
            batch,
            heads,
            len,
            rows,
            turned: rows,
            positions: Positions::Index,
            start: 0,
            side: Side::Query,
            transposed: false,
            length: None,
            range: None,
        }
    }

    fn sizes(&self) -> [u32; 3] {
        [self.batch, self.heads, self.len]
    }

    fn validate(&self) -> Result<()> {
        self.rotary.validate()?;
        if self.heads == 0 {
            return Err(Error::size("heads", self.heads, "at least 1"));
        }
        let dim = self.rotary.head_dim;
        self.rows.validate("rows", self.sizes(), dim)?;
        self.turned.validate("turned", self.sizes(), dim)?;
        self.turned.validate_output("turned", self.sizes(), dim)?;
        match &self.positions {
            Positions::Host(p) => {
                let count = self.batch as usize * self.len as usize;
                Error::check_values("positions", p.len(), count)
            }
            Positions::Index if self.start.checked_add_unsigned(self.len).is_none() => {
                let (start, end) = (self.start, i32::MAX);
                let allowed = format!("a start from which {} rows end below 2³¹", self.len);
                Err(Error::Positions {
                    start,
                    end,
                    allowed,
                })
            }
            Positions::Index | Positions::Device => Ok(()),
        }
    }

    fn known_range(&self) -> Option<RangeInclusive<i32>> {
        match &self.positions {
            Positions::Device => None,
            Positions::Host(p) => Some(*p.iter().min()?..=*p.iter().max()?),
            Positions::Index => Some(self.start..=self.start + self.len.max(1) as i32 - 1),
        }
    }
}

/// The cosines and sines that a plan's steps read.
#[derive(Clone, Debug, PartialEq)]
pub struct TableNeed {
    pub rotary: Rotary,
    pub rows: TableRows,
    /// The context length for kinds that depend on it.
    pub length: u32,
}

/// Which positions a table has rows for.
#[derive(Clone, Debug, PartialEq)]
pub enum TableRows {
    Range(RangeInclusive<i32>),
    /// Ascending; where positions are few and far between.
    List(Vec<i32>),
}

impl TableRows {
    fn new(rotary: &Rotary, range: RangeInclusive<i32>, positions: &[&Positions]) -> Self {
        let span = i64::from(*range.end()) - i64::from(*range.start()) + 1;
        let count: usize = positions
            .iter()
            .map(|p| {
                if let Positions::Host(p) = p {
                    p.len()
                } else {
                    0
                }
            })
            .sum();
        let all_host = positions.iter().all(|p| matches!(p, Positions::Host(_)));
        if all_host && span > SPARSE_SPAN.max(2 * count as i64) {
            let mut list: Vec<i32> = positions
                .iter()
                .flat_map(|p| {
                    if let Positions::Host(p) = p {
                        p.as_slice()
                    } else {
                        &[]
                    }
                })
                .copied()
                .collect();
            list.sort_unstable();
            list.dedup();
            return Self::List(list);
        }
        // A context that begins near 0 and grows keeps its table; xPos may not reach 0 from its centre.
        let near = rotary.xpos.is_none()
            && *range.start() >= 0
            && i64::from(*range.start()) <= span.max(SPARSE_SPAN);
        Self::Range(if near { 0..=*range.end() } else { range })
    }

    fn start(&self) -> i32 {
        match self {
            Self::Range(range) => *range.start(),
            Self::List(_) => 0,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Range(range) => (i64::from(*range.end()) - i64::from(*range.start()) + 1) as u64,
            Self::List(list) => list.len() as u64,
        }
    }

    /// The words that tell the shader each token's row.
    fn words(&self, positions: &[i32]) -> Vec<u32> {
        let word = |p: &i32| match self {
            Self::Range(_) => *p as u32,
            Self::List(list) => list.partition_point(|x| x < p) as u32,
        };
        positions.iter().map(word).collect()
    }
}

/// Positions a table holds without asking whether all are used.
const SPARSE_SPAN: i64 = 1 << 16;

/// States the table and what the shader must know of it; answers its binding.
fn bind_table(
    draft: &mut Draft<'_>,
    params: &mut Params,
    rotary: &Rotary,
    rows: TableRows,
    length: u32,
) -> Result<Binding> {
    let (pairs, split) = (rotary.pairs(), rotary.xpos.is_some());
    let stride = if split { 2 * pairs } else { pairs };
    params.table_stride = stride;
    params.table_key_at = if split { pairs } else { 0 };
    params.table_start = rows.start();
    params.table_rows = rows.len() as u32;
    params.rotary_start = rotary.start;
    params.rotary_dim = rotary.dim;
    params.table_sine = 1.0;
    let size = (rows.len() * u64::from(stride) * 8).next_multiple_of(16);
    draft.check_binding("the rotary table", size)?;
    draft.table = Some(TableNeed {
        rotary: rotary.clone(),
        rows,
        length,
    });
    Ok(Binding {
        slot: Slot::Table,
        offset: 0,
        size,
        writable: false,
    })
}

/// Lays out the rotary table of an attention call and each token's row in it.
pub(super) fn plan_table(
    draft: &mut Draft<'_>,
    problem: &Problem,
    rotary: &Rotary,
    params: &mut Params,
) -> Result<Binding> {
    let (shape, position) = (&problem.shape, &problem.position);
    let known = position.known_range(shape, &problem.mask);
    let range = position.range.clone().or(known).ok_or(Error::Unstated)?;
    let length = position.length(&range);
    rotary
        .scale_hint(problem.scale())
        .into_iter()
        .for_each(|hint| draft.note(hint));
    let k_positions = match position.rotates(Side::Key) {
        true => &position.k_positions,
        false => &Positions::Index,
    };
    let rows = match &position.range {
        Some(range) => TableRows::Range(range.clone()),
        None => TableRows::new(rotary, range, &[&position.q_positions, k_positions]),
    };
    let mut push = |role, positions: &Positions, len: u32, known: u32| match positions {
        Positions::Index => 0,
        Positions::Host(p) => draft.push_aux(rows.words(p)),
        Positions::Device if known > 0 => known,
        Positions::Device => draft.copy_aux(role, shape.batch * len),
    };
    let (q_at, k_at) = (params.q_positions_at, params.k_positions_at);
    params.q_rotations_at = push(Role::QPositions, &position.q_positions, shape.q_len, q_at);
    params.k_rotations_at = push(Role::KPositions, k_positions, shape.kv_len, k_at);
    bind_table(draft, params, rotary, rows, length)
}

/// Whether partners lie in whole chunks of `channels`, so that a kernel that loads those can rotate as it loads.
pub(super) fn whole_chunks(rotary: &Rotary, channels: u32) -> bool {
    let whole = rotary.dim.is_multiple_of(match rotary.layout {
        RotaryLayout::Half => 2 * channels,
        RotaryLayout::Interleaved => channels,
    });
    whole && rotary.start.is_multiple_of(channels)
}

/// Which rows a call rotates, for its notes.
pub(super) fn rotated_rows(position: &Position) -> &'static str {
    if position.k_rotated {
        "k holds rotated keys; queries are rotated"
    } else {
        "q and k are rotated"
    }
}

/// One side's rows turned into contiguous f32 scratch, before the attention kernel.
pub(super) struct Pass<'a> {
    pub rotary: &'a Rotary,
    pub side: Side,
    pub source: Bound,
    pub operand: &'a Operand,
    /// Heads and rows of the whole tensor, and which rows are turned.
    pub heads: u32,
    pub rows: std::ops::Range<u32>,
    pub positions: &'a Positions,
    pub table: Binding,
}

impl Pass<'_> {
    /// Records the pass and answers where the turned rows lie.
    pub fn plan(&self, draft: &mut Draft<'_>, params: &Params) -> Result<Bound> {
        let dim = self.rotary.head_dim;
        let count = self.rows.end - self.rows.start;
        let elements =
            u64::from(params.batch) * u64::from(self.heads) * u64::from(count) * u64::from(dim);
        let name = match self.side {
            Side::Query => "scratch for rotated q",
            Side::Key => "scratch for rotated k",
        };
        let scratch = draft.scratch(name, elements * 4)?;
        let rows = Rows::contiguous(self.heads, count, dim, self.rows.start);
        let mut params = Params {
            q: self.source.rows,
            o: rows,
            q_heads: self.heads,
            q_begin: self.rows.start,
            q_end: self.rows.end,
            ..*params
        };
        if self.side == Side::Key {
            turn_keys(draft, &mut params);
        }
        let turn = Turn {
            rotary: self.rotary,
            rows: self.operand,
            positions: self.positions,
            table: self.table,
        };
        let output = Output::scratch(self.rotary.head_dim);
        turn.push(draft, params, self.source.binding, scratch, output)?;
        Ok(Bound {
            binding: Binding {
                writable: false,
                ..scratch
            },
            rows,
        })
    }
}

/// Gradients of one side's rows, contiguous f32 in scratch, turned back to where they are to be stored.
pub(super) struct BackPass<'a> {
    pub rotary: &'a Rotary,
    pub side: Side,
    pub from: Bound,
    pub heads: u32,
    pub rows: std::ops::Range<u32>,
    pub positions: &'a Positions,
    pub table: Binding,
}

impl BackPass<'_> {
    pub fn plan(
        &self,
        draft: &mut Draft<'_>,
        params: &Params,
        operand: &Operand,
        to: &Bound,
        what: &'static str,
    ) -> Result<()> {
        let dim = self.rotary.head_dim;
        let mut params = Params {
            q: self.from.rows,
            q_heads: self.heads,
            q_begin: self.rows.start,
            q_end: self.rows.end,
            value_dim: dim,
            table_sine: -1.0,
            ..*params
        };
        if self.side == Side::Key {
            turn_keys(draft, &mut params);
        }
        let count = self.rows.end - self.rows.start;
        let scratch = Operand::new(Element::F32, Layout::heads_first(self.heads, count, dim));
        let from = Binding {
            writable: false,
            ..self.from.binding
        };
        let turn = Turn {
            rotary: self.rotary,
            rows: &scratch,
            positions: self.positions,
            table: self.table,
        };
        pack_into(
            draft,
            params,
            operand,
            to,
            what,
            |draft, params, to, output| turn.push(draft, params, from, to, output),
        )
    }
}

/// A rotation of keys, whose kernel speaks of queries.
fn turn_keys(draft: &mut Draft<'_>, params: &mut Params) {
    params.q_rotations_at = params.k_rotations_at;
    params.offsets_at = draft.push_aux(std::iter::repeat_n(0, params.batch as usize));
    params.q_len = params.kv_len;
    params.table_side_at = params.table_key_at;
}

/// Rows that a step turns.
struct Turn<'a> {
    rotary: &'a Rotary,
    rows: &'a Operand,
    positions: &'a Positions,
    table: Binding,
}

impl Turn<'_> {
    /// Adds the step from `from`, whose rows lie as `params.q` says, to `to`, whose rows lie as `params.o` says.
    fn push(
        &self,
        draft: &mut Draft<'_>,
        mut params: Params,
        from: Binding,
        to: Binding,
        output: Output,
    ) -> Result<()> {
        params.value_dim = params.head_dim;
        let key = self.key(draft, &params, output)?;
        let tokens = u64::from(params.batch) * u64::from(params.q_end - params.q_begin);
        let rows = tokens * u64::from(params.q_heads);
        let parts = u64::from(params.q_heads.div_ceil(ROTATED_HEADS));
        let bindings = vec![from, to, draft.aux_binding(), self.table];
        let dim = u64::from(params.head_dim);
        let cost = Cost {
            read_bytes: rows * dim * key.input.element.size()
                + tokens * parts * u64::from(params.rotary_dim) * 4,
            written_bytes: rows * dim * key.output.element.size(),
            flops: rows * u64::from(params.rotary_dim) * 3,
            ..Cost::default()
        };
        let items = tokens * parts * u64::from(chunks_owned(&params, &key));
        draft.item_steps(Variant::Rotate(key), params, bindings, items, cost)
    }

    fn key(&self, draft: &mut Draft<'_>, params: &Params, output: Output) -> Result<Rotate> {
        let dim = self.rotary.head_dim;
        let mut declined = Vec::new();
        let mut wide = tiles::wide_loads(draft.caps, draft.choice, &mut declined)?;
        let whole = dim.is_multiple_of(8) && params.q.is_aligned(8) && params.o.is_aligned(8);
        if wide && !(whole && whole_chunks(self.rotary, 8)) {
            wide = false;
            declined.push(tiles::not_eights());
        }
        declined.into_iter().for_each(|x| draft.decline(x));
        Ok(Rotate {
            input: Input::of(&[self.rows], &[dim]),
            output,
            layout: self.rotary.layout,
            whole_chunks: whole_chunks(self.rotary, 4),
            wide,
            positions: *self.positions != Positions::Index,
        })
    }
}

/// Chunks of a row that have an invocation each: where partners of the half layout lie in whole chunks, one of the two.
fn chunks_owned(params: &Params, key: &Rotate) -> u32 {
    let channels = key.chunk_channels();
    let chunks = params.head_dim.div_ceil(channels);
    if key.whole_chunks && key.layout == RotaryLayout::Half {
        chunks - params.rotary_dim / (2 * channels)
    } else {
        chunks
    }
}

pub(super) fn plan(rotation: &Rotation, caps: &Caps, choice: &Choice) -> Result<Plan> {
    rotation.validate()?;
    let mut draft = Draft::new(caps, choice);
    if rotation.batch > 0 && rotation.len > 0 {
        steps(&mut draft, rotation)?;
    }
    Ok(draft.finish(Task::Rotation(Box::new(rotation.clone()))))
}

fn steps(draft: &mut Draft<'_>, rotation: &Rotation) -> Result<()> {
    let (rotary, dim) = (&rotation.rotary, rotation.rotary.head_dim);
    let mut params = Params {
        batch: rotation.batch,
        q_heads: rotation.heads,
        group: 1,
        q_len: rotation.len,
        q_end: rotation.len,
        head_dim: dim,
        value_dim: dim,
        ..Params::default()
    };
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
    params.q_rotations_at = match &rotation.positions {
        Positions::Index => 0,
        Positions::Host(p) => draft.push_aux(rows.words(p)),
        Positions::Device => draft.copy_aux(Role::QPositions, rotation.batch * rotation.len),
    };
    params.offsets_at = draft.push_aux(std::iter::repeat_n(
        rotation.start as u32,
        rotation.batch as usize,
    ));
    let table = bind_table(draft, &mut params, rotary, rows, length)?;
    if rotation.transposed {
        params.table_sine = -1.0;
    }
    if rotation.side == Side::Key {
        params.table_side_at = params.table_key_at;
    }
    let from = draft.input(Role::Rows, &rotation.rows, rotation.sizes(), dim)?;
    let to = draft.output(Role::Turned, &rotation.turned, rotation.sizes(), dim)?;
    params.q = from.rows;
    let turn = Turn {
        rotary,
        rows: &rotation.rows,
        positions: &rotation.positions,
        table,
    };
    pack_into(
        draft,
        params,
        &rotation.turned,
        &to,
        "turned",
        |draft, params, target, output| turn.push(draft, params, from.binding, target, output),
    )
}
