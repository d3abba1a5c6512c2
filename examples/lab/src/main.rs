use std::sync::Arc;
use std::path::Path;
use lab::{attention::Gpu, model::Model, scheme::*, train::*};
fn main() -> anyhow::Result<()> {
    let gpu = chat::device::Gpu::open(&chat::adapter::choose(None)?)?;
    let gpu = Arc::new(Gpu::new(gpu.attention, gpu.queue, gpu.info.name));
    let steps: usize = std::env::args().nth(1).unwrap().parse()?;
    let batch: usize = std::env::args().nth(2).unwrap().parse()?;
    let rate: f64 = std::env::args().nth(3).unwrap().parse()?;
    let recipe = Recipe { steps, batch, len: 256, rate, warm_up: 50, seed: 1 };
    let dir = std::env::args().nth(4).unwrap();
    let mut run = Run::open(Path::new(&dir), &recipe, || Model::new(1))?;
    let scheme = Scheme::AsTrained(if std::env::args().nth(5).is_some() { Learned::Alibi } else { Learned::Rope });
    eprintln!("{} parameters", run.model.parameters());
    run.train(&gpu, &scheme, &lab::text::train()?, &recipe)?;
    let p = &run.progress;
    println!("{} s, {} attention", p.seconds, p.attention_seconds);
    for n in (0..p.losses.len()).step_by(10) { println!("{n} {:.3}", p.losses[n]); }
    Ok(())
}
