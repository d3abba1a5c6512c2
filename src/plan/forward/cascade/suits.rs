//! Which calls a cascade is for.

use crate::plan::RotateWhere;
use crate::plan::builder::PlanBuilder;
use crate::plan::forward::Call;
use crate::plan::limits::product;
use crate::plan::parts::Parts;
use crate::plan::units::Bytes;
use crate::plan::view::Rows;
use crate::problem::{KvAddress, Mask, Problem, Score};

/// Keys below which a prefix is not worth steps of its own: a tile of the largest tilings.
const SHORTEST: u32 = 64;

/// Why a prefix is not the same to all queries of all batches, whatever they look at.
pub(super) fn unsuited(builder: &PlanBuilder<'_>, problem: &Problem) -> Result<(), String> {
    // Every field stands here, so that a new one must be judged.
    let Mask {
        causal: _,
        prefix: _,
        window,
        first,
        kv_lens: _,
        q_offset: _,
        segments,
        blocks,
        dense,
        // It stands behind the prefix.
        tree: _,
    } = &problem.mask;
    let Score {
        softcap: _,
        bias,
        bias_element: _,
        bias_before_softcap: _,
        slopes,
        slopes_per_batch: _,
        t5,
        sinks: _,
    } = &problem.score;
    let (shared, slice) = (problem.shared_prefix, problem.slice());
    let position = &problem.position;
    let fused = builder.options.rotate == Some(RotateWhere::Fused);
    let rotates = position.rotation().is_some() && (!position.k_rotated || fused);
    let temperature = position.rotary.as_ref().and_then(|x| x.temperature);
    // What ends at a query's own key was held against the prefix.
    let hides = window.is_some_and(|window| {
        window.left.is_some() || (window.right.is_some() && !problem.mask.ends_at_own())
    });
    let reasons = [
        (problem.shape.batch < 2, "there is one sequence"),
        (
            problem.queries().is_ragged() || problem.keys().is_ragged(),
            "rows of ragged batches begin where cu_seqlens says",
        ),
        (shared < SHORTEST, "fewer than 64 keys are shared"),
        (
            slice.k.start > 0 || slice.k.end < shared,
            "the call covers a part of the shared keys",
        ),
        (
            hides && *first < shared,
            "the window hides shared keys: Mask::first exempts them",
        ),
        (
            segments.is_some() || blocks.is_some() || dense.is_some(),
            "segments, blocks and dense masks differ by sequence and query",
        ),
        (
            bias.is_some() || slopes.is_some() || t5.is_some(),
            "biases differ by sequence and query",
        ),
        (
            problem.max_score.is_some(),
            "the largest scores of two calls are joined by the caller",
        ),
        (
            problem.mods.is_some(),
            "the user's functions may look at sequence and query",
        ),
        (
            temperature.is_some(),
            "temperatures differ by sequence and query",
        ),
        (
            rotates,
            "keys are rotated for each sequence: Position::k_rotated is for those that are already",
        ),
        (
            matches!(problem.kv_address, KvAddress::Ring(_)),
            "rings keep their own rows",
        ),
    ];
    let reason = reasons.into_iter().find(|(holds, _)| *holds);
    reason.map_or(Ok(()), |(_, reason)| Err(reason.into()))
}

/// Why a merge does not hold the results.
pub(super) fn unfit(builder: &PlanBuilder<'_>, call: &Call<'_>) -> Result<(), String> {
    let rows = Rows::of(&call.params);
    let (limit, bytes) = (builder.binding_limit(), partial_bytes(call.problem));
    if bytes > limit {
        let (bytes, limit) = (Bytes(bytes), Bytes(limit));
        return Err(format!(
            "partial results are {bytes}, a binding holds {limit}"
        ));
    }
    let mut parts = Parts::of_rows(builder, &rows);
    let fits = call.target.fit(builder, &mut parts);
    fits.map_err(|error| error.to_string())?;
    match parts.rows().len() {
        1 => Ok(()),
        _ => Err("the results are larger than a binding".into()),
    }
}

/// Bytes of both partial o.
pub(super) fn partial_bytes(problem: &Problem) -> u64 {
    let (shape, q) = (&problem.shape, problem.slice().q);
    let rows = [shape.batch, shape.q_heads, q.end - q.start, shape.value_dim];
    product(rows.map(u64::from)).saturating_mul(8)
}
