//! The gradients by definition: P recomputed row by row from the whole problem's lse.

use crate::problem::{Problem, Slice};

use super::score::{scale, score, sink};
use super::tensors::key_index;
use super::{
    Tensors, add_scaled, dot, position, rotated_row, row_index, rows_of, select, visible_keys,
};

/// dq, dk and dv in the shapes of q, k and v.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Gradients {
    /// `[B, Hq, Nq, D]`
    pub dq: Vec<f64>,
    /// `[B, Hkv, Nk, D]`
    pub dk: Vec<f64>,
    /// `[B, Hkv, Nk, Dv]`
    pub dv: Vec<f64>,
}

impl Gradients {
    /// Of dq `[B, Hq, Nq, D]`, dk `[B, Hkv, Nk, D]` and dv `[B, Hkv, Nk, Dv]`.
    pub fn new(dq: Vec<f64>, dk: Vec<f64>, dv: Vec<f64>) -> Self {
        Self { dq, dk, dv }
    }
}

/// The gradients of a loss whose gradient by o is `d_o` `[B, Hq, Nq, Dv]` and by lse, if given, `dlse` `[B, Hq, Nq]`.
///
/// Of a slice, what its pairs contribute to the whole problem's gradients (lse and Δ are those of the whole), so the
/// gradients of a cut add up.
pub fn backward(
    problem: &Problem,
    tensors: &Tensors,
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> Gradients {
    let mut out = Gradients {
        dq: vec![0.0; tensors.q.len()],
        dk: vec![0.0; tensors.k.len()],
        dv: vec![0.0; tensors.v.len()],
    };
    let dim = problem.shape.value_dim as usize;
    let problem = &select::selected(problem, tensors);
    let rotated = position::Rotated::new(problem, tensors);
    let rotated = &rotated.view(tensors);
    for (b, h, i) in rows_of(problem) {
        let row = row_index(problem, b, h, i);
        let given = Given {
            d_o: &d_o[row * dim..][..dim],
            dlse: dlse.map_or(0.0, |dlse| dlse[row]),
        };
        backward_row(problem, rotated, (b, h, i), given, &mut out);
    }
    position::rotate_back(problem, tensors, &mut out.dq, &mut out.dk);
    out
}

/// The loss's gradients by one row's results.
struct Given<'a> {
    d_o: &'a [f64],
    dlse: f64,
}

fn backward_row(
    problem: &Problem,
    tensors: &Tensors,
    (b, h, i): (u32, u32, u32),
    Given { d_o, dlse }: Given,
    out: &mut Gradients,
) {
    let (q_dim, v_dim) = (
        problem.shape.head_dim as usize,
        problem.shape.value_dim as usize,
    );
    let row = row_index(problem, b, h, i);
    for pair in pairs(problem, tensors, (b, h, i), Given { d_o, dlse }) {
        let dx = pair.ds * pair.slope * scale(problem);
        let key = key_index(problem, b, h, pair.j);
        let (query_row, key_row) = (
            tensors.query(problem, b, h, i),
            tensors.key(problem, b, h, pair.j),
        );
        add_scaled(&mut out.dq[row * q_dim..][..q_dim], dx, key_row);
        add_scaled(&mut out.dk[key * q_dim..][..q_dim], dx, query_row);
        add_scaled(&mut out.dv[key * v_dim..][..v_dim], pair.p, d_o);
    }
}

/// What a visible pair weighs (one that a bias hides is none), and the loss's gradient by its score.
struct Pair {
    j: u32,
    p: f64,
    ds: f64,
    /// `∂s/∂x`
    slope: f64,
}

fn pairs(
    problem: &Problem,
    tensors: &Tensors,
    (b, h, i): (u32, u32, u32),
    Given { d_o, dlse }: Given,
) -> Vec<Pair> {
    let (o, lse) = rotated_row(&all_keys(problem), tensors, b, h, i);
    let delta = dot(d_o, &o) - dlse;
    visible_keys(problem, tensors, b, h, i)
        .map(|j| (j, score(problem, tensors, b, h, i, j)))
        // A pair that the bias hides gives nothing, in a fully masked row too, whatever stands behind it.
        .filter(|(_, s)| s.value != f64::NEG_INFINITY)
        .map(|(j, s)| {
            // ds = P∘(dP − Δ), dP = dO·Vᵀ
            let p = (s.value - lse).exp();
            let ds = p * (dot(d_o, tensors.value(problem, b, h, j)) - delta);
            Pair {
                j,
                p,
                ds,
                slope: s.slope,
            }
        })
        .collect()
}

/// The gradients of the score's own parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ScoreGradients {
    /// `[B, Hq, Nq, Nk]`: what is broadcast is not summed, be it over batches, heads or queries.
    pub dbias: Vec<f64>,
    /// `[Hq]`, or `[B, Hq]` where the slopes are; zeros without slopes, likewise below.
    pub dslopes: Vec<f64>,
    /// `[Hq]`
    pub dsinks: Vec<f64>,
    /// `[buckets, Hq]`
    pub dt5: Vec<f64>,
}

setters! {
    ScoreGradients {
        with_dbias(dbias: Vec<f64>);
        with_dslopes(dslopes: Vec<f64>);
        with_dsinks(dsinks: Vec<f64>);
        with_dt5(dt5: Vec<f64>);
    }
}

/// The gradients by dense bias, slopes, sinks and T5 table, of the same loss as [`backward`]'s.
pub fn score_gradients(
    problem: &Problem,
    tensors: &Tensors,
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> ScoreGradients {
    let (dim, heads) = (
        problem.shape.value_dim as usize,
        problem.shape.q_heads as usize,
    );
    let kv_len = problem.shape.kv_len as usize;
    let t5 = problem.score.t5.as_ref().map(|t5| &t5.buckets);
    let mut out = ScoreGradients {
        dbias: vec![0.0; problem.shape.rows() as usize * kv_len],
        dslopes: vec![0.0; problem.score.slope_batches(&problem.shape) as usize * heads],
        dsinks: vec![0.0; heads],
        dt5: vec![0.0; t5.map_or(0, |t5| t5.buckets as usize) * heads],
    };
    let problem = &select::selected(problem, tensors);
    let rotated = position::Rotated::new(problem, tensors);
    let rotated = &rotated.view(tensors);
    for (b, h, i) in rows_of(problem) {
        let row = row_index(problem, b, h, i);
        let given = Given {
            d_o: &d_o[row * dim..][..dim],
            dlse: dlse.map_or(0.0, |dlse| dlse[row]),
        };
        let (o, lse) = rotated_row(&all_keys(problem), rotated, b, h, i);
        if let Some(z) = sink(&all_keys(problem), rotated, h) {
            out.dsinks[h as usize] -= (z - lse).exp() * (dot(given.d_o, &o) - given.dlse);
        }
        for pair in pairs(problem, rotated, (b, h, i), given) {
            let relative = position::key_position(problem, rotated, b, pair.j)
                - position::query_position(problem, rotated, b, i);
            let by_bias = if problem.score.bias_before_softcap {
                pair.slope
            } else {
                1.0
            };
            out.dbias[row * kv_len + pair.j as usize] = pair.ds * by_bias;
            out.dslopes[problem.score.slope_index(&problem.shape, b, h)] -=
                pair.ds * relative.abs() as f64;
            if let Some(t5) = t5 {
                let thresholds = t5.thresholds().expect("a validated problem");
                let bucket = t5.bucket(relative, &thresholds) as usize;
                out.dt5[bucket * heads + h as usize] += pair.ds;
            }
        }
    }
    out
}

/// The same problem with every key in its slice.
fn all_keys(problem: &Problem) -> Problem {
    let Slice { q, .. } = problem.slice();
    Problem {
        slice: Some(Slice {
            q,
            k: 0..problem.shape.kv_len,
        }),
        ..problem.clone()
    }
}
