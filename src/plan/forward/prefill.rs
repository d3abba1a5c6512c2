//! Many queries: tiles of the query rows of one head.

use crate::error::Result;
use crate::plan::attention::context::{Context, pairs};
use crate::plan::builder::PlanBuilder;
use crate::plan::schedule::Schedule;
use crate::plan::tiles::TileRequest;

use super::tiled::{Family, Tiled, pair_flops};
use super::{Answer, Call};

/// Whatever no other family takes.
pub(super) fn steps(builder: &mut PlanBuilder<'_>, call: &Call<'_>) -> Result<Answer> {
    let problem = call.problem;
    let flops = pairs(problem, &Schedule::new(problem)).saturating_mul(pair_flops(problem));
    let tile_request = TileRequest::forward(&problem.shape, flops);
    let chosen = Context::tiles(builder, problem, tile_request)?;
    let is_tables = !chosen.is_tuned && builder.options.tiling.is_none();
    if is_tables && tile_request.is_small(builder.caps) {
        builder.note(
            "so little work takes tiles that compile fast, at about half the speed of larger ones"
                .into(),
        );
    }
    let tiled = Tiled::new(builder, call, (Family::Prefill, 1), chosen)?;
    tiled.steps(builder, call.target)?;
    Ok(Answer::Planned)
}
