//! A long context: exact attention within a window, in memory that grows with N and not with N².

use anyhow::Result;
use wgpu_attention::Role;
use wgpu_attention::problem::Window;
use wgpu_attention::{Element, Mask, Problem, Shape};

use crate::RUNS;
use crate::device::Gpu;
use crate::random;
use crate::timing::time;

const LEN: u32 = 8192;
const HEADS: u32 = 8;
const HEAD_DIM: u32 = 64;
/// Keys before a query that it sees.
const WINDOW: u32 = 512;

/// Times the run and says what it did not need.
pub fn run(gpu: &Gpu) -> Result<()> {
    println!(
        "2. {LEN} tokens, {HEADS} heads of {HEAD_DIM}, causal, each token sees {WINDOW} before it"
    );
    let shape = Shape::square(1, HEADS, LEN, HEAD_DIM);
    let window = Window {
        left: Some(WINDOW),
        right: None,
    };
    let problem = Problem::new(shape, Element::F32).with_mask(Mask::causal().with_window(window));
    let plan = gpu.attention.plan(&problem)?;
    print!("{plan}");
    let [q, k, v] = random::operands(&shape, Element::F32, 0);
    println!(
        "  {}",
        time(
            gpu,
            &plan,
            &[(Role::Q, &q), (Role::K, &k), (Role::V, &v)],
            RUNS
        )?
    );
    let scores = u64::from(LEN) * u64::from(LEN) * u64::from(HEADS) * 4;
    println!(
        "  never allocated: {:.0} MiB of scores\n",
        scores as f64 / f64::from(1 << 20)
    );
    Ok(())
}
