//! What the gradient kernels need of each query, made once.

use crate::error::Result;
use crate::plan::draft::{Bound, Draft};
use crate::plan::params::{Params, Rows};
use crate::plan::variant::{Delta, Input, Variant};
use crate::plan::{Binding, Cost, Role};
use crate::problem::{Element, Layout, Operand, Problem};

use super::Backward;

/// Writes (lse, Δ) of the slice's rows to scratch.
pub(super) fn delta(
    draft: &mut Draft<'_>,
    stated: &Backward,
    problem: &Problem,
    params: &mut Params,
    d_o: &Bound,
) -> Result<Binding> {
    let (shape, slice) = (&problem.shape, problem.slice());
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let contiguous = Operand::new(
        Element::F32,
        Layout::heads_first(shape.q_heads, shape.q_len, 1),
    );
    let o = draft.input(Role::O, &problem.o, sizes, shape.value_dim)?;
    let lse = draft.input(Role::Lse, &contiguous, sizes, 1)?;
    let count = slice.q.end - slice.q.start;
    let rows = u64::from(shape.batch) * u64::from(shape.q_heads) * u64::from(count);
    let stats = draft.scratch("scratch for lse and delta", rows * 8)?;
    params.stats = Rows::contiguous(shape.q_heads, count, 1, slice.q.start);
    let mut bindings = vec![
        o.binding,
        d_o.binding,
        lse.binding,
        stats,
        draft.aux_binding(),
    ];
    if stated.dlse {
        bindings.push(draft.input(Role::DLse, &contiguous, sizes, 1)?.binding);
    }
    let chunks = shape.value_dim.div_ceil(4);
    let params = Params {
        o: o.rows,
        lse: lse.rows,
        partials_at: draft.push_aux(std::iter::repeat_n(chunks, shape.batch as usize)),
        ..*params
    };
    let dim = u64::from(shape.value_dim);
    let cost = Cost {
        flops: rows * dim * 2,
        read_bytes: rows * dim * (problem.o.element.size() + stated.d_o.element.size()) + rows * 4,
        written_bytes: rows * 8,
        ..Cost::default()
    };
    let variant = Variant::Delta(Delta {
        o: Input::of(&[&problem.o], &[shape.value_dim]),
        d_o: Input::of(&[&stated.d_o], &[shape.value_dim]),
        dlse: stated.dlse,
    });
    if rows > 0 {
        draft.item_steps(variant, params, bindings, rows, cost)?;
    }
    Ok(stats)
}
