//! Attention in f32 with plain loops: what an honest f32 program loses, the yardstick of every tolerance.

mod position;
mod score;

use wgpu_attention::problem::{Problem, Slice};
use wgpu_attention::reference::{Forward, Gradients, ScoreGradients, Tensors, visible};

use self::position::{Rotated, key_position, query_position};
use self::score::{added, capped, sink, slope_index};
use super::tensor::round;

/// One query's operands in f32, rotated by their positions.
struct Row {
    q: Vec<f32>,
    keys: Vec<Key>,
    sink: Option<f32>,
}

/// A visible key.
struct Key {
    j: u32,
    k: Vec<f32>,
    v: Vec<f32>,
    /// What joins the score before the softcap, and after it: biases.
    added: [f32; 2],
}

/// As [`wgpu_attention::reference::forward`], in f32: o is not rounded to its storage type.
pub fn forward(problem: &Problem, tensors: &Tensors) -> Forward {
    let shape = &problem.shape;
    let dim = shape.value_dim as usize;
    let mut out = Forward::new(
        vec![f64::NAN; shape.rows() as usize * dim],
        vec![f64::NAN; shape.rows() as usize],
    );
    let rotated = Rotated::new(problem, tensors);
    for (b, h, i) in rows(problem) {
        let row = row_index(problem, (b, h, i));
        let operands = load(problem, tensors, &rotated, (b, h, i));
        let (mut o, lse) = forward_row(problem, &operands);
        if problem.v_hadamard {
            position::hadamard(&mut o, shape.value_dim);
        }
        out.lse[row] = f64::from(lse);
        for (c, x) in o.into_iter().enumerate() {
            out.o[row * dim + c] = f64::from(x);
        }
    }
    out
}

/// An answer in f32 and, beside each number, the magnitude of all that was rounded to make it: where much cancels, or
/// an exponent is large, a number is less exact than its own size says.
pub struct Rounded<T> {
    pub value: T,
    pub terms: T,
}

/// As [`wgpu_attention::reference::backward`], in f32, from the o that was kept, as its type stores it: its rounding
/// enters Δ, and an o that rounds the other way is another operand. lse is the plain program's own.
pub fn backward(
    problem: &Problem,
    tensors: &Tensors,
    o: &[f64],
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> Rounded<Gradients> {
    let (d, dv) = (
        problem.shape.head_dim as usize,
        problem.shape.value_dim as usize,
    );
    let zeros = || [&tensors.q, &tensors.k, &tensors.v].map(|x| vec![0.0f32; x.len()]);
    let (mut value, mut terms) = (zeros(), zeros());
    let rotated = Rotated::new(problem, tensors);
    let (whole, slice) = (all_keys(problem), problem.slice().k);
    for (b, h, i) in rows(problem) {
        let row = row_index(problem, (b, h, i));
        let operands = load(&whole, tensors, &rotated, (b, h, i));
        let given = Given::new(&operands, (problem, o), row, d_o, dlse);
        for of_key in operands.keys.iter().filter(|key| slice.contains(&key.j)) {
            let pair = given.weigh(problem, &operands.q, of_key);
            let key = key_index(problem, b, h, of_key.j);
            let factor = problem.scale() * pair.slope;
            let mut add = |n: usize, at: usize, (p, terms_of_p): (f32, f32), x: &[f32]| {
                add_scaled(&mut value[n][at..][..x.len()], p, x);
                add_scaled(&mut terms[n][at..][..x.len()], terms_of_p, &absolute(x));
            };
            let dx = (factor * pair.ds, factor * pair.ds_terms);
            add(0, row * d, dx, &of_key.k);
            add(1, key * d, dx, &operands.q);
            add(2, key * dv, (pair.p, pair.p_terms), &given.d_o);
        }
    }
    rotated.back(problem, tensors, &mut value, false);
    rotated.back(problem, tensors, &mut terms, true);
    let gradients =
        |[dq, dk, dv]: [Vec<f32>; 3]| Gradients::new(widen(&dq), widen(&dk), widen(&dv));
    Rounded {
        value: gradients(value),
        terms: gradients(terms),
    }
}

/// What a row's gradients start from.
struct Given {
    d_o: Vec<f32>,
    lse: f32,
    /// Δ = Σ dO∘O − dlse
    delta: f32,
    delta_terms: f32,
}

/// P and dS of a pair, the terms of both, and ∂s/∂x.
struct Pair {
    p: f32,
    p_terms: f32,
    ds: f32,
    ds_terms: f32,
    slope: f32,
}

impl Given {
    fn new(
        operands: &Row,
        (problem, o): (&Problem, &[f64]),
        row: usize,
        d_o: &[f64],
        dlse: Option<&[f64]>,
    ) -> Self {
        let dim = problem.shape.value_dim as usize;
        let channels = row * dim..(row + 1) * dim;
        let d_o = narrow(&d_o[channels.clone()]);
        let stored: Vec<f32> = o[channels]
            .iter()
            .map(|&x| round(problem.o.element, x) as f32)
            .collect();
        let dlse = dlse.map_or(0.0, |dlse| dlse[row] as f32);
        Self {
            lse: forward_row(problem, operands).1,
            delta: dot(&d_o, &stored) - dlse,
            delta_terms: dot(&absolute(&d_o), &absolute(&stored)) + dlse.abs(),
            d_o,
        }
    }

    fn weigh(
        &self,
        problem: &Problem,
        q: &[f32],
        Key {
            k,
            v,
            added: [before, after],
            ..
        }: &Key,
    ) -> Pair {
        let s = capped(problem, dot(q, k), *before);
        let p = (s.value + after - self.lse).exp();
        // What is rounded in an exponent is relative in the exponential.
        let exponent =
            problem.scale() * dot(&absolute(q), &absolute(k)) + before.abs() + after.abs();
        let p_terms = p * (1.0 + exponent + self.lse.abs());
        let d_p = dot(&self.d_o, v);
        let d_p_terms = dot(&absolute(&self.d_o), &absolute(v));
        Pair {
            p,
            p_terms,
            ds: p * (d_p - self.delta),
            ds_terms: p * (d_p_terms + self.delta_terms) + p_terms * (d_p - self.delta).abs(),
            slope: s.slope,
        }
    }
}

/// As [`wgpu_attention::reference::score_gradients`], in f32.
pub fn score_gradients(
    problem: &Problem,
    tensors: &Tensors,
    o: &[f64],
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> Rounded<ScoreGradients> {
    let heads = problem.shape.q_heads as usize;
    let (mut value, mut terms) = (Numbers::new(problem), Numbers::new(problem));
    let rotated = Rotated::new(problem, tensors);
    let (whole, slice) = (all_keys(problem), problem.slice().k);
    for (b, h, i) in rows(problem) {
        let row = row_index(problem, (b, h, i));
        let operands = load(&whole, tensors, &rotated, (b, h, i));
        let given = Given::new(&operands, (problem, o), row, d_o, dlse);
        if let Some(z) = operands.sink {
            let p = (z - given.lse).exp();
            let p_terms = p * (1.0 + z.abs() + given.lse.abs());
            value.sinks[h as usize] -= p * given.delta;
            terms.sinks[h as usize] += p_terms * given.delta.abs() + p * given.delta_terms;
        }
        for key in operands.keys.iter().filter(|key| slice.contains(&key.j)) {
            let pair = given.weigh(problem, &operands.q, key);
            let relative =
                key_position(problem, tensors, b, key.j) - query_position(problem, tensors, b, i);
            let distance = relative.abs() as f32;
            let at = row * problem.shape.kv_len as usize + key.j as usize;
            let by_bias = if problem.score.bias_before_softcap {
                pair.slope
            } else {
                1.0
            };
            (value.bias[at], terms.bias[at]) = (pair.ds * by_bias, pair.ds_terms * by_bias);
            value.slopes[slope_index(problem, b, h)] -= pair.ds * distance;
            terms.slopes[slope_index(problem, b, h)] += pair.ds_terms * distance;
            if let Some(t5) = &problem.score.t5 {
                let thresholds = t5.buckets.thresholds().expect("a validated problem");
                let bucket = t5.buckets.bucket(relative, &thresholds) as usize;
                value.t5[bucket * heads + h as usize] += pair.ds;
                terms.t5[bucket * heads + h as usize] += pair.ds_terms;
            }
        }
    }
    Rounded {
        value: value.widened(),
        terms: terms.widened(),
    }
}

/// A number for each of the score's parameters.
struct Numbers {
    bias: Vec<f32>,
    slopes: Vec<f32>,
    sinks: Vec<f32>,
    t5: Vec<f32>,
}

impl Numbers {
    fn new(problem: &Problem) -> Self {
        let (shape, heads) = (&problem.shape, problem.shape.q_heads as usize);
        let t5 = problem.score.t5.as_ref();
        let per_batch = problem.score.slopes_per_batch;
        let slopes = heads * if per_batch { shape.batch as usize } else { 1 };
        let buckets = t5.map_or(0, |t5| t5.buckets.buckets) as usize;
        Self {
            bias: vec![0.0; shape.rows() as usize * shape.kv_len as usize],
            slopes: vec![0.0; slopes],
            sinks: vec![0.0; heads],
            t5: vec![0.0; buckets * heads],
        }
    }

    fn widened(&self) -> ScoreGradients {
        ScoreGradients::default()
            .with_dbias(widen(&self.bias))
            .with_dslopes(widen(&self.slopes))
            .with_dsinks(widen(&self.sinks))
            .with_dt5(widen(&self.t5))
    }
}

/// `(o, lse)` by the textbook: largest score, sum of exponentials, weighted mean of the values.
fn forward_row(problem: &Problem, Row { q, keys, sink }: &Row) -> (Vec<f32>, f32) {
    let mut o = vec![0.0; problem.shape.value_dim as usize];
    let scores: Vec<f32> = keys
        .iter()
        .map(|key| capped(problem, dot(q, &key.k), key.added[0]).value + key.added[1])
        .collect();
    let all = scores.iter().chain(sink).copied();
    let largest = all.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = all.map(|s| (s - largest).exp()).sum();
    for (s, key) in scores.iter().zip(keys) {
        add_scaled(&mut o, (s - largest).exp() / sum, &key.v);
    }
    (o, largest + sum.ln())
}

/// The operands of one row: its query, and the keys of the slice that it sees and the bias does not hide.
fn load(
    problem: &Problem,
    tensors: &Tensors,
    rotated: &Rotated,
    (b, h, i): (u32, u32, u32),
) -> Row {
    let shape = &problem.shape;
    let (d, dv) = (shape.head_dim as usize, shape.value_dim as usize);
    let row = row_index(problem, (b, h, i));
    let load_key = |j: u32| {
        let key = key_index(problem, b, h, j);
        Key {
            j,
            k: rotated.k[key * d..][..d].to_vec(),
            v: narrow(&tensors.v[key * dv..][..dv]),
            added: added(problem, tensors, (b, h, i, j)),
        }
    };
    Row {
        q: rotated.q[row * d..][..d].to_vec(),
        keys: problem
            .slice()
            .k
            .filter(|&j| visible(problem, tensors, b, h, i, j))
            .map(load_key)
            .filter(|key| !key.added.contains(&f32::NEG_INFINITY))
            .collect(),
        sink: sink(problem, tensors, h),
    }
}

fn all_keys(problem: &Problem) -> Problem {
    problem.clone().with_slice(Slice {
        k: 0..problem.shape.kv_len,
        ..problem.slice()
    })
}

fn row_index(problem: &Problem, (b, h, i): (u32, u32, u32)) -> usize {
    ((b * problem.shape.q_heads + h) * problem.shape.q_len + i) as usize
}

fn key_index(problem: &Problem, b: u32, h: u32, j: u32) -> usize {
    let shape = &problem.shape;
    ((b * shape.kv_heads + h / shape.group()) * shape.kv_len + j) as usize
}

fn rows(problem: &Problem) -> impl Iterator<Item = (u32, u32, u32)> + use<> {
    let shape = problem.shape;
    let q = problem.slice().q;
    (0..shape.batch).flat_map(move |b| {
        let q = q.clone();
        (0..shape.q_heads).flat_map(move |h| q.clone().map(move |i| (b, h, i)))
    })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add_scaled(sum: &mut [f32], factor: f32, term: &[f32]) {
    for (total, x) in sum.iter_mut().zip(term) {
        *total += factor * x;
    }
}

fn absolute(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x.abs()).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
