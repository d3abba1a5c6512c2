//! Few queries: tiles that pack the rows of the query heads of one KV head, so that each key is read once for all of them.

use crate::error::{Error, Result};
use crate::plan::Declined;
use crate::plan::attention::context::pairs;
use crate::plan::builder::PlanBuilder;
use crate::plan::schedule::Schedule;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::problem::Problem;

use super::tiled::{Family, Tiled, pair_flops};
use super::{Answer, Call};

/// Queries up to which a call is decode, where nobody says otherwise. 8192 keys on lavapipe of eight lanes (median ms,
/// decode and prefill):
///
/// | heads, KV heads, queries, D | subgroup | workgroup |
/// | ---                         | ---      | ---       |
/// | 32, 8, 1, 128               | 14, 80   | 303, 986  |
/// | 8, 8, 1, 128                | 14, 20   | 276, 183  |
/// | 8, 8, 4, 64                 | 10, 11   | 146, 150  |
///
/// Of 8 queries and 8 heads of their own, D = 128, beside other load 93 and 62. No GPU was measured.
pub(super) const MOST_QUERIES: u32 = 4;

/// Takes calls of few queries.
pub(super) fn steps(builder: &mut PlanBuilder<'_>, call: &Call<'_>) -> Result<Answer> {
    let problem = call.problem;
    let slice = problem.slice();
    let queries = slice.q.end - slice.q.start;
    let asked = builder.options.decode;
    if !asked.unwrap_or(queries <= call.few) {
        let reason = asked.map(|_| "the call asks for prefill".into());
        return Ok(Answer::NotMine(reason));
    }
    let (packed, reason) = packed_heads(problem, slice.q.end);
    let chosen = match tiles(builder, problem, queries * packed) {
        Ok(chosen) => chosen,
        Err(Error::Strategy { reason, .. }) if asked.is_none() => {
            return Ok(Answer::NotMine(Some(reason)));
        }
        Err(error) => return Err(error),
    };
    if asked.is_none() && packed == 1 && !chosen.strategy.uses_subgroups() {
        let reason = "without subgroups only heads that share keys gain by it, and none are packed";
        return Ok(Answer::NotMine(Some(reason.into())));
    }
    if let Some(reason) = reason {
        builder.decline(Declined {
            path: "packed heads",
            reason,
        });
    }
    builder.note(match packed {
        1 => "few queries: keys are split over workgroups".into(),
        n => format!("few queries: a tile packs the rows of {n} heads, which read each key once"),
    });
    let tiled = Tiled::new(builder, call, (Family::Decode, packed), chosen)?;
    tiled.steps(builder, call.target)?;
    Ok(Answer::Planned)
}

/// How many query heads' rows a tile packs, and why not all that share a KV head.
fn packed_heads(problem: &Problem, queries_end: u32) -> (u32, Option<String>) {
    let group = problem.shape.group();
    let grid = problem.mask.block_grid(&problem.shape);
    if group > 1 && grid.is_some_and(|grid| grid.heads > 1) {
        let reason = "the blocks that are visited differ by query head".into();
        return (1, Some(reason));
    }
    if queries_end.checked_mul(group).is_none() {
        let reason = format!("query {queries_end} of {group} heads is past the range of u32");
        return (1, Some(reason));
    }
    (group, None)
}

fn tiles(builder: &mut PlanBuilder<'_>, problem: &Problem, rows: u32) -> Result<TileChoice> {
    let flops = pairs(problem, &Schedule::new(problem)).saturating_mul(pair_flops(problem));
    let tile_request = TileRequest::decode(&problem.shape, rows, flops);
    tiles::ask(builder, problem, tile_request)
}
