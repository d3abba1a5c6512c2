//! Writing new rows into a cache: keys rotated by a pass before where they are rotated, then both where they belong.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{Address, Append, Input, Output, Params};
use crate::plan::attention::lookup::{address, push_lookup};
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::parts::{Parts, RowsOf};
use crate::plan::view::{Rows, View};
use crate::plan::{Binding, Cost, Plan, PlanOptions, TableRows, tiles};
use crate::problem::{Element, Layout, Operand, Positions, Role};
use crate::task::{KvAppend, Task};

use super::hadamard;
use super::rotary_table::{bind_given_rows, bind_table};
use super::rotate::RotateStep;

pub(in crate::plan) fn plan(
    request: &KvAppend,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan> {
    request.validate()?;
    let mut builder = PlanBuilder::new(caps, options);
    if !request.sizes().contains(&0) {
        steps(&mut builder, request)?;
    }
    Ok(builder.finish(Task::KvAppend(Box::new(request.clone()))))
}

fn steps(builder: &mut PlanBuilder<'_>, request: &KvAppend) -> Result<()> {
    let shape = &request.shape;
    // What stands where is told as an attention call tells it.
    let problem = request.problem();
    let problem = problem.resolved();
    let ragged = problem.queries().is_ragged();
    let mut params = Params::of(&problem);
    builder.push_lengths(&problem, &mut params)?;
    push_lookup(builder, request.kv_address, 0, &mut params)?;
    params = params.of_rows(ragged, request.sizes());
    let mut new = |role, operand: &Operand, dim| -> Result<(Operand, View)> {
        Ok((
            *operand,
            builder.input(role, operand, request.sizes(), dim)?,
        ))
    };
    let mut k = new(Role::K, &request.k, shape.head_dim)?;
    let v = new(Role::V, &request.v, shape.value_dim)?;
    if request.rotates() {
        k = rotated(builder, request, &mut params, k.1)?;
    }
    for (role, mut new, cache, dim, by_hadamard) in [
        (
            Role::KCache,
            k,
            &request.k_cache,
            shape.head_dim,
            request.k_hadamard,
        ),
        (
            Role::VCache,
            v,
            &request.v_cache,
            shape.value_dim,
            request.v_hadamard,
        ),
    ] {
        if by_hadamard {
            new = hadamard::new_rows(builder, &params, &new, dim)?;
        }
        let kept = request.kv_address.sizes(shape);
        let to = builder.output(role, cache, kept, dim)?;
        let to = to.at(address(request.kv_address)).with_all_rows();
        let cache = (cache, &to, address(request.kv_address));
        append(builder, &params, (&new.0, &new.1), cache, (dim, ragged))?;
    }
    Ok(())
}

/// The new keys rotated into scratch.
fn rotated(
    builder: &mut PlanBuilder<'_>,
    request: &KvAppend,
    params: &mut Params,
    from: View,
) -> Result<(Operand, View)> {
    let shape = &request.shape;
    // It rotates, so it has a scheme.
    let rotary = request.rotary.as_ref().ok_or(Error::RotatedKeys)?;
    let positions = if request.rows_given {
        let [batch, _, len] = request.sizes();
        bind_given_rows(builder, params, rotary, [batch, len])?;
        Positions::Device
    } else {
        let position = request.position();
        let known = position.known_range(shape, &request.mask());
        let range = request.range.clone().or(known).ok_or(Error::Unstated)?;
        let length = position.length(&range);
        let rows = match &request.range {
            Some(range) => TableRows::Range(range.clone()),
            None => TableRows::new(rotary, range, &[&Positions::Index]),
        };
        bind_table(builder, params, rotary, rows, length)?;
        Positions::Index
    };
    let [_, heads, len] = request.sizes();
    let layout = Layout::heads_first(heads, len, shape.head_dim);
    let rows = Rows::of(params);
    let to = builder.scratch_rows("scratch for rotated keys", 4, &rows, shape.head_dim);
    let step = RotateStep {
        rotary,
        rows: &request.k,
        from: Address::Strided,
        positions: &positions,
        sequences: request.cu_seqlens.is_some(),
    };
    let params = params.with(|p| p.rotation.side_at = p.rotation.key_at);
    let output = Output::scratch(shape.head_dim);
    step.steps(builder, &params, (&from, &to), output)?;
    Ok((Operand::new(Element::F32, layout), to))
}

/// Writes the rows of k, or of v: by parts where a binding does not hold the cache, which a pool of pages is never cut in, nor
/// what ragged rows go to.
pub(super) fn append(
    builder: &mut PlanBuilder<'_>,
    params: &Params,
    (operand, from): (&Operand, &View),
    (cache, to, address): (&Operand, &View, Address),
    (dim, ragged): (u32, bool),
) -> Result<()> {
    let mut parts = Parts::of_rows(builder, &Rows::of(params));
    if address != Address::Paged && !ragged {
        parts.fit("new rows", &from.with_all_rows(), RowsOf::Queries)?;
        parts.fit("the cache", to, RowsOf::Queries)?;
    }
    parts.settle(builder)?;
    let limit = builder.binding_limit();
    for rows in parts.rows() {
        let (from, to) = (from.rows(limit, &rows), to.rows(limit, &rows));
        let params = rows.renumber(params).with(|p| {
            p.x = rows.renumber_strides(from.rows);
            p.y = rows.renumber_strides(to.rows);
            p.sizes.head_dim = dim;
        });
        let bindings = (from.binding, to.binding);
        step(
            builder,
            (address, &rows, ragged),
            (operand, cache),
            params,
            bindings,
        )?;
    }
    Ok(())
}

fn step(
    builder: &mut PlanBuilder<'_>,
    (to_address, of, ragged): (Address, &Rows, bool),
    (operand, cache): (&Operand, &Operand),
    params: Params,
    (from, to): (Binding, Binding),
) -> Result<()> {
    let dim = params.sizes.head_dim;
    let mut key = Append {
        input: Input::of(&[operand], &[dim]),
        output: Output::of(cache, dim),
        to: to_address,
        ragged,
        vec8: false,
    };
    let mut declined = Vec::new();
    let whole = dim.is_multiple_of(8) && params.x.is_aligned(8) && params.y.is_aligned(8);
    if !cache.element.is_quantized() {
        key.vec8 = tiles::vec8_loads(builder.caps, builder.options, &mut declined)? && whole;
    }
    declined.into_iter().for_each(|x| builder.decline(x));
    let rows = of.count();
    // Quantised rows are read once for their scales, and once for their numbers.
    let times = 1 + u64::from(cache.element.is_quantized());
    let cost = Cost {
        read_bytes: product([times, rows, operand.row_bytes(dim)]),
        written_bytes: product([rows, cache.row_bytes(dim)]),
        ..Cost::default()
    };
    let items = product([rows, dim.div_ceil(key.channels(dim)).into()]);
    let bindings = vec![("x", from), ("o", to)];
    builder.item_steps(key, params, bindings, items, cost)
}
