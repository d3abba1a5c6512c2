//! One layer of a sentence encoder (all-MiniLM-L6-v2, Apache-2.0) on three real texts, padded to one length.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use wgpu_attention::Role;
use wgpu_attention::problem::Lengths;
use wgpu_attention::{Element, Host, Problem, Shape};

use crate::RUNS;
use crate::device::Gpu;
use crate::tensors::TensorFile;
use crate::timing::time;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data");
/// A difference beyond this is no rounding: the answer is wrong.
const TOLERANCE: f64 = 1e-4;

/// q, k and v `[texts, heads, tokens, channels]` of the layer, and what the model made of them.
pub struct Layer {
    file: TensorFile,
    pub shape: Shape,
    /// Tokens of each text; what follows is padding.
    pub lens: Vec<u32>,
    pub tokens: Vec<Vec<String>>,
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    output: Vec<f64>,
}

#[derive(Deserialize)]
struct Texts {
    tokens: Vec<Vec<String>>,
}

impl Layer {
    pub fn load() -> Result<Self> {
        let file = TensorFile::read(&Path::new(DATA).join("layer2.safetensors"))?;
        let texts: Texts =
            serde_json::from_slice(&std::fs::read(Path::new(DATA).join("layer2.json"))?)?;
        let &[batch, heads, len, dim] = file.expect("q")?.shape else {
            anyhow::bail!("q must have four axes");
        };
        let [batch, heads, len, dim] = [batch, heads, len, dim].map(|n| n as u32);
        let values = |name| file.expect(name)?.numbers();
        Ok(Self {
            shape: Shape {
                batch,
                ..Shape::square(1, heads, len, dim)
            },
            lens: values("kv_lens")?.into_iter().map(|x| x as u32).collect(),
            tokens: texts.tokens,
            q: values("q")?,
            k: values("k")?,
            output: values("model_output")?,
            file,
        })
    }

    /// A problem that hides the padding.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.shape, Element::F32);
        problem.mask.kv_lens = Lengths::Host(self.lens.clone());
        problem
    }

    /// The largest difference of o to the model's own output, over the tokens that are there.
    fn difference(&self, o: &[f32]) -> f64 {
        let s = self.shape;
        let (row, text) = (
            s.value_dim as usize,
            (s.q_heads * s.q_len * s.value_dim) as usize,
        );
        let is_live = |n: usize| (n / row % s.q_len as usize) < self.lens[n / text] as usize;
        let pairs = o.iter().zip(&self.output).enumerate();
        pairs
            .filter(|&(n, _)| is_live(n))
            .map(|(_, (&got, &want))| (f64::from(got) - want).abs())
            .fold(0.0, f64::max)
    }
}

/// Runs and times the layer, holds it against the model's own output, and returns lse `[texts, heads, tokens]`.
pub fn run(gpu: &Gpu, layer: &Layer) -> Result<Vec<f32>> {
    println!(
        "1. all-MiniLM-L6-v2, layer 2, on texts of {:?} tokens",
        layer.lens
    );
    let plan = gpu.attention.plan(&layer.problem())?;
    print!("{plan}");
    let bytes = |name| anyhow::Ok(layer.file.expect(name)?.bytes);
    let (q, k, v) = (bytes("q")?, bytes("k")?, bytes("v")?);
    let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &Host::new(q, k, v)))?;
    println!(
        "  {}",
        time(
            gpu,
            &plan,
            &[(Role::Q, q), (Role::K, k), (Role::V, v)],
            RUNS
        )?
    );

    let o: Vec<f32> = bytemuck::pod_collect_to_vec(&outputs.o);
    let difference = layer.difference(&o);
    println!("  largest difference to the model's own output: {difference:.1e}\n");
    ensure!(
        difference <= TOLERANCE,
        "this adapter computes a wrong answer; please report it"
    );
    Some(outputs.lse)
        .filter(|lse| lse.len() as u64 == layer.shape.rows())
        .context("lse is missing")
}
