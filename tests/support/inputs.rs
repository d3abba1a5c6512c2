//! The operands of one case: seeded values, and the buffers that hold them.

use wgpu_attention::problem::{Layout, Operand, Problem};
use wgpu_attention::reference::{Bias, Tensors, visible};

use super::cases::Case;
use super::tensor::{POISON, gather, normal, row_starts, scatter_row};

/// What the operands are filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data {
    /// Standard normal times this amplitude; 1 is what a model's layers look like.
    ///
    /// Scores grow with its square, and with them what f32 rounds away: from 3 on, two honest f32 programs differ on
    /// a small case by more than the factor 2 of the tolerances. Larger ones are for overflow, not for exactness.
    Normal(f64),
    /// A ramp over keys and channels: errors of indexing show, scores grow steadily (the running maximum moves at
    /// each tile).
    Ramp,
}

impl Data {
    fn fill(self, seed: u64, len: usize, dim: usize) -> Vec<f64> {
        match self {
            Self::Normal(amplitude) => normal(seed, len)
                .into_iter()
                .map(|x| amplitude * x)
                .collect(),
            Self::Ramp => (0..len)
                .map(|n| 0.05 * (n / dim) as f64 + 0.01 * (n % dim) as f64 + 0.1 * seed as f64)
                .map(|x| x % 4.0)
                .collect(),
        }
    }
}

/// The operands of one problem: logical values as decoded from their storage, and the storage itself.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    /// What a GPU's buffers are to hold; gaps are poisoned.
    pub buffers: Vec<Vec<u8>>,
    /// The buffers of q, k and v: `[0, 1, 2]`, or `[0, 0, 0]` where they are packed.
    pub slots: [usize; 3],
    pub bias: Option<DenseBias>,
}

/// A dense bias: logical `[B, Hq, Nq, Nk]` with what is broadcast repeated, and its buffer.
#[derive(Clone, Debug)]
pub struct DenseBias {
    pub values: Vec<f64>,
    pub buffer: Vec<u8>,
}

impl Inputs {
    /// Fills q, k and v as `data` says.
    ///
    /// Keys that no query sees hold NaN, in k and in v: they must not change anything.
    pub fn new(case: &Case, data: Data, seed: u64) -> Self {
        let slots = if case.packed { [0; 3] } else { [0, 1, 2] };
        let operands = operands(&case.problem);
        let mut buffers = poisoned_buffers(&operands, slots);
        let visible = visible_keys(case);
        for (n, (operand, sizes, dim)) in operands.into_iter().enumerate() {
            let values = data.fill(3 * seed + n as u64, count(sizes, dim), dim as usize);
            let rows = row_starts(&operand.layout, sizes).zip(values.chunks_exact(dim as usize));
            for (row, (start, values)) in rows.enumerate() {
                if n == 0 || visible[row] {
                    scatter_row(&mut buffers[slots[n]], operand.element, start, values);
                }
            }
        }
        // Reading them back rounds to the element and repeats what is broadcast.
        let [q, k, v] = [0, 1, 2].map(|n| {
            let (
                Operand {
                    element, layout, ..
                },
                sizes,
                dim,
            ) = operands[n];
            gather(&buffers[slots[n]], element, &layout, sizes, dim)
        });
        Self {
            q,
            k,
            v,
            buffers,
            slots,
            bias: case
                .problem
                .score
                .bias
                .map(|layout| bias(case, &layout, seed)),
        }
    }

    /// The reference's view of them.
    pub fn tensors<'a>(&'a self, case: &'a Case) -> Tensors<'a> {
        let shape = &case.problem.shape;
        case.tensors(&self.q, &self.k, &self.v).with_bias(
            self.bias
                .as_ref()
                .map(|bias| Bias::new(&bias.values, [shape.batch, shape.q_heads, shape.q_len])),
        )
    }
}

/// Standard normal values, every 13th −∞; NaN where no row that shares the value sees its pair.
fn bias(case: &Case, layout: &Layout, seed: u64) -> DenseBias {
    let s = &case.problem.shape;
    let element = case.problem.score.bias_element;
    let (sizes, operand) = (
        [s.batch, s.q_heads, s.q_len],
        Operand::new(element, *layout),
    );
    let mut buffer = vec![POISON; operand.bytes(sizes, s.kv_len) as usize];
    let random = normal(!seed, buffer.len() / element.bytes(1) as usize);
    let tensors = case.tensors(&[], &[], &[]);
    for (row, start) in row_starts(layout, sizes).enumerate() {
        let (i, h) = (row as u32 % s.q_len, row as u32 / s.q_len % s.q_heads);
        let b = row as u32 / s.q_len / s.q_heads;
        for j in (0..s.kv_len).filter(|&j| visible(&case.problem, &tensors, b, h, i, j)) {
            let at = start + j as usize;
            let x = if at % 13 == 5 {
                f64::NEG_INFINITY
            } else {
                random[at]
            };
            scatter_row(&mut buffer, element, at, &[x]);
        }
    }
    let values = gather(&buffer, element, layout, sizes, s.kv_len);
    DenseBias { values, buffer }
}

/// `[B, Hkv, Nk]`: whether any query of the whole problem sees the key.
pub fn visible_keys(case: &Case) -> Vec<bool> {
    let shape = case.problem.shape;
    let group = shape.group();
    let tensors = case.tensors(&[], &[], &[]);
    let sees = |b, h, j| (0..shape.q_len).any(|i| visible(&case.problem, &tensors, b, h, i, j));
    (0..shape.batch)
        .flat_map(|b| (0..shape.kv_heads).map(move |h| (b, h)))
        .flat_map(|(b, h)| (0..shape.kv_len).map(move |j| (b, h, j)))
        .map(|(b, kv, j)| (kv * group..(kv + 1) * group).any(|h| sees(b, h, j)))
        .collect()
}

fn poisoned_buffers(operands: &[(Operand, [u32; 3], u32); 3], slots: [usize; 3]) -> Vec<Vec<u8>> {
    let mut buffers = vec![Vec::new(); slots[2] + 1];
    for ((operand, sizes, dim), slot) in operands.iter().zip(slots) {
        let bytes = operand.bytes(*sizes, *dim) as usize;
        let len = bytes.max(buffers[slot].len());
        buffers[slot].resize(len, POISON);
    }
    buffers
}

fn count(sizes: [u32; 3], dim: u32) -> usize {
    (sizes.iter().product::<u32>() * dim) as usize
}

/// `(operand, [B, H, N], dim)` of q, k and v.
fn operands(problem: &Problem) -> [(Operand, [u32; 3], u32); 3] {
    let s = &problem.shape;
    let kv = [s.batch, s.kv_heads, s.kv_len];
    [
        (problem.q, [s.batch, s.q_heads, s.q_len], s.head_dim),
        (problem.k, kv, s.head_dim),
        (problem.v, kv, s.value_dim),
    ]
}
