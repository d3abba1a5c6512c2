//! Merging partial results of the same rows, and bringing contiguous f32 rows to where they are to be stored.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::problem::{Element, Layout, MAX_DIM, MAX_LEN, Operand, Values};

use super::draft::{Bound, Draft};
use super::params::{NOTHING, Params, Rows};
use super::variant::{Output, Pack, PackRows, Variant};
use super::{Binding, Choice, Cost, Plan, Role, Task};

/// Partial results `(o, lse)` of the same queries over disjoint keys, to be merged: `lse = ln Σ e^lse_k`,
/// `O = Σ e^(lse_k − lse)·O_k`. An empty partial is (0, −∞); two of them merge to the same.
///
/// Splits, keys past a binding, shared prefixes, time slices and ring attention come down to this operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    pub parts: u32,
    pub batch: u32,
    pub heads: u32,
    pub q_len: u32,
    /// Dv
    pub value_dim: u32,
    /// Learned sinks `[H]`, which partials never contain: the last merge adds them.
    pub sinks: Option<Values>,
    /// Where the merged `[B, H, Nq, Dv]` goes; lse is contiguous f32 `[B, H, Nq]`.
    pub o: Operand,
}

impl Merge {
    /// Contiguous `[B, H, Nq, Dv]` as the output.
    pub fn new(
        parts: u32,
        [batch, heads, q_len]: [u32; 3],
        value_dim: u32,
        element: Element,
    ) -> Self {
        let o = Operand::new(element, Layout::heads_first(heads, q_len, value_dim));
        Self {
            parts,
            batch,
            heads,
            q_len,
            value_dim,
            sinks: None,
            o,
        }
    }

    fn validate(&self) -> Result<()> {
        if self.heads == 0 {
            return Err(Error::size("heads", self.heads, "at least 1"));
        }
        if self.value_dim == 0 || self.value_dim > MAX_DIM {
            return Err(Error::size(
                "value_dim",
                self.value_dim,
                format!("1 to {MAX_DIM}"),
            ));
        }
        if self.q_len > MAX_LEN {
            return Err(Error::size(
                "q_len",
                self.q_len,
                format!("at most {MAX_LEN}"),
            ));
        }
        let sizes = [self.batch, self.heads, self.q_len];
        self.o.validate("o", sizes, self.value_dim)?;
        self.o.validate_output("o", sizes, self.value_dim)?;
        let partials = u64::from(self.parts) * self.elements();
        if partials > u64::from(u32::MAX) {
            return Err(Error::Extent {
                what: "partial_o",
                end: Some(partials),
            });
        }
        Ok(())
    }

    fn rows(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.heads) * u64::from(self.q_len)
    }

    fn elements(&self) -> u64 {
        self.rows() * u64::from(self.value_dim)
    }
}

pub(super) fn plan(merge: &Merge, caps: &Caps, choice: &Choice) -> Result<Plan> {
    merge.validate()?;
    let mut draft = Draft::new(caps, choice);
    if merge.rows() > 0 {
        let sizes = [merge.batch, merge.heads, merge.q_len];
        let contiguous = |dim: u32| {
            Operand::new(
                Element::F32,
                Layout::heads_first(merge.heads, merge.q_len, dim),
            )
        };
        let o = draft.output(Role::O, &merge.o, sizes, merge.value_dim)?;
        let lse = draft.output(Role::Lse, &contiguous(1), sizes, 1)?;
        let parts = [merge.parts * merge.batch, merge.heads, merge.q_len];
        let mut source = |role, dim| -> Result<Binding> {
            Ok(draft.input(role, &contiguous(dim), parts, dim)?.binding)
        };
        let partials = match merge.parts {
            0 => None,
            _ => Some((
                source(Role::PartialO, merge.value_dim)?,
                source(Role::PartialLse, 1)?,
            )),
        };
        let params = Params {
            batch: merge.batch,
            q_heads: merge.heads,
            q_len: merge.q_len,
            q_end: merge.q_len,
            value_dim: merge.value_dim,
            sinks_at: match &merge.sinks {
                Some(sinks) => draft.push_values(Role::Sinks, sinks, merge.heads as usize),
                None => NOTHING,
            },
            ..Params::default()
        };
        let target = Target {
            operand: merge.o,
            o,
            lse,
        };
        combine(&mut draft, params, merge.parts, partials, &target)?;
    }
    Ok(draft.finish(Task::Merge(merge.clone())))
}

/// Where a result is to be stored.
pub(super) struct Target {
    pub operand: Operand,
    pub o: Bound,
    pub lse: Bound,
}

/// Results in scratch, while the operands that lie where they are to go are still read.
pub(super) struct Waiting {
    params: Params,
    pub target: Target,
}

impl Waiting {
    /// Room for the rows of `params`.
    pub fn new(draft: &mut Draft<'_>, params: Params) -> Result<Self> {
        let (heads, dim) = (params.q_heads, params.value_dim);
        let count = params.q_end - params.q_begin;
        let (o_bytes, lse_bytes) = slice_bytes(&params);
        let o = draft.scratch("scratch for all of o", o_bytes)?;
        let lse = draft.scratch("scratch for all of lse", lse_bytes)?;
        let bound = |binding, dim| Bound {
            binding,
            rows: Rows::contiguous(heads, count, dim, params.q_begin),
        };
        let target = Target {
            operand: Operand::new(Element::F32, Layout::heads_first(heads, count, dim)),
            o: bound(o, dim),
            lse: bound(lse, 1),
        };
        Ok(Self { params, target })
    }

    /// Moves them to the caller's tensors.
    pub fn bring(self, draft: &mut Draft<'_>, target: &Target) -> Result<()> {
        let Target { o, lse, .. } = self.target;
        let of_o = Params {
            o: o.rows,
            ..self.params
        };
        pack(draft, &of_o, o.binding, &target.o, target.operand.element)?;
        let of_lse = Params {
            o: lse.rows,
            value_dim: 1,
            ..self.params
        };
        pack(draft, &of_lse, lse.binding, &target.lse, Element::F32)
    }
}

/// The bytes of a slice's rows, o and lse, as contiguous f32.
fn slice_bytes(params: &Params) -> (u64, u64) {
    let rows = slice_rows(params);
    (rows * u64::from(params.value_dim) * 4, rows * 4)
}

fn slice_rows(params: &Params) -> u64 {
    u64::from(params.batch) * u64::from(params.q_heads) * u64::from(params.q_end - params.q_begin)
}

/// Merges `parts` contiguous partials (none make the result of dead rows) into the target.
pub(super) fn combine(
    draft: &mut Draft<'_>,
    mut params: Params,
    parts: u32,
    partials: Option<(Binding, Binding)>,
    target: &Target,
) -> Result<()> {
    let (o_bytes, lse_bytes) = slice_bytes(&params);
    let rows = slice_rows(&params);
    params.partials_at = draft.push_aux(std::iter::repeat_n(parts, params.batch as usize));
    params.lse_split = rows as u32;
    params.o_split = (rows * u64::from(params.value_dim)) as u32;
    let (from_o, from_lse) = partials.unwrap_or((draft.aux_binding(), draft.aux_binding()));
    into_target(draft, params, target, |draft, params, o, lse, output| {
        let bindings = vec![
            from_o.read_only(),
            from_lse.read_only(),
            o,
            lse,
            draft.aux_binding(),
        ];
        let items = rows * u64::from(params.value_dim.div_ceil(4));
        let cost = Cost {
            read_bytes: u64::from(parts) * (o_bytes + lse_bytes),
            written_bytes: rows * (u64::from(params.value_dim) * output.element.size() + 4),
            flops: u64::from(parts) * o_bytes / 2,
            ..Cost::default()
        };
        draft.item_steps(Variant::Combine { output }, params, bindings, items, cost)
    })
}

/// Lets `steps` write o and lse: in place where that is possible, else into scratch, from where pack steps bring
/// them to the target.
pub(super) fn into_target(
    draft: &mut Draft<'_>,
    params: Params,
    target: &Target,
    steps: impl FnOnce(&mut Draft<'_>, Params, Binding, Binding, Output) -> Result<()>,
) -> Result<()> {
    pack_into(
        draft,
        params,
        &target.operand,
        &target.o,
        "o",
        |draft, mut params, o, output| {
            params.lse = target.lse.rows;
            if !draft.choice.shared_outputs {
                return steps(draft, params, o, target.lse.binding, output);
            }
            let (_, bytes) = slice_bytes(&params);
            let lse = draft.scratch("scratch for lse", bytes)?;
            params.lse = Rows::contiguous(
                params.q_heads,
                params.q_end - params.q_begin,
                1,
                params.q_begin,
            );
            steps(draft, params, o, lse, output)?;
            let params = Params {
                value_dim: 1,
                ..params
            };
            pack(draft, &params, lse, &target.lse, Element::F32)
        },
    )
}

/// Lets `steps` write rows of `value_dim` channels to `params.o`: in place, or into scratch that is then packed.
pub(super) fn pack_into(
    draft: &mut Draft<'_>,
    mut params: Params,
    operand: &Operand,
    target: &Bound,
    what: &'static str,
    steps: impl FnOnce(&mut Draft<'_>, Params, Binding, Output) -> Result<()>,
) -> Result<()> {
    if draft.writes_in_place(operand, params.value_dim) {
        params.o = target.rows;
        let output = Output::of(operand, params.value_dim);
        return steps(draft, params, target.binding, output);
    }
    draft.note(if draft.choice.shared_outputs {
        format!("{what} shares a buffer with another operand: written to scratch, then packed")
    } else {
        format!(
            "rows of {what} ({}) share words: written to scratch, then packed",
            operand.element
        )
    });
    let (bytes, _) = slice_bytes(&params);
    let scratch = draft.scratch("scratch for an output", bytes)?;
    let rows = params.q_end - params.q_begin;
    params.o = Rows::contiguous(params.q_heads, rows, params.value_dim, params.q_begin);
    steps(draft, params, scratch, Output::scratch(params.value_dim))?;
    pack(draft, &params, scratch, target, operand.element)
}

/// Moves contiguous f32 rows to a tensor of any layout and element.
pub(super) fn pack(
    draft: &mut Draft<'_>,
    params: &Params,
    from: Binding,
    to: &Bound,
    output: Element,
) -> Result<()> {
    let variant = Variant::Pack(Pack {
        output,
        rows: PackRows::InOrder,
    });
    pack_words(draft, params, variant, from, to)
}

/// A step whose invocations each own a word of the tensor `to`, whatever rows share it.
pub(super) fn pack_words(
    draft: &mut Draft<'_>,
    params: &Params,
    variant: Variant,
    from: Binding,
    to: &Bound,
) -> Result<()> {
    let Variant::Pack(Pack {
        output: element, ..
    }) = variant
    else {
        return Ok(());
    };
    let rows = params.q_end - params.q_begin;
    let mut o = to.rows;
    o.start = o.start.wrapping_add(params.q_begin.wrapping_mul(o.row));
    let axes = [
        (params.batch, o.batch),
        (params.q_heads, o.head),
        (rows, o.row),
    ];
    let mut order = [0u32, 1, 2];
    order.sort_by_key(|&n| std::cmp::Reverse(axes[n as usize].1));
    let last: u64 = axes
        .iter()
        .map(|&(size, stride)| u64::from(size.saturating_sub(1)) * u64::from(stride))
        .sum::<u64>()
        + u64::from(params.value_dim);
    let (start, per_word) = (u64::from(o.start), element.per_word());
    let words = (start + last).div_ceil(per_word) - start / per_word;
    // The order of the axes travels in `splits`, two bits each.
    let splits = order[0] | order[1] << 2 | order[2] << 4;
    let params = Params {
        o,
        splits,
        ..*params
    };
    let bindings = vec![
        Binding {
            writable: false,
            ..from
        },
        to.binding,
        draft.aux_binding(),
    ];
    let cost = Cost {
        read_bytes: from.size,
        written_bytes: words * 4,
        ..Cost::default()
    };
    draft.item_steps(variant, params, bindings, words, cost)
}
