//! A ragged problem, and the plain ones that it stands for: the reference sees one sequence at a time.

use std::ops::Range;

use wgpu_attention::Problem;
use wgpu_attention::problem::{CuSeqlens, Layout, Operand, Shape};
use wgpu_attention::reference::{Forward, Gradients};

use super::cases::{Case, Setting, Sizes};
use super::inputs::{Data, Inputs, visible_keys};
use super::tensor::{POISON, row_starts};

/// Which tokens a problem is of: those of one sequence, or of all.
pub struct Part {
    /// The sequences.
    pub batches: Range<u32>,
    /// Queries and keys among those of all sequences.
    pub q: Range<u32>,
    pub k: Range<u32>,
}

/// What a test asks of a problem, be it the whole or a sequence.
pub type Change = fn(&mut Problem, &Part);

/// A ragged case with its inputs, and each sequence as a case of its own.
pub struct Ragged {
    pub case: Case,
    pub inputs: Inputs,
    pub sequences: Vec<(Part, Case, Inputs)>,
}

/// cu_seqlens of these lengths.
pub fn starts(lengths: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut sum = 0;
    let ends = lengths.map(|len| {
        sum += len;
        sum
    });
    std::iter::once(0).chain(ends).collect()
}

/// Rows of all heads side by side, with a gap behind each, as packed projections lie.
pub fn gapped(heads: u32, rows: u32, dim: u32) -> Layout {
    let row = u64::from(heads * dim + 4);
    Layout {
        offset: 4,
        batch: row * u64::from(rows),
        head: dim.into(),
        row,
    }
}

impl Ragged {
    /// Sequences of these numbers of queries and keys.
    pub fn new(
        name: &str,
        setting: &Setting,
        (q_heads, kv_heads): (u32, u32),
        lengths: &[(u32, u32)],
        change: Change,
    ) -> Self {
        let q = starts(lengths.iter().map(|x| x.0));
        let k = starts(lengths.iter().map(|x| x.1));
        let sizes = |q_len: u32, kv_len: u32| Sizes {
            batch: 1,
            q_heads,
            kv_heads,
            q_len,
            kv_len,
        };
        let count = lengths.len();
        let whole = sizes(q[count], k[count]);
        let memory = Case::new(name, setting, whole);
        let mut inputs = Inputs::new(&memory, Data::Normal(1.0), 3);
        let parts = (0..count).map(|b| Part {
            batches: b as u32..b as u32 + 1,
            q: q[b]..q[b + 1],
            k: k[b]..k[b + 1],
        });
        let sequence = |part: Part| {
            let sizes = sizes(part.q.len() as u32, part.k.len() as u32);
            let case = Case::new(format!("{name}, {:?}", part.batches), setting, sizes);
            let case = case.with(|p| change(p, &part));
            let own = cut_inputs(&memory.problem.shape, &inputs, &part);
            (part, case, own)
        };
        let sequences: Vec<_> = parts.map(sequence).collect();
        hide_invisible(&memory, &mut inputs, &sequences);
        let case = memory.with(|p| {
            let all = Part {
                batches: 0..count as u32,
                q: 0..whole.q_len,
                k: 0..whole.kv_len,
            };
            *p = p.clone().ragged(q, k).expect("sequences");
            change(p, &all);
        });
        Self {
            case,
            inputs,
            sequences,
        }
    }

    /// q, k, v and o with gaps between their rows.
    pub fn with_gaps(mut self) -> Self {
        let [_, heads, rows] = self.case.problem.q_sizes();
        let [_, kv_heads, kv_rows] = self.case.problem.kv_sizes();
        let (dim, value_dim) = (
            self.case.problem.shape.head_dim,
            self.case.problem.shape.value_dim,
        );
        let problem = &mut self.case.problem;
        let tensors = [
            (&mut problem.q, heads, rows, dim),
            (&mut problem.k, kv_heads, kv_rows, dim),
            (&mut problem.v, kv_heads, kv_rows, value_dim),
        ];
        for (n, (operand, heads, rows, dim)) in tensors.into_iter().enumerate() {
            let sizes = [1, heads, rows];
            let to = Operand::new(operand.element, gapped(heads, rows, dim));
            let mut bytes = vec![POISON; to.bytes(sizes, dim) as usize];
            let size = operand.element.bytes(1) as usize;
            let len = dim as usize * size;
            let from = row_starts(&operand.layout, sizes);
            for (from, to) in from.zip(row_starts(&to.layout, sizes)) {
                let row = &self.inputs.buffers[n][from * size..][..len];
                bytes[to * size..][..len].copy_from_slice(row);
            }
            self.inputs.buffers[n] = bytes;
            *operand = to;
        }
        problem.o.layout = gapped(heads, rows, value_dim);
        self
    }

    /// The same with cu_seqlens on the device, where `given` stands in place of them.
    pub fn on_the_device(mut self, given: Option<(Vec<u32>, Vec<u32>)>) -> Self {
        let to_device = |side: &mut Option<CuSeqlens>| {
            let total = side.as_ref().expect("ragged").total();
            match side.replace(CuSeqlens::Device { total }) {
                Some(CuSeqlens::Host(starts)) => starts,
                other => panic!("{other:?}"),
            }
        };
        let problem = &mut self.case.problem;
        let q = to_device(&mut problem.cu_seqlens_q);
        let k = to_device(&mut problem.cu_seqlens_k);
        let (q, k) = given.unwrap_or((q, k));
        self.case.values.cu_seqlens_q = Some(q);
        self.case.values.cu_seqlens_k = Some(k);
        self
    }
}

/// Of a tensor `[1, heads, rows, dim]` some rows.
pub fn cut(values: &[f64], heads: u32, dim: u32, rows: &Range<u32>) -> Vec<f64> {
    let all = values.len() / (heads * dim) as usize;
    let dim = dim as usize;
    (0..heads as usize)
        .flat_map(|h| {
            let from = (h * all + rows.start as usize) * dim;
            values[from..from + rows.len() * dim].to_vec()
        })
        .collect()
}

/// Puts rows back into a tensor `[1, heads, rows, dim]`.
pub fn put(whole: &mut [f64], values: &[f64], heads: u32, dim: u32, rows: &Range<u32>) {
    let all = whole.len() / (heads * dim) as usize;
    let len = rows.len() * dim as usize;
    for h in 0..heads as usize {
        let to = (h * all + rows.start as usize) * dim as usize;
        whole[to..to + len].copy_from_slice(&values[h * len..][..len]);
    }
}

/// Of the results of all sequences those of one.
pub fn cut_forward(shape: &Shape, all: &Forward, part: &Part) -> Forward {
    Forward::new(
        cut(&all.o, shape.q_heads, shape.value_dim, &part.q),
        cut(&all.lse, shape.q_heads, 1, &part.q),
    )
}

/// The same of gradients.
pub fn cut_gradients(shape: &Shape, all: &Gradients, part: &Part) -> Gradients {
    Gradients::new(
        cut(&all.dq, shape.q_heads, shape.head_dim, &part.q),
        cut(&all.dk, shape.kv_heads, shape.head_dim, &part.k),
        cut(&all.dv, shape.kv_heads, shape.value_dim, &part.k),
    )
}

fn cut_inputs(shape: &Shape, all: &Inputs, part: &Part) -> Inputs {
    Inputs {
        q: cut(&all.q, shape.q_heads, shape.head_dim, &part.q),
        k: cut(&all.k, shape.kv_heads, shape.head_dim, &part.k),
        v: cut(&all.v, shape.kv_heads, shape.value_dim, &part.k),
        buffers: Vec::new(),
        slots: all.slots,
        bias: None,
    }
}

/// NaN in the keys that no query of their sequence sees.
fn hide_invisible(memory: &Case, inputs: &mut Inputs, sequences: &[(Part, Case, Inputs)]) {
    let p = &memory.problem;
    let [_, heads, rows] = p.kv_sizes();
    for (part, case, _) in sequences {
        let visible = visible_keys(case);
        let hidden = (0..heads).flat_map(|h| part.k.clone().map(move |j| (h, j)));
        for ((h, j), _) in hidden.zip(visible).filter(|(_, visible)| !visible) {
            for (n, (operand, dim)) in [(&p.k, p.shape.head_dim), (&p.v, p.shape.value_dim)]
                .into_iter()
                .enumerate()
            {
                let size = operand.element.bytes(1) as usize;
                let at = (h * rows + j) as usize * dim as usize * size;
                inputs.buffers[n + 1][at..at + dim as usize * size].fill(POISON);
            }
        }
    }
}
