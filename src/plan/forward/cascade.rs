//! Keys that all batches share: read once for all of them, and joined with each batch's own by a merge (cascade
//! inference, as FlashInfer has it, arXiv 2501.01005, section 3.1).

mod gain;
mod sequences;
mod suits;

use crate::error::Result;
use crate::kernel::{NOTHING, Params};
use crate::plan::Binding;
use crate::plan::attention::context::Context;
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::operation::merge::{Target, merge_partials};
use crate::plan::operation::rotate;
use crate::plan::source::Source;
use crate::plan::units::Bytes;
use crate::plan::view::{Rows, View};
use crate::problem::{Element, Operand, Position, Problem, Slice};

use self::gain::Gain;
use self::sequences::Queries;
use self::suits::{unfit, unsuited};
use super::decode::MOST_QUERIES;
use super::{Answer, Call, choose};

/// Takes calls whose batches share a prefix that is dearer to read for each of them than a merge is.
pub(super) fn steps(builder: &mut PlanBuilder<'_>, call: &Call<'_>) -> Result<Answer> {
    let problem = call.problem;
    if problem.shared_prefix == 0 {
        return Ok(Answer::NotMine(None));
    }
    let gain = unsuited(builder, problem)
        .and_then(|()| unfit(builder, call))
        .and_then(|()| Gain::of(builder, problem));
    let gain = match gain {
        Ok(gain) => gain,
        Err(reason) => return Ok(Answer::NotMine(Some(reason))),
    };
    builder.note(format!(
        "keys 0 to {} are read for all {} sequences at once: {} read instead of {}; a merge joins the others",
        problem.shared_prefix - 1,
        problem.shape.batch,
        Bytes(gain.together),
        Bytes(gain.apart)
    ));
    if problem.position.rotation().is_some() {
        let rows = rotate::rotated_rows(&problem.position);
        builder.note(format!("{rows} in a pass before"));
    }
    both(builder, call, gain.few)?;
    Ok(Answer::Planned)
}

/// A part of a problem whose q is rotated already.
fn part(problem: &Problem, slice: Slice) -> Problem {
    Problem {
        slice: Some(slice),
        shared_prefix: 0,
        position: Position::default(),
        max_score: None,
        k_hadamard: false,
        v_hadamard: false,
        ..problem.clone()
    }
}

/// The steps of the prefix, of what is behind it, and of the merge.
fn both(builder: &mut PlanBuilder<'_>, call: &Call<'_>, few: u32) -> Result<()> {
    let problem = call.problem;
    let mut context = Context::new(builder, problem, call.params, false)?;
    context.make_inputs(builder)?;
    let inputs = [context.q, context.k, context.v];
    // They join in the merge.
    let params = context.params.with(|p| p.sinks.at = NOTHING);
    let partials = Partials::new(builder, problem, Rows::of(&params))?;
    shared(builder, (problem, &params), inputs, &partials, few)?;
    let slice = problem.slice();
    let rest = part(
        problem,
        Slice {
            k: problem.shared_prefix..slice.k.end,
            ..slice
        },
    );
    let rest = Call {
        problem: &rest,
        params,
        target: &partials.rest,
        inputs: Some(inputs),
        few: MOST_QUERIES,
    };
    choose(builder, &rest)?;
    let of = (&call.params, &partials.rows);
    merge_partials(builder, of, 2, Some(partials.whole), call.target)
}

/// The steps of the prefix.
fn shared(
    builder: &mut PlanBuilder<'_>,
    (problem, whole): (&Problem, &Params),
    [q, k, v]: [Source; 3],
    partials: &Partials,
    few: u32,
) -> Result<()> {
    let prefix = sequences::prefix_of(problem);
    let mut params = Params::of(&prefix);
    params.lookup = whole.lookup;
    // Every batch finds the pages of the first.
    params.lookup.pages = 0;
    params.intervals.lens_at = builder.push_per_batch(&params, problem.shared_prefix)?;
    params.intervals.offsets_at = builder.push_per_batch(&params, 0)?;
    params.intervals.prefix_at = params.intervals.offsets_at;
    let queries = Queries::of(problem);
    let [k, v] = [k, v].map(|x| sequences::first_keys(problem, x));
    let call = Call {
        problem: &prefix,
        params,
        target: &partials.shared(queries),
        inputs: Some([queries.source(q), k, v]),
        few,
    };
    choose(builder, &call)
}

/// Results of the prefix, and behind them those of the rest, in scratch: `[2, B, Hq, Nq]`.
struct Partials {
    rows: Rows,
    /// All o and all lse.
    whole: (Binding, Binding),
    shared: [View; 2],
    rest: Target,
}

impl Partials {
    fn new(builder: &mut PlanBuilder<'_>, problem: &Problem, rows: Rows) -> Result<Self> {
        let dim = problem.shape.value_dim;
        let mut of = |what, dim: u32| -> Result<_> {
            let bytes = product([rows.count(), dim.into(), 4]);
            let views = [0, bytes].map(|at| builder.scratch_rows_at(what, 4, at, &rows, dim));
            Ok((builder.scratch(what, 2 * bytes)?, views))
        };
        let (o, [shared_o, rest_o]) = of("scratch for o of shared and other keys", dim)?;
        let (lse, [shared_lse, rest_lse]) = of("scratch for lse of shared and other keys", 1)?;
        let [_, heads, queries] = rows.sizes();
        Ok(Self {
            whole: (o, lse),
            shared: [shared_o, shared_lse],
            rest: Target {
                operand: Operand::heads_first(Element::F32, heads, queries, dim),
                o: rest_o,
                lse: rest_lse,
                max_scores: None,
            },
            rows,
        })
    }

    /// Where the prefix's problem leaves its rows.
    fn shared(&self, queries: Queries) -> Target {
        let [o, lse] = self.shared.map(|view| queries.view(view));
        Target {
            operand: queries.operand(self.rest.operand),
            o,
            lse,
            max_scores: None,
        }
    }
}
