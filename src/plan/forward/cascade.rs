//! Keys that all batches share: read once for all of them, and joined with each batch's own by a merge (cascade
//! inference, as FlashInfer has it, arXiv 2501.01005, section 3.1).

use crate::error::Result;
use crate::kernel::{NOTHING, Params};
use crate::plan::attention::context::Context;
use crate::plan::attention::inputs::Source;
use crate::plan::builder::PlanBuilder;
use crate::plan::explain::Bytes;
use crate::plan::limits::product;
use crate::plan::operation::merge::{Target, combine};
use crate::plan::operation::rotate;
use crate::plan::parts::Parts;
use crate::plan::view::{Rows, View, transposed};
use crate::plan::{Binding, RotateWhere};
use crate::problem::{
    Element, KvAddress, Layout, Mask, Operand, Position, Problem, Score, Shape, Slice,
};

use super::decode::MOST_QUERIES;
use super::{Answer, Call, choose, plan_of_few};

/// Keys below which a prefix is not worth steps of its own: a tile of the largest tilings.
const SHORTEST: u32 = 64;

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

/// Why a prefix is not the same to all queries of all batches, whatever they look at.
fn unsuited(builder: &PlanBuilder<'_>, problem: &Problem) -> Result<(), String> {
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
    let left = window.and_then(|window| window.left);
    let reasons = [
        (problem.shape.batch < 2, "there is one sequence"),
        (shared < SHORTEST, "fewer than 64 keys are shared"),
        (
            slice.k.start > 0 || slice.k.end < shared,
            "the call covers a part of the shared keys",
        ),
        (
            left.is_some() && *first < shared,
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
fn unfit(builder: &PlanBuilder<'_>, call: &Call<'_>) -> Result<(), String> {
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
fn partial_bytes(problem: &Problem) -> u64 {
    let (shape, q) = (&problem.shape, problem.slice().q);
    let rows = [shape.batch, shape.q_heads, q.end - q.start, shape.value_dim];
    product(rows.map(u64::from)).saturating_mul(8)
}

/// What reading a prefix once saves.
struct Gain {
    /// Bytes that are read of it for all sequences at once, and for each by itself.
    together: u64,
    apart: u64,
    /// Rows up to which decode takes it.
    few: u32,
}

impl Gain {
    /// By the plans of both ways.
    fn of(builder: &PlanBuilder<'_>, problem: &Problem) -> Result<Self, String> {
        let bytes = |problem: &Problem, few| {
            let plan = plan_of_few(problem, builder.caps, builder.options, few);
            plan.map(|plan| plan.cost().read_bytes)
        };
        let prefix = Slice {
            k: 0..problem.shared_prefix,
            ..problem.slice()
        };
        let said = |error: crate::Error| error.to_string();
        let apart = bytes(&part(problem, prefix), MOST_QUERIES).map_err(said)?;
        let shared = prefix_of(problem);
        let mut ways = Vec::new();
        // Rows that are many for decode may still share keys with those of other heads.
        for few in [MOST_QUERIES, u32::MAX] {
            ways.push((bytes(&shared, few).map_err(said)?, few));
        }
        let (together, few) = match ways[1].0 < ways[0].0 {
            true => ways[1],
            false => ways[0],
        };
        // Both are written and read again.
        let merged = partial_bytes(problem).saturating_mul(2);
        match apart > together.saturating_add(merged) {
            true => Ok(Self {
                together,
                apart,
                few,
            }),
            false => Err(format!(
                "{} of the shared keys would be read instead of {}, and the merge moves {}",
                Bytes(together),
                Bytes(apart),
                Bytes(merged)
            )),
        }
    }
}

/// A part of a problem whose q is rotated already.
fn part(problem: &Problem, slice: Slice) -> Problem {
    Problem {
        slice: Some(slice),
        shared_prefix: 0,
        position: Position::default(),
        k_hadamard: false,
        v_hadamard: false,
        ..problem.clone()
    }
}

/// The queries of all batches as rows of one that sees the whole prefix: a batch for each query of a sequence.
fn prefix_of(problem: &Problem) -> Problem {
    let (whole, slice) = (&problem.shape, problem.slice());
    let shape = Shape {
        batch: slice.q.end - slice.q.start,
        q_len: whole.batch,
        kv_len: problem.shared_prefix,
        ..*whole
    };
    let (heads, rows, dim) = (shape.q_heads, shape.q_len, shape.value_dim);
    let mut prefix = Problem {
        shape,
        o: Operand::heads_first(Element::F32, heads, rows, dim),
        lse: Layout::heads_first(heads, rows, 1),
        mask: Mask::default(),
        slice: None,
        ..part(problem, slice.clone())
    };
    prefix.score.sinks = None;
    prefix.q.layout = transposed(problem.q.layout, slice.q.start.into());
    for operand in [&mut prefix.k, &mut prefix.v] {
        operand.layout = of_first_batch(operand.layout, problem.kv_address);
    }
    prefix
}

/// Rows of the first batch for every batch. In a pool they lie where the first row of the page table says.
fn of_first_batch(layout: Layout, address: KvAddress) -> Layout {
    match address {
        KvAddress::Paged(_) => layout,
        KvAddress::Strided | KvAddress::Ring(_) => Layout { batch: 0, ..layout },
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
    combine(builder, of, 2, Some(partials.whole), call.target)
}

/// The steps of the prefix.
fn shared(
    builder: &mut PlanBuilder<'_>,
    (problem, whole): (&Problem, &Params),
    [q, k, v]: [Source; 3],
    partials: &Partials,
    few: u32,
) -> Result<()> {
    let prefix = prefix_of(problem);
    let mut params = Params::of(&prefix);
    params.lookup = whole.lookup;
    // Every batch finds the pages of the first.
    params.lookup.pages = 0;
    params.intervals.lens_at = builder.push_per_batch(&params, problem.shared_prefix)?;
    params.intervals.offsets_at = builder.push_per_batch(&params, 0)?;
    params.intervals.prefix_at = params.intervals.offsets_at;
    let of_first = |x: Source| Source {
        operand: Operand {
            layout: of_first_batch(x.operand.layout, problem.kv_address),
            ..x.operand
        },
        view: match problem.kv_address {
            KvAddress::Paged(_) => x.view,
            KvAddress::Strided | KvAddress::Ring(_) => x.view.of_first_batch(),
        },
        ..x
    };
    let q = Source {
        operand: Operand {
            layout: transposed(q.operand.layout, 0),
            ..q.operand
        },
        view: q.view.transposed(&partials.rows.rows),
        ..q
    };
    let call = Call {
        problem: &prefix,
        params,
        target: &partials.prefix(),
        inputs: Some([q, of_first(k), of_first(v)]),
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
            },
            rows,
        })
    }

    /// Where the prefix's problem leaves its rows.
    fn prefix(&self) -> Target {
        let [o, lse] = self.shared.map(|view| view.transposed(&self.rows.rows));
        let operand = self.rest.operand;
        Target {
            operand: Operand {
                layout: transposed(operand.layout, 0),
                ..operand
            },
            o,
            lse,
        }
    }
}
