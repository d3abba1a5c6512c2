//! Attention in f32 with plain loops: what an honest f32 program loses, the yardstick of every tolerance.

mod position;
mod score;

use wgpu_attention::problem::{Problem, Slice};
use wgpu_attention::reference::{Forward, Gradients, ScoreGradients, Tensors, visible};

use self::position::{Turned, key_position, query_position};
use self::score::{added, capped, sink};
use super::tensor::round;

/// One query's operands in f32, turned by their positions.
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
    /// What joins the capped score: biases.
    added: f32,
}

/// As [`wgpu_attention::reference::forward`], in f32: o is not rounded to its storage type.
pub fn forward(problem: &Problem, tensors: &Tensors) -> Forward {
    let shape = &problem.shape;
    let dim = shape.value_dim as usize;
    let mut out = Forward {
        o: vec![f64::NAN; shape.rows() as usize * dim],
        lse: vec![f64::NAN; shape.rows() as usize],
    };
    let turned = Turned::new(problem, tensors);
    for (b, h, i) in rows(problem) {
        let row = ((b * shape.q_heads + h) * shape.q_len + i) as usize;
        let operands = load(problem, tensors, &turned, problem.slice(), (b, h, i));
        let (o, lse) = forward_row(problem, &operands);
        out.lse[row] = f64::from(lse);
        for (c, x) in o.into_iter().enumerate() {
            out.o[row * dim + c] = f64::from(x);
        }
    }
    out
}

/// As [`wgpu_attention::reference::backward`], in f32, from an o that went through its storage type.
pub fn backward(
    problem: &Problem,
    tensors: &Tensors,
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> Gradients {
    let shape = &problem.shape;
    let (d, dv) = (shape.head_dim as usize, shape.value_dim as usize);
    let mut dq = vec![0.0f32; tensors.q.len()];
    let mut dk = vec![0.0f32; tensors.k.len()];
    let mut dval = vec![0.0f32; tensors.v.len()];
    let slice = problem.slice();
    let turned = Turned::new(problem, tensors);
    for (b, h, i) in rows(problem) {
        let row = ((b * shape.q_heads + h) * shape.q_len + i) as usize;
        let operands = load(problem, tensors, &turned, all_keys(problem), (b, h, i));
        let (o, lse) = forward_row(problem, &operands);
        let d_o = narrow(&d_o[row * dv..][..dv]);
        let stored: Vec<f32> = o
            .iter()
            .map(|&x| round(problem.o.element, f64::from(x)) as f32)
            .collect();
        let delta = dot(&d_o, &stored) - dlse.map_or(0.0, |dlse| dlse[row] as f32);
        for Key { j, k, v, added } in operands.keys.iter().filter(|key| slice.k.contains(&key.j)) {
            let s = capped(problem, dot(&operands.q, k));
            let p = (s.value + added - lse).exp();
            let ds = p * (dot(&d_o, v) - delta);
            let dx = problem.scale() * ds * s.slope;
            let key = key_index(problem, b, h, *j);
            add_scaled(&mut dq[row * d..][..d], dx, k);
            add_scaled(&mut dk[key * d..][..d], dx, &operands.q);
            add_scaled(&mut dval[key * dv..][..dv], p, &d_o);
        }
    }
    Gradients {
        dq: widen(&dq),
        dk: widen(&dk),
        dv: widen(&dval),
    }
}

/// As [`wgpu_attention::reference::score_gradients`], in f32.
pub fn score_gradients(
    problem: &Problem,
    tensors: &Tensors,
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> ScoreGradients {
    let shape = &problem.shape;
    let (dv, heads) = (shape.value_dim as usize, shape.q_heads as usize);
    let buckets = problem.score.t5.as_ref().map_or(0, |t5| t5.buckets.buckets);
    let mut dbias = vec![0.0f32; shape.rows() as usize * shape.kv_len as usize];
    let (mut dslopes, mut dsinks) = (vec![0.0f32; heads], vec![0.0f32; heads]);
    let mut dt5 = vec![0.0f32; buckets as usize * heads];
    let turned = Turned::new(problem, tensors);
    for (b, h, i) in rows(problem) {
        let row = ((b * shape.q_heads + h) * shape.q_len + i) as usize;
        let operands = load(problem, tensors, &turned, all_keys(problem), (b, h, i));
        let (o, lse) = forward_row(problem, &operands);
        let d_o = narrow(&d_o[row * dv..][..dv]);
        let o: Vec<f32> = o
            .iter()
            .map(|&x| round(problem.o.element, f64::from(x)) as f32)
            .collect();
        let delta = dot(&d_o, &o) - dlse.map_or(0.0, |dlse| dlse[row] as f32);
        if let Some(z) = operands.sink {
            dsinks[h as usize] -= (z - lse).exp() * delta;
        }
        let slice = problem.slice().k;
        for Key { j, k, v, added } in operands.keys.iter().filter(|key| slice.contains(&key.j)) {
            let p = (capped(problem, dot(&operands.q, k)).value + added - lse).exp();
            let ds = p * (dot(&d_o, v) - delta);
            let relative =
                key_position(problem, tensors, b, *j) - query_position(problem, tensors, b, i);
            dbias[row * shape.kv_len as usize + *j as usize] = ds;
            dslopes[h as usize] -= ds * relative.abs() as f32;
            if let Some(t5) = &problem.score.t5 {
                let thresholds = t5.buckets.thresholds().expect("a validated problem");
                let bucket = t5.buckets.bucket(relative, &thresholds) as usize;
                dt5[bucket * heads + h as usize] += ds;
            }
        }
    }
    ScoreGradients {
        dbias: widen(&dbias),
        dslopes: widen(&dslopes),
        dsinks: widen(&dsinks),
        dt5: widen(&dt5),
    }
}

/// `(o, lse)` by the textbook: largest score, sum of exponentials, weighted mean of the values.
fn forward_row(problem: &Problem, Row { q, keys, sink }: &Row) -> (Vec<f32>, f32) {
    let mut o = vec![0.0; problem.shape.value_dim as usize];
    let scores: Vec<f32> = keys
        .iter()
        .map(|key| capped(problem, dot(q, &key.k)).value + key.added)
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
    turned: &Turned,
    slice: Slice,
    (b, h, i): (u32, u32, u32),
) -> Row {
    let shape = &problem.shape;
    let (d, dv) = (shape.head_dim as usize, shape.value_dim as usize);
    let row = ((b * shape.q_heads + h) * shape.q_len + i) as usize;
    let load_key = |j: u32| {
        let key = key_index(problem, b, h, j);
        Key {
            j,
            k: turned.k[key * d..][..d].to_vec(),
            v: narrow(&tensors.v[key * dv..][..dv]),
            added: added(problem, tensors, (b, h, i, j)),
        }
    };
    Row {
        q: turned.q[row * d..][..d].to_vec(),
        keys: slice
            .k
            .filter(|&j| visible(problem, tensors, b, h, i, j))
            .map(load_key)
            .filter(|key| key.added != f32::NEG_INFINITY)
            .collect(),
        sink: sink(problem, tensors, h),
    }
}

fn all_keys(problem: &Problem) -> Slice {
    Slice {
        k: 0..problem.shape.kv_len,
        ..problem.slice()
    }
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

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
