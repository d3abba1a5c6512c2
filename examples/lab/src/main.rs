//! `lab COMMAND`, see `--help`: how far models go beyond the context they were trained for.
//!
//! Tables go to the standard output, progress to the standard error. Exit status 0: done; 2: a bad command line; 1: any
//! other error, one sentence.

mod cli;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lab::attention::Gpu;
use lab::kept::{Kept, Story, write_json};
use lab::measure::Bits;
use lab::model::{Model, TRAINED};
use lab::scheme::{Learned, Scheme};
use lab::train::{Recipe, Run};
use lab::zero_shot::Factors;
use lab::{approximate, fine_tune, passkey, real, spread, text, zero_shot};

use cli::{Command, Lab};

/// Windows of the trained context in which a model is measured after training.
const WINDOWS: usize = 64;

fn main() -> ExitCode {
    match run(&Lab::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            eprintln!(
                "error: {}",
                message.split_whitespace().collect::<Vec<_>>().join(" ")
            );
            ExitCode::FAILURE
        }
    }
}

fn run(lab: &Lab) -> Result<()> {
    let out = &lab.out;
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let gpu = || -> Result<Arc<Gpu>> {
        let adapter = chat::adapter::choose(lab.adapter.as_deref())?;
        let gpu = chat::device::Gpu::open(&adapter)?;
        Ok(Arc::new(Gpu::new(gpu.attention, gpu.queue, gpu.info.name)))
    };
    match &lab.command {
        Command::Train(asked) => train(&gpu()?, asked, out),
        Command::ZeroShot(asked) => zero_shot(gpu, asked, lab),
        Command::FineTune(asked) => {
            let kept = Kept::read(&weights(lab), Learned::Rope)?;
            let asked = fine_tune::Asked {
                kept: &kept,
                recipe: Recipe {
                    steps: asked.steps,
                    batch: 2,
                    len: asked.len,
                    rate: 0.001,
                    warm_up: 10,
                    seed: 1,
                },
                bytes: asked.bytes,
                folder: &out.join("fine-tune"),
            };
            let record = fine_tune::tune(&gpu()?, &asked)?;
            print!("{}", record.table());
            record.write(&out.join("fine-tune.json"), out)
        }
        Command::Approximate(asked) => {
            let kept = Kept::read(&weights(lab), asked.position)?;
            let record = approximate::measure(&gpu()?, &kept, asked.len, asked.bytes)?;
            print!("{}", record.table());
            record.write(&out.join("approximate.json"), out)
        }
        Command::Spread(asked) => {
            let spread = spread::read(&asked.folders)?;
            print!("{}", spread.table());
            spread.write(&out.join("spread.json"), out)
        }
        Command::Perplexity(asked) => {
            let real = real::Real::read(&asked.model)?;
            let path = out.join("perplexity.json");
            let record = real::perplexity(&gpu()?, &real, &asked.lengths, &asked.schemes, &path)?;
            print!("{}", record.table());
            Ok(())
        }
        Command::Passkey(asked) => {
            let real = real::Real::read(&asked.model)?;
            let found = passkey::measure(
                &gpu()?,
                &real,
                &asked.scheme,
                &asked.lengths,
                asked.depths,
                asked.tries,
            )?;
            print!("{}", found.table());
            found.write(out)
        }
    }
}

fn weights(lab: &Lab) -> PathBuf {
    let repository = || Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
    lab.weights.clone().unwrap_or_else(repository)
}

fn train(gpu: &Arc<Gpu>, asked: &cli::Train, out: &Path) -> Result<()> {
    let recipe = Recipe {
        steps: asked.steps,
        batch: asked.batch,
        len: TRAINED,
        rate: 0.003,
        warm_up: 50,
        seed: asked.seed,
    };
    let name = asked.position.name();
    let folder = out.join(format!("train-{name}-{}", asked.seed));
    let mut run = Run::open(&folder, &recipe, || Model::new(asked.seed))?;
    let scheme = Scheme::AsTrained(asked.position);
    run.train(gpu, &scheme, &text::train()?, &recipe)?;
    let held_out = text::held_out()?;
    let windows = text::windows(&held_out, TRAINED, WINDOWS)?;
    let bits = Bits::of(&run.model, &*scheme.attend(gpu, TRAINED), &windows)?.mean();
    let progress = run.progress;
    println!(
        "{name}: {bits:.3} bits per byte held out; {} steps in {:.0} s, of these {:.0} % in attention",
        recipe.steps,
        progress.seconds,
        100.0 * progress.attention_seconds / progress.seconds.max(1e-9)
    );
    let kept = Kept {
        model: run.model,
        story: Story {
            command: format!(
                "lab train --position {name} --seed {} --steps {} --batch {}",
                asked.seed, asked.steps, asked.batch
            ),
            adapter: gpu.name.clone(),
            position: asked.position,
            recipe,
            seconds: progress.seconds,
            attention_seconds: progress.attention_seconds,
            held_out: bits,
            losses: progress
                .losses
                .iter()
                .map(|x| (x * 1e4).round() / 1e4)
                .collect(),
        },
    };
    println!("{}", kept.write(out)?.display());
    Ok(())
}

fn zero_shot(gpu: impl Fn() -> Result<Arc<Gpu>>, asked: &cli::ZeroShot, lab: &Lab) -> Result<()> {
    ensure!(
        asked.longest >= TRAINED,
        "--longest is {}; give at least {TRAINED}, the trained context",
        asked.longest
    );
    let folder = weights(lab);
    let models = [Learned::Rope, Learned::Alibi].map(|position| Kept::read(&folder, position));
    let [rope, alibi] = models;
    let models = [rope?, alibi?];
    let text = match &asked.text {
        Some(path) => {
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?
        }
        None => text::held_out()?,
    };
    let lengths: Vec<usize> = std::iter::successors(Some(TRAINED), |len| Some(len * 2))
        .take_while(|&len| len <= asked.longest)
        .collect();
    let known = std::fs::read_to_string(folder.join("longrope.json"));
    let longrope: Factors = match known {
        Ok(text) if !asked.search => serde_json::from_str(&text).with_context(|| {
            format!(
                "longrope.json of {} is damaged; give --search",
                folder.display()
            )
        })?,
        _ => Factors::new(),
    };
    let asked = zero_shot::Asked {
        models: &models,
        text: &text,
        lengths: &lengths,
        bytes: asked.bytes,
        longrope,
    };
    let record = zero_shot::measure(&gpu()?, asked)?;
    print!("{}", record.table());
    write_json(&lab.out.join("longrope.json"), &record.longrope)?;
    record.write(&lab.out.join("zero-shot.json"), &lab.out)
}
