//! What the gradient kernels need of each query, made once.

use crate::error::Result;
use crate::kernel::{Delta, Input, Params};
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::parts::{Parts, RowsOf};
use crate::plan::view::{Rows, View};
use crate::problem::{Problem, Role};
use crate::task::Backward;

/// Writes (lse, Δ) of the slice's rows to scratch.
pub(super) fn delta(
    builder: &mut PlanBuilder<'_>,
    request: &Backward,
    problem: &Problem,
    params: &mut Params,
    d_o: &View,
) -> Result<View> {
    let shape = &problem.shape;
    let sizes = problem.q_sizes();
    let o = builder.input(Role::O, &problem.o, sizes, shape.value_dim)?;
    let lse = builder.input(Role::Lse, &problem.lse_operand(), sizes, 1)?;
    let rows = Rows::of(&params.of_rows(problem.queries().is_ragged(), sizes));
    let stats = builder.scratch_rows("scratch for lse and delta", 8, &rows, 1);
    params.stats = stats.whole().rows;
    let mut views = vec![
        ("o", Role::O, o),
        ("d_o", Role::DO, *d_o),
        ("lse", Role::Lse, lse),
        ("stats", Role::Lse, stats),
    ];
    if request.dlse {
        let dlse = builder.input(Role::DLse, &problem.lse_operand(), sizes, 1)?;
        views.push(("dlse", Role::DLse, dlse));
    }
    let key = Delta {
        o: Input::of(&[&problem.o], &[shape.value_dim]),
        d_o: Input::of(&[&request.d_o], &[shape.value_dim]),
        dlse: request.dlse,
    };
    let mut parts = Parts::of_rows(builder, &rows);
    for (_, role, view) in &views {
        parts.fit(role.name(), view, RowsOf::Queries)?;
    }
    parts.settle(builder)?;
    for rows in parts.rows().iter().filter(|rows| rows.count() > 0) {
        step(builder, (request, problem), (key, params), rows, &views)?;
    }
    Ok(stats)
}

/// Of some rows, whose tensors' bindings hold them.
fn step(
    builder: &mut PlanBuilder<'_>,
    (request, problem): (&Backward, &Problem),
    (key, params): (Delta, &Params),
    rows: &Rows,
    views: &[(&'static str, Role, View)],
) -> Result<()> {
    let limit = builder.binding_limit();
    let mut params = rows.renumber(params);
    let chunks = problem.shape.value_dim.div_ceil(4);
    params.bound.at = builder.push_per_batch(&params, chunks)?;
    let mut bindings = Vec::new();
    for (name, _, view) in views {
        let bound = view.rows(limit, rows);
        let strides = rows.renumber_strides(bound.rows);
        match *name {
            "o" => params.o = strides,
            "d_o" => params.d_o = strides,
            "stats" => params.stats = strides,
            // dlse lies as lse does.
            _ => params.lse = strides,
        }
        bindings.push((*name, bound.binding));
    }
    let (count, dim) = (rows.count(), u64::from(problem.shape.value_dim));
    let cost = Cost {
        flops: count * dim * 2,
        read_bytes: problem.o.element.bytes(count * dim)
            + request.d_o.element.bytes(count * dim)
            + count * 4,
        written_bytes: count * 8,
        ..Cost::default()
    };
    builder.item_steps(key, params, bindings, count, cost)
}
