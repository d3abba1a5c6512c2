//! Attention as candle's operation, against attention made of candle's own on the CPU.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ops::softmax;
use lab::attention::attention;
use lab::model::{HEAD_DIM, HEADS};
use lab::scheme::{Learned, Scheme};

use super::tool::gpu;

const BATCH: usize = 2;
const LEN: usize = 48;

/// Uniform in ±1, the same at every run.
fn random(seed: u32) -> Tensor {
    let count = BATCH * HEADS * LEN * HEAD_DIM;
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let values: Vec<f32> = (0..count).map(|_| next()).collect();
    Tensor::from_vec(values, (BATCH, HEADS, LEN, HEAD_DIM), &Device::Cpu).unwrap()
}

/// Rotates channel i with channel i + D/2.
fn rotated(x: &Tensor) -> candle_core::Result<Tensor> {
    let pairs = HEAD_DIM / 2;
    let angle = |n: usize| {
        let (position, pair) = (n / pairs, n % pairs);
        position as f64 * 10_000_f64.powf(-2.0 * pair as f64 / HEAD_DIM as f64)
    };
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f32> = (0..LEN * pairs).map(|n| f(angle(n)) as f32).collect();
        Tensor::from_vec(values, (LEN, pairs), &Device::Cpu)
    };
    let (cos, sin) = (table(f64::cos)?, table(f64::sin)?);
    let (a, b) = (x.narrow(3, 0, pairs)?, x.narrow(3, pairs, pairs)?);
    let left = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let right = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
    Tensor::cat(&[left, right], 3)
}

/// softmax(q·kᵀ/√D + bias)·v, causal.
fn plain(learned: Learned, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
    let (q, k) = match learned {
        Learned::Rope => (rotated(q)?, rotated(k)?),
        Learned::Alibi => (q.clone(), k.clone()),
    };
    let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? / (HEAD_DIM as f64).sqrt())?;
    let bias = |n: usize| {
        let (head, i, j) = (n / (LEN * LEN), n / LEN % LEN, n % LEN);
        let slope = match learned {
            Learned::Rope => 0.0,
            Learned::Alibi => 2_f32.powf(-8.0 * (head + 1) as f32 / HEADS as f32),
        };
        if j > i {
            f32::NEG_INFINITY
        } else {
            -slope * (i - j) as f32
        }
    };
    let bias: Vec<f32> = (0..HEADS * LEN * LEN).map(bias).collect();
    let bias = Tensor::from_vec(bias, (1, HEADS, LEN, LEN), &Device::Cpu)?;
    softmax(&scores.broadcast_add(&bias)?, 3)?.matmul(v)
}

/// Σ o·w with the gradients by q, k and v.
fn gradients(of: impl Fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>) -> [Tensor; 4] {
    let [q, k, v] = [1, 2, 3].map(|seed| Var::from_tensor(&random(seed)).unwrap());
    let o = of(&q, &k, &v).unwrap();
    let loss = (&o * random(4)).unwrap().sum_all().unwrap();
    let found = loss.backward().unwrap();
    let of = |x: &Var| found.get(x.as_tensor()).unwrap().clone();
    [o.detach(), of(&q), of(&k), of(&v)]
}

fn agree(learned: Learned) {
    let problem = Scheme::AsTrained(learned).problem(BATCH, LEN, LEN);
    let ours = gradients(|q, k, v| attention(gpu(), &problem, q, k, v));
    let theirs = gradients(|q, k, v| plain(learned, q, k, v));
    for ((name, ours), theirs) in ["o", "dq", "dk", "dv"].iter().zip(&ours).zip(&theirs) {
        let largest = |x: &Tensor| -> f32 {
            let x = x.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            x.to_dtype(DType::F32).unwrap().to_scalar().unwrap()
        };
        let difference = largest(&(ours - theirs).unwrap());
        let of = largest(theirs);
        assert!(
            difference < 2e-5 * of,
            "{name} of {learned:?}: {difference} of {of}"
        );
    }
}

#[test]
fn of_rotary_positions() {
    agree(Learned::Rope);
}

#[test]
fn of_alibi() {
    agree(Learned::Alibi);
}
