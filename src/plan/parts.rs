//! Calls whose operands are larger than one binding, in parts whose windows of them are not.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::Params;
use crate::problem::{Shape, Slice};

use super::builder::PlanBuilder;
use super::dispatch::cut;
use super::limits::{check_steps, product, refuse_uncut};
use super::units::Bytes;
use super::view::{Bound, Rows, View};

/// What of a problem a step takes, in coordinates of the whole: `heads` are query heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub batches: Range<u32>,
    pub heads: Range<u32>,
    pub q: Range<u32>,
    pub k: Range<u32>,
}

impl Part {
    /// Rows of q, o and all that has a row per query.
    pub fn queries(&self) -> Rows {
        Rows {
            batches: self.batches.clone(),
            heads: self.heads.clone(),
            rows: self.q.clone(),
        }
    }

    /// KV heads that its query heads read.
    pub fn kv_heads(&self, group: u32) -> Range<u32> {
        self.heads.start / group..self.heads.end.div_ceil(group)
    }

    /// Rows of k and v.
    pub fn keys(&self, group: u32) -> Rows {
        Rows {
            batches: self.batches.clone(),
            heads: self.kv_heads(group),
            rows: self.k.clone(),
        }
    }

    /// The parameters of its steps.
    pub fn params(&self, params: &Params) -> Params {
        params.with(|p| {
            (p.range.q_begin, p.range.q_end) = (self.q.start, self.q.end);
            (p.range.k_begin, p.range.k_end) = (self.k.start, self.k.end);
        })
    }
}

/// What a tensor has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsOf {
    Queries,
    Keys,
    /// Rows of queries, with a channel per key.
    Pairs,
}

/// An axis that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Batches,
    Heads,
    Queries,
    Keys,
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Heads => "heads",
            Self::Queries => "queries",
            Self::Keys => "keys",
        }
    }
}

/// How far parts go along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub batches: u32,
    pub heads: u32,
    pub q: u32,
    pub k: u32,
}

impl Lengths {
    pub const ONE: Self = Self {
        batches: 1,
        heads: 1,
        q: 1,
        k: 1,
    };

    pub fn rows(&self) -> u64 {
        u64::from(self.batches) * u64::from(self.heads) * u64::from(self.q)
    }

    fn of(&mut self, axis: Axis) -> &mut u32 {
        match axis {
            Axis::Batches => &mut self.batches,
            Axis::Heads => &mut self.heads,
            Axis::Queries => &mut self.q,
            Axis::Keys => &mut self.k,
        }
    }

    fn with(mut self, axis: Axis, length: u32) -> Self {
        *self.of(axis) = length;
        self
    }
}

/// A call in parts. What a part binds holds the whole tiles that its kernel streams.
pub(super) struct Parts {
    limit: u64,
    group: u32,
    /// Queries and keys of the whole problem.
    lens: [u32; 2],
    whole: Part,
    /// Heads that stay together, and tiles of queries and keys.
    units: Lengths,
    lengths: Lengths,
    /// What was too large, and the axes along which it was cut.
    reasons: Vec<(&'static str, u64, Vec<Axis>)>,
}

impl Parts {
    /// All of a slice in one part, which is cut at multiples of `units`: heads that stay together, and the tiles of what a
    /// kernel streams.
    pub fn new(builder: &PlanBuilder<'_>, shape: &Shape, slice: &Slice, units: Lengths) -> Self {
        let whole = Part {
            batches: 0..shape.batch,
            heads: 0..shape.q_heads,
            q: slice.q.clone(),
            k: slice.k.clone(),
        };
        Self::of(
            builder.binding_limit(),
            whole,
            shape.group(),
            [shape.q_len, shape.kv_len],
            units,
        )
    }

    /// Rows that kernels of rows take: nothing is streamed, no heads are shared.
    pub fn of_rows(builder: &PlanBuilder<'_>, rows: &Rows) -> Self {
        Self::of_rows_within(builder.binding_limit(), rows)
    }

    /// The same where a binding has so many bytes.
    pub fn of_rows_within(limit: u64, rows: &Rows) -> Self {
        let whole = Part {
            batches: rows.batches.clone(),
            heads: rows.heads.clone(),
            q: rows.rows.clone(),
            k: 0..0,
        };
        Self::of(limit, whole, 1, [rows.rows.end, 0], Lengths::ONE)
    }

    fn of(limit: u64, whole: Part, group: u32, lens: [u32; 2], units: Lengths) -> Self {
        let tiles =
            |x: &Range<u32>, unit: u32| x.end.next_multiple_of(unit) - x.start / unit * unit;
        let lengths = Lengths {
            batches: whole.batches.end - whole.batches.start,
            heads: whole.heads.end - whole.heads.start,
            q: tiles(&whole.q, units.q),
            k: tiles(&whole.k, units.k),
        };
        Self {
            limit,
            group: group.max(1),
            lens,
            whole,
            units,
            lengths,
            reasons: Vec::new(),
        }
    }

    /// Cuts until a part's window of a tensor is no larger than a binding: along its largest stride first.
    pub fn fit(&mut self, what: &'static str, view: &View, of: RowsOf) -> Result<()> {
        let (limit, group) = (self.limit, self.group);
        let span = |n: &Lengths| match of {
            RowsOf::Queries => view.span(limit, [n.batches, n.heads, n.q], view.dim()),
            RowsOf::Keys => view.span(limit, [n.batches, n.heads.div_ceil(group), n.k], view.dim()),
            RowsOf::Pairs => view.span(limit, [n.batches, n.heads, n.q], n.k),
        };
        let rows = match of {
            RowsOf::Keys => Axis::Keys,
            RowsOf::Queries | RowsOf::Pairs => Axis::Queries,
        };
        let [batch, head, row] = view.divisible();
        let mut axes = vec![(batch, Axis::Batches), (head, Axis::Heads), (row, rows)];
        axes.extend((of == RowsOf::Pairs).then_some((1, Axis::Keys)));
        axes.retain(|&(stride, _)| stride > 0);
        axes.sort_by_key(|&(stride, _)| std::cmp::Reverse(stride));
        let axes: Vec<_> = axes.into_iter().map(|(_, axis)| axis).collect();
        self.fit_by(what, (view.bytes(), span), &axes)
    }

    /// Cuts until a part takes no more bytes of something than a binding has: along these axes, the first of them as far as it
    /// goes.
    pub fn fit_by(
        &mut self,
        what: &'static str,
        (all, bytes): (u64, impl Fn(&Lengths) -> u64),
        axes: &[Axis],
    ) -> Result<()> {
        let mut along = Vec::new();
        while bytes(&self.lengths) > self.limit {
            let Some(axis) = axes.iter().copied().find(|&axis| self.is_divisible(axis)) else {
                return refuse_uncut(what, bytes(&self.lengths), self.limit);
            };
            let limit = self.limit;
            self.shorten(axis, |lengths| bytes(lengths) <= limit);
            if !along.contains(&axis) {
                along.push(axis);
            }
        }
        if !along.is_empty() || all > self.limit {
            self.reasons.push((what, all, along));
        }
        Ok(())
    }

    fn is_divisible(&self, axis: Axis) -> bool {
        *self.lengths.clone().of(axis) > *self.units.clone().of(axis)
    }

    /// To the largest length that fits, else to the least; parts come out about equal.
    fn shorten(&mut self, axis: Axis, fits: impl Fn(&Lengths) -> bool) {
        let length = *self.lengths.of(axis);
        let unit = match axis {
            // Groups stay whole before they are divided.
            Axis::Heads if length > self.group => self.group,
            _ => *self.units.of(axis),
        };
        let all = length.div_ceil(unit);
        let (mut most, mut beyond) = (1, all);
        while beyond - most > 1 {
            let middle = most.midpoint(beyond);
            match fits(&self.lengths.with(axis, middle * unit)) {
                true => most = middle,
                false => beyond = middle,
            }
        }
        let pieces = all.div_ceil(most);
        *self.lengths.of(axis) = all.div_ceil(pieces) * unit;
    }

    pub fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Batches and query heads of the parts.
    pub fn heads(&self) -> Vec<(Range<u32>, Range<u32>)> {
        let n = self.lengths.heads;
        let heads: Vec<_> = match n < self.group {
            false => cut(self.whole.heads.clone(), n.max(1)).collect(),
            true => cut(self.whole.heads.clone(), self.group)
                .flat_map(|group| cut(group, n.max(1)))
                .collect(),
        };
        let batches = cut(self.whole.batches.clone(), self.lengths.batches.max(1));
        let with_heads = |b: Range<u32>| heads.clone().into_iter().map(move |h| (b.clone(), h));
        batches.flat_map(with_heads).collect()
    }

    /// Queries of the parts.
    pub fn queries(&self) -> Vec<Range<u32>> {
        tiled(&self.whole.q, self.lengths.q, self.units.q)
    }

    /// Keys of the parts.
    pub fn keys(&self) -> Vec<Range<u32>> {
        tiled(&self.whole.k, self.lengths.k, self.units.k)
    }

    /// All parts of a kernel of rows.
    pub fn rows(&self) -> Vec<Rows> {
        let queries = self.queries();
        let part = |(batches, heads): (Range<u32>, Range<u32>), q: &Range<u32>| Rows {
            batches,
            heads,
            rows: q.clone(),
        };
        let heads = self.heads().into_iter();
        heads
            .flat_map(|head| queries.iter().map(move |q| part(head.clone(), q)))
            .collect()
    }

    /// What a part binds of a tensor.
    pub fn bind(&self, view: &View, of: RowsOf, part: &Part) -> Bound {
        let whole = |x: &Range<u32>, unit: u32, len: u32| {
            x.start / unit * unit..x.end.next_multiple_of(unit).min(len)
        };
        let q = whole(&part.q, self.units.q, self.lens[0]);
        let k = whole(&part.k, self.units.k, self.lens[1]);
        let part = Part {
            q,
            k: k.clone(),
            ..part.clone()
        };
        match of {
            RowsOf::Queries => view.rows(self.limit, &part.queries()),
            RowsOf::Keys => view.rows(self.limit, &part.keys(self.group)),
            RowsOf::Pairs => view.window(self.limit, &part.queries(), k),
        }
    }

    /// Parts along an axis.
    pub fn count(&self, axis: Axis) -> u32 {
        let pieces = |range: &Range<u32>, n: u32, unit: u32| {
            let begin = range.start / unit * unit;
            (range.end - begin.min(range.end)).div_ceil(n.max(1)).max(1)
        };
        let (whole, n, units) = (&self.whole, &self.lengths, &self.units);
        match axis {
            Axis::Batches => pieces(&whole.batches, n.batches, 1),
            Axis::Heads if n.heads < self.group => {
                whole.heads.len() as u32 / self.group * self.group.div_ceil(n.heads.max(1))
            }
            Axis::Heads => (whole.heads.len() as u32).div_ceil(n.heads.max(1)),
            Axis::Queries => pieces(&whole.q, n.q, units.q),
            Axis::Keys => pieces(&whole.k, n.k, units.k),
        }
    }

    /// Refuses more parts, each a step at the least, than a plan holds.
    pub fn check(&self) -> Result<()> {
        let axes = [Axis::Batches, Axis::Heads, Axis::Queries, Axis::Keys];
        check_steps(product(axes.map(|axis| self.count(axis).into())))
    }

    /// Tells what was cut, and how.
    pub fn settle(&self, builder: &mut PlanBuilder<'_>) -> Result<()> {
        self.check()?;
        for (what, bytes, axes) in &self.reasons {
            let along: Vec<_> = axes
                .iter()
                .map(|axis| format!("over {} in {} parts", axis.name(), self.count(*axis)))
                .collect();
            let how = match along.is_empty() {
                true => "in the same parts".into(),
                false => format!("cut {}", along.join(" and ")),
            };
            let (bytes, limit) = (Bytes(*bytes), Bytes(self.limit));
            builder.note(format!("{what} is {bytes}, a binding holds {limit}: {how}"));
        }
        Ok(())
    }
}

/// `range` in pieces of `n`, a multiple of `unit`, cut at multiples of that; one piece of nothing where it is empty.
fn tiled(range: &Range<u32>, n: u32, unit: u32) -> Vec<Range<u32>> {
    if range.is_empty() {
        return vec![range.clone()];
    }
    let begin = range.start / unit * unit;
    let within = |x: Range<u32>| x.start.max(range.start)..x.end.min(range.end);
    cut(begin..range.end, n.max(1)).map(within).collect()
}
