//! Attention as a framework without a fused kernel computes it: scores, softmax and values are three kernels that
//! hand the Nq × Nk matrix on through memory. Both products use register tiles, so the distance to the fused kernels
//! is the matrix's traffic and the hidden pairs (a mask saves nothing here), not a slow product.
//!
//! For f32, lengths that are multiples of 256, head sizes that are multiples of 64, one KV head per query head.

mod blocks;

use anyhow::{Result, ensure};
use blocks::Blocks;
use wgpu::{BindGroup, Buffer, BufferBinding, CommandEncoder, ComputePipeline};
use wgpu_attention::problem::{Element, Mask, Problem};
use wgpu_attention::reference;

use crate::case::{Case, Row};
use crate::check::{self, Accuracy};
use crate::gpu::{Gpu, dispatch};
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

/// Lengths and head sizes must be multiples of these, so that no tile is partial.
const LENGTH_UNIT: u32 = 256;
const DIM_UNIT: u32 = 64;
/// Workgroup sizes of `scores.wgsl` (keys, queries) and `values.wgsl` (channels, queries).
const SCORES_WORKGROUP: [u32; 2] = [8, 8];
const VALUES_WORKGROUP: [u32; 2] = [4, 16];
/// A side of a window that is further than every key.
const UNBOUNDED: u32 = 1 << 29;

/// Operands of one problem, and the three kernels once they are prepared.
pub struct Naive {
    problem: Problem,
    inputs: Inputs,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    o: Buffer,
    /// S, then P of as many heads as one binding covers.
    scores: Buffer,
    steps: Vec<Step>,
}

struct Step {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    grid: [u32; 3],
}

/// The case of a row that lies within this kernel's means.
pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let problem = row.problem.clone();
    let shape = problem.shape;
    let per_head = u64::from(shape.q_len) * u64::from(shape.kv_len) * 4;
    ensure!(problem.q.element == Element::F32, "naive takes f32 only");
    ensure!(shape.group() == 1, "naive takes one KV head per query head");
    ensure!(
        is_simple(&problem.mask),
        "naive knows causal and window only"
    );
    ensure!(
        shape.q_len.is_multiple_of(LENGTH_UNIT)
            && shape.kv_len.is_multiple_of(LENGTH_UNIT)
            && shape.head_dim.is_multiple_of(DIM_UNIT)
            && shape.value_dim.is_multiple_of(DIM_UNIT),
        "naive takes lengths in steps of {LENGTH_UNIT} and head sizes in steps of {DIM_UNIT}"
    );
    ensure!(
        per_head <= gpu.max_binding(),
        "the scores of one head take {per_head} bytes, above max_storage_buffer_binding_size = {}",
        gpu.max_binding()
    );
    let heads = u64::from(shape.batch * shape.q_heads).min(gpu.max_binding() / per_head);
    let inputs = Inputs::random(&problem);
    let upload = |label, values: &[f64]| gpu.upload(label, &encode(Element::F32, values));
    Ok(Box::new(Naive {
        q: upload("q", &inputs.q),
        k: upload("k", &inputs.k),
        v: upload("v", &inputs.v),
        o: gpu.buffer("o", shape.rows() * u64::from(shape.value_dim) * 4),
        scores: gpu.buffer("scores", heads * per_head),
        steps: Vec::new(),
        problem,
        inputs,
    }))
}

/// True where `softmax.wgsl` knows the mask.
fn is_simple(mask: &Mask) -> bool {
    let known = Mask::default()
        .with_causal(mask.causal)
        .with_window(mask.window);
    *mask == known
}

impl Naive {
    /// Values for the kernels' `override` constants.
    fn constants(&self) -> Constants {
        let (shape, mask) = (&self.problem.shape, &self.problem.mask);
        let side = |keys: Option<u32>| f64::from(keys.unwrap_or(UNBOUNDED).min(UNBOUNDED));
        let window = mask.window;
        let right = side(window.and_then(|w| w.right));
        Constants {
            q_len: f64::from(shape.q_len),
            kv_len: f64::from(shape.kv_len),
            offset: f64::from(shape.kv_len) - f64::from(shape.q_len),
            left: side(window.and_then(|w| w.left)),
            right: if mask.causal { right.min(0.0) } else { right },
        }
    }

    /// The three kernels for `heads` heads from `head` on.
    fn bind(&self, gpu: &Gpu, kernels: &Kernels, head: u32, heads: u32) -> [Step; 3] {
        let shape = &self.problem.shape;
        let (queries, keys) = (shape.q_len, shape.kv_len);
        let part = |buffer, rows, dim| rows_of(buffer, head, heads, rows * dim);
        let (q, k) = (
            part(&self.q, queries, shape.head_dim),
            part(&self.k, keys, shape.head_dim),
        );
        let (v, o) = (
            part(&self.v, keys, shape.value_dim),
            part(&self.o, queries, shape.value_dim),
        );
        let s = rows_of(&self.scores, 0, heads, queries * keys);
        let step = |pipeline: &ComputePipeline, resources: &[wgpu::BindingResource], grid| Step {
            pipeline: pipeline.clone(),
            bindings: gpu.bind(pipeline, resources),
            grid,
        };
        let Blocks { rows, columns } = kernels.blocks;
        // Workgroups for a result of `width` columns.
        let grid = |[x, y]: [u32; 2], width: u32| {
            [width / (4 * x * columns), queries / (4 * y * rows), heads]
        };
        [
            step(
                &kernels.scores,
                &[q, k, s.clone()],
                grid(SCORES_WORKGROUP, keys),
            ),
            step(
                &kernels.softmax,
                std::slice::from_ref(&s),
                [queries, heads, 1],
            ),
            step(
                &kernels.values,
                &[s, v, o],
                grid(VALUES_WORKGROUP, shape.value_dim),
            ),
        ]
    }
}

struct Constants {
    q_len: f64,
    kv_len: f64,
    offset: f64,
    left: f64,
    right: f64,
}

struct Kernels {
    blocks: Blocks,
    scores: ComputePipeline,
    softmax: ComputePipeline,
    values: ComputePipeline,
}

impl Kernels {
    fn compile(gpu: &Gpu, problem: &Problem, c: &Constants) -> Result<Self> {
        let vectors = |dim: u32| f64::from(dim / 4);
        let (scale, dims) = (f64::from(problem.scale()), problem.shape);
        let sizes = [("Q_LEN", c.q_len), ("KV_LEN", c.kv_len)];
        let with = |more: &[(&'static str, f64)]| [&sizes[..], more].concat();
        let blocks = Blocks::of(gpu.adapter.get_info().device_type);
        let products = |wgsl| blocks.expand(wgsl);
        Ok(Self {
            blocks,
            scores: gpu.pipeline(
                "naive scores",
                &products(include_str!("naive/scores.wgsl")),
                &with(&[("DIM4", vectors(dims.head_dim)), ("SCALE", scale)]),
            )?,
            softmax: gpu.pipeline(
                "naive softmax",
                include_str!("naive/softmax.wgsl"),
                &with(&[("OFFSET", c.offset), ("LEFT", c.left), ("RIGHT", c.right)]),
            )?,
            values: gpu.pipeline(
                "naive values",
                &products(include_str!("naive/values.wgsl")),
                &with(&[("DIM4", vectors(dims.value_dim))]),
            )?,
        })
    }
}

/// `heads` heads from `head` on, each of `size` f32.
fn rows_of(buffer: &Buffer, head: u32, heads: u32, size: u32) -> wgpu::BindingResource<'_> {
    let bytes = |heads: u32| u64::from(heads) * u64::from(size) * 4;
    wgpu::BindingResource::Buffer(BufferBinding {
        buffer,
        offset: bytes(head),
        size: std::num::NonZeroU64::new(bytes(heads)),
    })
}

impl Work for Naive {
    fn encode(&self, encoder: &mut CommandEncoder) {
        for step in &self.steps {
            dispatch(encoder, &step.pipeline, &step.bindings, step.grid);
        }
    }
}

impl Case for Naive {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        let shape = self.problem.shape;
        let kernels = Kernels::compile(gpu, &self.problem, &self.constants())?;
        let per_head = u64::from(shape.q_len) * u64::from(shape.kv_len) * 4;
        let (heads, at_once) = (shape.batch * shape.q_heads, self.scores.size() / per_head);
        self.steps = (0..heads)
            .step_by(at_once as usize)
            .flat_map(|head| self.bind(gpu, &kernels, head, (heads - head).min(at_once as u32)))
            .collect();
        Ok(())
    }

    fn flops(&self) -> f64 {
        let shape = &self.problem.shape;
        let tensors = self.inputs.tensors();
        let visible = |i| move |&j: &u32| reference::visible(&self.problem, &tensors, 0, 0, i, j);
        let pairs: usize = (0..shape.q_len)
            .map(|i| (0..shape.kv_len).filter(visible(i)).count())
            .sum();
        let heads = f64::from(shape.batch * shape.q_heads);
        2.0 * f64::from(shape.head_dim + shape.value_dim) * pairs as f64 * heads
    }

    fn scratch_bytes(&self) -> u64 {
        self.scores.size()
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.o]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let o = decode(Element::F32, &outputs[0]);
        check::forward(&self.problem, &self.inputs.tensors(), &o)
    }
}
