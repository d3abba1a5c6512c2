//! Few queries over a cache: at equal distances, in pages or in a ring, of any storage.

use anyhow::Result;
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::problem::{KvAddress, Pages, Problem, Shape};
use wgpu_attention::quantize::{dequantize, quantize};
use wgpu_attention::{Call, Element, Operands, Plan, PlanOptions, Role};

use crate::case::{Case, Row};
use crate::check::{self, Accuracy};
use crate::forward::strategy;
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

struct Cached {
    problem: Problem,
    /// The rows that the cache holds, as one plain problem over all of them: their order changes nothing.
    plain: Problem,
    choice: PlanOptions,
    plan: Plan,
    inputs: Inputs,
    /// q, k, v, o, lse and the page table.
    buffers: [Buffer; 6],
    call: Option<Call>,
}

/// The case of a row of one query whose params may ask for `splits=n` or `prefill`.
pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let problem = row.problem.clone();
    let plain = plain(&problem);
    let choice = choice(row)?;
    let plan = gpu.attention.plan_with(&problem, &choice)?;
    let mut inputs = Inputs::random(&plain);
    let shape = problem.shape;
    let o = problem
        .o
        .bytes([shape.batch, shape.q_heads, shape.q_len], shape.value_dim);
    let table = match problem.kv_address {
        KvAddress::Paged(pages) => (0..pages.per_sequence).map(|n| page(n, &pages)).collect(),
        _ => vec![0],
    };
    let k = stored(&problem, problem.k.element, &mut inputs.k, shape.head_dim)?;
    let v = stored(&problem, problem.v.element, &mut inputs.v, shape.value_dim)?;
    Ok(Box::new(Cached {
        buffers: [
            gpu.upload("q", &encode(problem.q.element, &inputs.q)),
            gpu.upload("k", &k),
            gpu.upload("v", &v),
            gpu.buffer("o", o),
            gpu.buffer("lse", shape.rows() * 4),
            gpu.upload("page table", bytemuck::cast_slice(&table)),
        ],
        call: None,
        problem,
        plain,
        choice,
        plan,
        inputs,
    }))
}

fn choice(row: &Row) -> Result<PlanOptions> {
    let choice = PlanOptions::default().with_strategy(strategy(row.strategy)?);
    let splits = row
        .params
        .split(' ')
        .find_map(|word| word.strip_prefix("splits="));
    let choice = match splits {
        Some(splits) => choice.with_splits(splits.parse::<u32>()?),
        None => choice,
    };
    Ok(match row.params.contains("prefill") {
        true => choice.with_decode(false),
        false => choice.with_decode(true),
    })
}

fn plain(problem: &Problem) -> Problem {
    let rows = match problem.kv_address {
        KvAddress::Ring(ring) => ring.first + ring.len,
        _ => problem.shape.kv_len,
    };
    let shape = Shape {
        kv_len: rows,
        ..problem.shape
    };
    let mut plain = Problem::new(shape, problem.q.element);
    let floats = |element| Element::ALL.contains(&element);
    if floats(problem.k.element) && floats(problem.v.element) {
        (plain.k.element, plain.v.element) = (problem.k.element, problem.v.element);
    }
    plain
}

/// The bytes of rows as the cache stores them; `values` become what these say.
fn stored(problem: &Problem, element: Element, values: &mut Vec<f64>, dim: u32) -> Result<Vec<u8>> {
    if Element::ALL.contains(&element) {
        return Ok(encode(element, &placed(problem, values, dim)));
    }
    let rows: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    let words = quantize(element, &rows, dim)?;
    let read = dequantize(element, &words, dim)?;
    *values = read.into_iter().map(f64::from).collect();
    Ok(bytemuck::cast_slice(&words).to_vec())
}

/// Neighbouring pages lie apart.
fn page(n: u32, pages: &Pages) -> u32 {
    n * 7 % pages.pages
}

/// Rows `[Hkv, Nk, dim]` of one batch where the address has them.
fn placed(problem: &Problem, rows: &[f64], dim: u32) -> Vec<f64> {
    let KvAddress::Paged(pages) = problem.kv_address else {
        return rows.to_vec();
    };
    let (heads, len) = (problem.shape.kv_heads, problem.shape.kv_len);
    let dim = dim as usize;
    let mut placed = vec![0.0; (pages.pages * heads * pages.page_len) as usize * dim];
    for h in 0..heads {
        for j in 0..len {
            let block = page(j / pages.page_len, &pages) * heads + h;
            let to = (block * pages.page_len + j % pages.page_len) as usize * dim;
            let from = (h * len + j) as usize * dim;
            placed[to..to + dim].copy_from_slice(&rows[from..from + dim]);
        }
    }
    placed
}

impl Work for Cached {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode(encoder);
        }
    }
}

impl Case for Cached {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        self.plan = gpu.attention.plan_with(&self.problem, &self.choice)?;
        let [q, k, v, o, lse, table] = &self.buffers;
        let mut operands = Operands::new(q, k, v, o, lse);
        if let KvAddress::Paged(_) = self.problem.kv_address {
            operands = operands.with(Role::PageTable, table);
        }
        self.call = Some(pollster::block_on(
            gpu.attention.prepare(&self.plan, &operands),
        )?);
        Ok(())
    }

    fn flops(&self) -> f64 {
        self.plan.flops() as f64
    }

    fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    /// Keys and values, once.
    fn read_bytes(&self) -> Option<u64> {
        Some(self.buffers[1].size() + self.buffers[2].size())
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.buffers[3], &self.buffers[4]]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let o = decode(self.problem.o.element, &outputs[0]);
        check::forward(&self.plain, &self.inputs.tensors(), &o)
    }
}
