//! Rows stored with their scales, as an operation of its own.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{Address, Params};
use crate::plan::builder::PlanBuilder;
use crate::plan::{Plan, PlanOptions};
use crate::problem::Role;
use crate::task::{Quantization, Task};

use super::append::append;
use super::hadamard;

pub(in crate::plan) fn plan(
    quantization: &Quantization,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan> {
    quantization.validate()?;
    if options.shared_outputs {
        let (what, other) = (Role::Stored.name(), Role::Rows.name());
        return Err(Error::SharedBuffer { what, other });
    }
    let mut builder = PlanBuilder::new(caps, options);
    if quantization.batch > 0 && quantization.len > 0 {
        steps(&mut builder, quantization)?;
    }
    Ok(builder.finish(Task::Quantization(Box::new(quantization.clone()))))
}

/// An append to a cache that has room for just these rows.
fn steps(builder: &mut PlanBuilder<'_>, quantization: &Quantization) -> Result<()> {
    let (sizes, dim) = (quantization.sizes(), quantization.dim);
    let mut params = Params::default().with(|p| {
        p.sizes.batch = quantization.batch;
        p.sizes.q_heads = quantization.heads;
        (p.sizes.q_len, p.sizes.kv_len) = (quantization.len, quantization.len);
        (p.range.q_end, p.range.k_end) = (quantization.len, quantization.len);
    });
    params.intervals.lens_at = builder.push_per_batch(&params, quantization.len)?;
    params.intervals.offsets_at = builder.push_per_batch(&params, 0)?;
    let from = builder.input(Role::Rows, &quantization.rows, sizes, dim)?;
    let to = builder.output(Role::Stored, &quantization.stored, sizes, dim)?;
    let mut rows = (quantization.rows, from);
    if quantization.hadamard {
        rows = hadamard::new_rows(builder, &params, &rows, dim)?;
    }
    let to = (&quantization.stored, &to, Address::Strided);
    append(builder, &params, (&rows.0, &rows.1), to, (dim, false))
}
