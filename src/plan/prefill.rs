//! Forward attention over tiles of query rows.

use std::ops::Range;

use crate::caps::{AdapterClass, Caps};
use crate::error::{Error, Result};
use crate::problem::{Element, Layout, Operand, Problem, Slice};

use super::blocks::push_mask;
use super::draft::Draft;
use super::inputs::{Source, bind_inputs, rotate_inputs};
use super::merge::{Target, Waiting, combine, into_target};
use super::params::{NOTHING, Params, Rows};
use super::positions::spelled_out;
use super::rotate;
use super::schedule::Schedule;
use super::score::{self, ScorePlan};
use super::select;
use super::steps::{cut, tile_steps};
use super::tiles::{self, Chosen, Demand};
use super::variant::{Input, MaskKey, Output, Prefill, Variant, whole_eights};
use super::{Binding, Choice, Cost, Plan, Role, RotateWhere, Task};

/// Bytes of partial results at a time; more rows than these hold are computed slice by slice.
const PARTIAL_BYTES: u64 = 32 << 20;

pub(super) fn plan(stated: &Problem, caps: &Caps, choice: &Choice) -> Result<Plan> {
    let problem = &*spelled_out(stated);
    let mut draft = Draft::of(problem, caps, choice);
    let slice = problem.slice();
    if problem.shape.batch > 0 && !slice.q.is_empty() {
        let mut params = Params::of(problem);
        draft.push_lengths(problem, &mut params)?;
        score::push_sinks(&mut draft, problem, &mut params);
        let target = bind_target(&mut draft, problem)?;
        if slice.k.is_empty() {
            draft.note("there are no keys: o and lse are filled".into());
            combine(&mut draft, params, 0, None, &target)?;
        } else {
            Forward::new(&mut draft, problem, params)?.steps(&mut draft, &target)?;
        }
    }
    Ok(draft.finish(Task::Attention(Box::new(stated.clone()))))
}

fn bind_target(draft: &mut Draft<'_>, problem: &Problem) -> Result<Target> {
    let shape = &problem.shape;
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let o = draft.output(Role::O, &problem.o, sizes, shape.value_dim)?;
    let layout = Layout::heads_first(shape.q_heads, shape.q_len, 1);
    let lse = draft.output(Role::Lse, &Operand::new(Element::F32, layout), sizes, 1)?;
    Ok(Target {
        operand: problem.o,
        o,
        lse,
    })
}

/// Whether the kernel rotates q and k as it loads them. Each tile of queries then rotates every key anew, which pays
/// only where there are few: a pass before reads and writes each row once.
fn fuses_rotation(problem: &Problem, chosen: &Chosen, draft: &mut Draft<'_>) -> Result<bool> {
    let Some(rotary) = problem.position.rotation() else {
        return Ok(false);
    };
    let shape = &problem.shape;
    let slice = problem.slice();
    let reads = (slice.q.end - slice.q.start).div_ceil(chosen.tiling.tile_rows()) * shape.group();
    let input = Input::of(&[&problem.q, &problem.k], &[shape.head_dim]);
    let whole = rotate::whole_chunks(rotary, 4);
    let able = whole && !problem.position.k_rotated;
    let selects = problem.mask.selected_blocks().is_some();
    let fused = match draft.choice.rotate {
        Some(RotateWhere::Fused) if selects => {
            let reason =
                "blocks are chosen from turned q and k, before the kernel loads them".into();
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(RotateWhere::Fused) if !able => {
            let reason = if whole {
                "kernels that rotate as they load rotate keys too, and k holds rotated keys".into()
            } else {
                format!(
                    "a rotary dimension of {} from channel {} on does not fall into whole 4-vectors",
                    rotary.dim, rotary.start
                )
            };
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(asked) => asked == RotateWhere::Fused,
        None => able && reads == 1 && !selects,
    };
    let how = if input.aligned { "" } else { ", unaligned" };
    let rows = rotate::rotated_rows(&problem.position);
    draft.note(if fused {
        format!("{rows} as they are loaded: each key is read {reads} times{how}")
    } else {
        format!("{rows} in a pass before: each key is read {reads} times{how}")
    });
    Ok(fused)
}

/// What all steps of a forward call share.
struct Forward<'a> {
    problem: &'a Problem,
    schedule: Schedule<'a>,
    params: Params,
    q: Source,
    k: Source,
    v: Source,
    score: ScorePlan,
    mask: MaskKey,
    /// The rotary table, where the kernel rotates as it loads.
    table: Option<Binding>,
    chosen: Chosen,
    splits: u32,
}

impl<'a> Forward<'a> {
    fn new(draft: &mut Draft<'_>, problem: &'a Problem, mut params: Params) -> Result<Self> {
        let shape = &problem.shape;
        let schedule = Schedule::new(problem);
        let flops = flops(problem, &schedule);
        let demand = Demand::forward(shape, flops);
        let mut chosen = tiles::choose(demand, draft.caps, draft.choice)?;
        if demand.is_small(draft.caps) && draft.choice.tiling.is_none() {
            draft.note(
                "so little work takes tiles that compile fast, at about half the speed of larger ones".into(),
            );
        }
        if let Some(grid) = problem.mask.block_grid(shape) {
            tiles::fit_block(&mut chosen, grid.side, draft)?;
        }
        let mask = push_mask(draft, problem, &mut params)?;
        let fused = fuses_rotation(problem, &chosen, draft)?;
        let score = score::plan(draft, problem, &mut params, fused)?;
        let [mut q, mut k, v] = bind_inputs(draft, problem)?;
        (params.q, params.k, params.v) = (q.bound.rows, k.bound.rows, v.bound.rows);
        let mut table = None;
        if let Some(rotary) = problem.position.rotation() {
            let binding = rotate::plan_table(draft, problem, rotary, &mut params)?;
            if fused {
                table = Some(binding);
            } else {
                rotate_inputs(draft, problem, &params, binding, &mut q, &mut k)?;
                (params.q, params.k) = (q.bound.rows, k.bound.rows);
            }
        }
        let rotary = problem.position.rotation().filter(|_| fused);
        let (d, dv) = (shape.head_dim, shape.value_dim);
        chosen.load_wide_if(
            whole_eights(&[(&q.operand, d), (&k.operand, d), (&v.operand, dv)])
                && rotary.is_none_or(|rotary| rotate::whole_chunks(rotary, 8)),
        );
        chosen
            .declined
            .drain(..)
            .for_each(|declined| draft.decline(declined));
        score.decline_pairs(&chosen, draft);
        select::steps(draft, problem, &params, mask, &q, &k)?;
        select::copy_lists(draft, problem, &params);
        let mut forward = Self {
            problem,
            schedule,
            params,
            q,
            k,
            v,
            score,
            mask,
            table,
            chosen,
            splits: 1,
        };
        forward.splits = forward.choose_splits(draft)?;
        if draft.choice.splits.is_some_and(|asked| asked > MOST_SPLITS) {
            draft.note(format!("more than {MOST_SPLITS} splits are never made"));
        }
        if forward.splits > 1 {
            let splits = forward.splits;
            draft.note(format!(
                "the visited key tiles are split in {splits} parts, merged by combine"
            ));
        }
        Ok(forward)
    }

    fn steps(&self, draft: &mut Draft<'_>, target: &Target) -> Result<()> {
        let q = self.problem.slice().q;
        let slices: Vec<_> = cut(q.clone(), self.rows_per_slice(draft)).collect();
        if slices.len() < 2 || !draft.choice.shared_outputs {
            return self.slices(draft, target, slices);
        }
        // The results may lie where later slices read: all of them wait in scratch.
        let waiting = Waiting::new(
            draft,
            Params {
                q_begin: q.start,
                q_end: q.end,
                ..self.params
            },
        )?;
        self.slices(draft, &waiting.target, slices)?;
        waiting.bring(draft, target)
    }

    fn slices(
        &self,
        draft: &mut Draft<'_>,
        target: &Target,
        slices: Vec<Range<u32>>,
    ) -> Result<()> {
        let mut partial = None;
        for q in slices {
            let params = Params {
                q_begin: q.start,
                q_end: q.end,
                ..self.params
            };
            if self.splits == 1 {
                into_target(draft, params, target, |draft, params, o, lse, output| {
                    self.dispatches(draft, params, o, lse, output)
                })?;
                continue;
            }
            let (o, lse) = match partial {
                Some(partial) => partial,
                None => *partial.insert(self.partial_scratch(draft, q.end - q.start)?),
            };
            let partial = self.partial_params(params);
            let output = Output::scratch(partial.value_dim);
            self.dispatches(draft, partial, o, lse, output)?;
            combine(draft, params, self.splits, Some((o, lse)), target)?;
        }
        Ok(())
    }

    /// Query rows of a slice: what the caller asks for, and no more than the partial results may take.
    fn rows_per_slice(&self, draft: &Draft<'_>) -> u32 {
        let asked = draft.choice.slice_rows.unwrap_or(u32::MAX).max(1);
        if self.splits == 1 {
            return asked;
        }
        let shape = &self.problem.shape;
        let row = self.row_bytes() * u64::from(shape.batch) * u64::from(shape.q_heads);
        let most = PARTIAL_BYTES.min(draft.caps.binding_bytes) / row.max(1);
        asked.min(most.clamp(1, u64::from(u32::MAX)) as u32)
    }

    /// Bytes of one row of o in all partials.
    fn row_bytes(&self) -> u64 {
        u64::from(self.splits) * u64::from(self.problem.shape.value_dim) * 4
    }

    fn partial_scratch(&self, draft: &mut Draft<'_>, rows: u32) -> Result<(Binding, Binding)> {
        let shape = &self.problem.shape;
        let rows = u64::from(shape.batch) * u64::from(shape.q_heads) * u64::from(rows);
        let o = draft.scratch("scratch for partial o", rows * self.row_bytes())?;
        let lse = draft.scratch("scratch for partial lse", rows * u64::from(self.splits) * 4)?;
        Ok((o, lse))
    }

    fn partial_params(&self, params: Params) -> Params {
        let rows = params.q_end - params.q_begin;
        let heads = params.batch * params.q_heads * rows;
        Params {
            splits: self.splits,
            sinks_at: NOTHING,
            o: Rows::contiguous(params.q_heads, rows, params.value_dim, params.q_begin),
            lse: Rows::contiguous(params.q_heads, rows, 1, params.q_begin),
            o_split: heads * params.value_dim,
            lse_split: heads,
            ..params
        }
    }

    /// Dispatches of bounded cost over the query tiles of one slice.
    fn dispatches(
        &self,
        draft: &mut Draft<'_>,
        mut params: Params,
        o: Binding,
        lse: Binding,
        output: Output,
    ) -> Result<()> {
        let tile_rows = self.chosen.tiling.tile_rows();
        let first = params.q_begin / tile_rows;
        params.q_tiles = params.q_end.div_ceil(tile_rows) - first;
        let variant = Variant::Prefill(self.key(output, draft.choice.count_tiles));
        let inputs = [&self.q, &self.k, &self.v].map(|source| source.bound.binding);
        let mut bindings = inputs.to_vec();
        bindings.extend([o, lse, draft.aux_binding()]);
        bindings.extend(self.score.bias);
        bindings.extend(self.table);
        let mut costs = TileCosts::new(self, &params, output);
        tile_steps(draft, variant, &bindings, &params, |b, h, tile| {
            costs.of(b, h, tile)
        })
    }

    fn key(&self, output: Output, count_tiles: bool) -> Prefill {
        let shape = &self.problem.shape;
        let rotary = self.problem.position.rotation();
        Prefill {
            strategy: self.chosen.strategy,
            tiling: self.chosen.tiling,
            input: Input::of(&[&self.q.operand, &self.k.operand], &[shape.head_dim]),
            value: Input::of(&[&self.v.operand], &[shape.value_dim]),
            output,
            chunks: shape.head_dim.div_ceil(4),
            value_chunks: shape.value_dim.div_ceil(4),
            score: self.score.key_of_rows(&self.chosen),
            mask: self.mask,
            rotary: self.table.and(rotary).map(|rotary| rotary.layout),
            wide: self.chosen.wide,
            rolled: self.chosen.rolled,
            count_tiles,
        }
    }

    /// Parts of the keys: as many as the caller asks for, else as a software adapter's cap on loop iterations, the
    /// bound on a workgroup's work and idle processors call for.
    fn choose_splits(&self, draft: &Draft<'_>) -> Result<u32> {
        let slice = self.problem.slice();
        let tiling = &self.chosen.tiling;
        let there = u64::from((slice.k.end - slice.k.start).div_ceil(tiling.tile));
        let listed = self.schedule.longest_list(tiling.tile);
        let tiles = there.min(listed.unwrap_or(there)) + 1;
        let most = tiles.min(u64::from(MOST_SPLITS));
        let iterations = tiles * tiles::iterations(&self.chosen, self.problem, draft.caps)?;
        let capped = draft
            .caps
            .iterations
            .map_or(1, |cap| iterations.div_ceil(cap - ITERATION_MARGIN));
        if let Some(splits) = draft.choice.splits {
            if u64::from(splits) < capped.max(1) {
                let allowed = match capped {
                    0 | 1 => "at least 1".into(),
                    least => format!(
                        "at least {least}: the driver stops an invocation that loops on and on, without a word"
                    ),
                };
                return Err(Error::size("splits", splits, allowed));
            }
            return Ok(splits.min(MOST_SPLITS));
        }
        let flops = self.most_visited(&slice)
            * u64::from(tiling.tile * tiling.tile_rows())
            * self.pair_flops();
        let heavy = flops.div_ceil(draft.step_flops());
        let rows = u64::from((slice.q.end - slice.q.start).div_ceil(tiling.tile_rows()));
        let workgroups =
            rows * u64::from(self.problem.shape.batch) * u64::from(self.problem.shape.q_heads);
        let idle = busy_workgroups(draft.caps.class) * self.skew(&slice) / workgroups;
        let idle = idle
            .min(self.most_visited(&slice) / tiles_per_split(tiling.tile))
            .max(1);
        Ok(capped.max(heavy).max(idle).min(most) as u32)
    }

    /// The most key tiles that a tile of rows visits, at most (the last rows of a causal mask see the most).
    fn most_visited(&self, slice: &Slice) -> u64 {
        let tiling = &self.chosen.tiling;
        if let Some(listed) = self.schedule.longest_list(tiling.tile) {
            return listed;
        }
        let rows = tiling.tile_rows();
        let last = slice.q.end - 1;
        (0..self.problem.shape.batch)
            .flat_map(|b| {
                [slice.q.start, slice.q.start.midpoint(last), last].map(|i| {
                    self.schedule.visited(
                        b,
                        0,
                        i.saturating_sub(rows).max(slice.q.start),
                        i,
                        tiling.tile,
                    )
                })
            })
            .max()
            .unwrap_or(0)
    }

    /// How many times as long as a row on average the row takes that sees the most: 2 under a causal mask.
    fn skew(&self, slice: &Slice) -> u64 {
        let shape = &self.problem.shape;
        let rows = u64::from(slice.q.end - slice.q.start)
            * u64::from(shape.batch)
            * u64::from(shape.q_heads);
        let most = self.most_visited(slice) * u64::from(self.chosen.tiling.tile) * rows;
        let all = (flops(self.problem, &self.schedule) / self.pair_flops()).max(1);
        ((2 * most + all) / (2 * all)).max(1)
    }

    fn pair_flops(&self) -> u64 {
        pair_flops(self.problem)
    }
}

/// Past this many parts the merge costs more than it gains.
const MOST_SPLITS: u32 = 1024;
/// Loop iterations that are not key steps.
pub(super) const ITERATION_MARGIN: u64 = 535;

/// 2·(D + Dv)
fn pair_flops(problem: &Problem) -> u64 {
    2 * u64::from(problem.shape.head_dim + problem.shape.value_dim)
}

fn flops(problem: &Problem, schedule: &Schedule<'_>) -> u64 {
    let (shape, slice) = (&problem.shape, problem.slice());
    let heads = schedule.heads();
    let pairs: u64 = (0..shape.batch)
        .flat_map(|b| (0..heads).map(move |h| (b, h)))
        .map(|(b, h)| schedule.pairs(b, h, slice.q.start, slice.q.end - 1))
        .sum();
    pairs * u64::from(shape.q_heads / heads) * pair_flops(problem)
}

/// Workgroups that keep an adapter busy. An H200, 8 heads (ms; the rest of the forward table agrees):
///
/// |                          | 256  | 512  | 1024 | 2048 |
/// | ---                      | ---  | ---  | ---  | ---  |
/// | D = 64, N = 1024         | 0.33 | 0.22 | 0.21 | 0.21 |
/// | D = 64, N = 4096, causal | 2.16 | 1.50 | 1.21 | 1.16 |
/// | D = 128, N = 4096        | 3.90 | 3.87 | 3.82 | 3.85 |
/// | the same, causal         | 3.08 | 3.03 | 2.40 | 2.20 |
///
/// An integrated GPU was not measured.
fn busy_workgroups(class: AdapterClass) -> u64 {
    match class {
        AdapterClass::Cpu => 8,
        AdapterClass::Integrated => 64,
        AdapterClass::Discrete => 2048,
    }
}

/// Key tiles below which a split is not worth its merge: 256 keys.
fn tiles_per_split(tile: u32) -> u64 {
    u64::from(256 / tile).max(1)
}

/// The cost of a query tile, the same for every head unless these have lists of their own: computed once a batch,
/// differing head and tile.
struct TileCosts<'a> {
    forward: &'a Forward<'a>,
    params: Params,
    output: Output,
    head: Option<(u32, u32)>,
    costs: Vec<Cost>,
}

impl<'a> TileCosts<'a> {
    fn new(forward: &'a Forward<'a>, params: &Params, output: Output) -> Self {
        Self {
            forward,
            params: *params,
            output,
            head: None,
            costs: Vec::new(),
        }
    }

    fn of(&mut self, b: u32, h: u32, tile: u32) -> Cost {
        let h = h.min(self.forward.schedule.heads() - 1);
        if self.head != Some((b, h)) {
            self.head = Some((b, h));
            self.costs = (0..self.params.q_tiles)
                .map(|tile| self.compute(b, h, tile))
                .collect();
        }
        self.costs[tile as usize]
    }

    fn compute(&self, b: u32, h: u32, tile: u32) -> Cost {
        let (params, forward) = (&self.params, self.forward);
        let (shape, tiling) = (&forward.problem.shape, &forward.chosen.tiling);
        let rows = tiling.tile_rows();
        let start = (params.q_begin / rows + tile) * rows;
        let (i0, i1) = (
            start.max(params.q_begin),
            (start + rows).min(params.q_end) - 1,
        );
        let visited = forward.schedule.visited(b, h, i0, i1, tiling.tile);
        let slice = forward.problem.slice();
        let of = slice.k.end.div_ceil(tiling.tile) - slice.k.start / tiling.tile;
        let element = forward.q.operand.element.size();
        let live = u64::from(i1 - i0 + 1);
        let dims = u64::from(shape.head_dim + shape.value_dim);
        Cost {
            visited,
            of: of.into(),
            flops: forward.schedule.pairs(b, h, i0, i1) * forward.pair_flops(),
            read_bytes: (live * u64::from(shape.head_dim)
                + visited * u64::from(tiling.tile) * dims * tiles::loads(&forward.chosen))
                * element,
            written_bytes: live
                * u64::from(forward.splits)
                * (u64::from(shape.value_dim) * self.output.element.size() + 4),
        }
    }
}
