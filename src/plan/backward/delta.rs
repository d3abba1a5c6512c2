//! What the gradient kernels need of each query, made once.

use crate::error::Result;
use crate::kernel::{Delta, Input, Params, Strides};
use crate::plan::builder::{Bound, PlanBuilder};
use crate::plan::{Binding, Cost};
use crate::problem::{Problem, Role};
use crate::task::Backward;

/// Writes (lse, Δ) of the slice's rows to scratch.
pub(super) fn delta(
    builder: &mut PlanBuilder<'_>,
    request: &Backward,
    problem: &Problem,
    params: &mut Params,
    d_o: &Bound,
) -> Result<Binding> {
    let (shape, slice) = (&problem.shape, problem.slice());
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let o = builder.input(Role::O, &problem.o, sizes, shape.value_dim)?;
    let lse = builder.input(Role::Lse, &problem.lse_operand(), sizes, 1)?;
    let count = slice.q.end - slice.q.start;
    let rows = u64::from(shape.batch) * u64::from(shape.q_heads) * u64::from(count);
    let stats = builder.scratch("scratch for lse and delta", rows * 8)?;
    params.stats = Strides::contiguous(shape.q_heads, count, 1, slice.q.start);
    let mut bindings = vec![
        ("o", o.binding),
        ("d_o", d_o.binding),
        ("lse", lse.binding),
        ("stats", stats),
    ];
    if request.dlse {
        let dlse = builder.input(Role::DLse, &problem.lse_operand(), sizes, 1)?;
        bindings.push(("dlse", dlse.binding));
    }
    let chunks = shape.value_dim.div_ceil(4);
    let bound_at = builder.push_per_batch(params, chunks)?;
    let params = params.with(|p| {
        p.o = o.rows;
        p.lse = lse.rows;
        p.bound.at = bound_at;
    });
    let dim = u64::from(shape.value_dim);
    let cost = Cost {
        flops: rows * dim * 2,
        read_bytes: rows * dim * (problem.o.element.size() + request.d_o.element.size()) + rows * 4,
        written_bytes: rows * 8,
        ..Cost::default()
    };
    let key = Delta {
        o: Input::of(&[&problem.o], &[shape.value_dim]),
        d_o: Input::of(&[&request.d_o], &[shape.value_dim]),
        dlse: request.dlse,
    };
    if rows > 0 {
        builder.item_steps(key, params, bindings, rows, cost)?;
    }
    Ok(stats)
}
