//! Draws what each way of extending a model's context does to its positions: every pair's wavelength, how fast a
//! score can fade with distance, and ALiBi's penalties.
//!
//! `cargo run --release --no-default-features --example positions -- config.json 131072`

use std::f64::consts::TAU;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use wgpu_attention::problem::position::{Llama3, RopeKind, Rotary, XPos, Yarn};

#[path = "support/canvas.rs"]
mod canvas;
#[path = "positions/draw.rs"]
mod draw;
#[path = "support/font.rs"]
mod font;

#[derive(Parser)]
#[command(about = "Draw a model's position schemes at a target context length")]
struct Args {
    /// A model's config.json, in Hugging Face's form.
    config: PathBuf,
    /// Tokens that the context is to hold.
    #[arg(value_parser = clap::value_parser!(u32).range(64..))]
    target: u32,
    /// Where the picture goes.
    #[arg(default_value = "positions.png")]
    output: PathBuf,
}

/// One way to place positions, with what the picture needs of it.
pub struct Scheme {
    pub name: String,
    /// θ_i, radians a position.
    inv_freq: Vec<f64>,
    /// m².
    gain: f64,
    xpos: Option<XPos>,
}

impl Scheme {
    fn new(name: impl Into<String>, rotary: &Rotary, length: u32) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            inv_freq: rotary.inv_freq(length)?,
            gain: rotary.attention_factor().powi(2),
            xpos: rotary.xpos,
        })
    }

    /// Positions of one full turn, for each pair that rotates.
    pub fn wavelengths(&self) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.inv_freq.iter().enumerate();
        let rotating = pairs.filter(|(_, theta)| **theta > 0.0);
        rotating.map(|(i, theta)| (i as f64, TAU / theta))
    }

    /// The bound on a score's size at a distance, relative to distance 0 of plain RoPE: the mean of
    /// |Σ_{i<j} e^{√−1·Δ·θ_i}| over j (arXiv 2104.09864, section 3.4.3), with m² and xPos's fading in the sum.
    pub fn bound(&self, distance: f64) -> f64 {
        let pairs = self.inv_freq.len() as f64;
        let (mut real, mut imaginary, mut total) = (0.0, 0.0, 0.0);
        for (i, theta) in self.inv_freq.iter().enumerate() {
            let zeta = (i as f64 / pairs + 0.4) / 1.4;
            let fading = self
                .xpos
                .map_or(1.0, |xpos| zeta.powf(distance / xpos.scale_base));
            let (sin, cos) = (distance * theta).sin_cos();
            real += fading * cos;
            imaginary += fading * sin;
            total += f64::hypot(real, imaginary);
        }
        self.gain * total / (pairs * (pairs + 1.0) / 2.0)
    }
}

/// What the picture shows.
pub struct Study {
    pub schemes: Vec<Scheme>,
    /// Tokens the model was trained for.
    pub original: u32,
    pub target: u32,
    pub heads: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let json = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read {}", args.config.display()))?;
    let study = study(&json, args.target)?;
    font::register()?;
    draw::draw(&study, &args.output)?;
    println!(
        "{} schemes from {} to {} tokens: {}",
        study.schemes.len(),
        study.original,
        study.target,
        args.output.display()
    );
    Ok(())
}

fn study(json: &str, target: u32) -> Result<Study> {
    let model = Rotary::from_hf_config(json)?;
    let config: serde_json::Value = serde_json::from_str(json)?;
    // A multimodal model's config describes its language model apart.
    let part = match &config["text_config"] {
        text if text.is_object() && config["hidden_size"].is_null() => text,
        _ => &config,
    };
    let count = |name: &str| part[name].as_u64().and_then(|x| u32::try_from(x).ok());
    let original = original(&model.kind)
        .or(count("max_position_embeddings"))
        .filter(|&n| n > 0)
        .context("config field max_position_embeddings is missing or no length; it is the training length")?;
    Ok(Study {
        schemes: schemes(&model, original, target)?,
        original,
        target,
        heads: count("num_attention_heads").unwrap_or(8),
    })
}

/// The training length that a kind states.
fn original(kind: &RopeKind) -> Option<u32> {
    match kind {
        RopeKind::DynamicNtk { original, .. } => Some(*original),
        RopeKind::Yarn(yarn) => Some(yarn.original),
        RopeKind::LongRope(long) => Some(long.original),
        RopeKind::Llama3(llama) => Some(llama.original),
        _ => None,
    }
}

/// The model's own scheme, then each other one stretching plain RoPE from the original length to the target.
fn schemes(model: &Rotary, original: u32, target: u32) -> Result<Vec<Scheme>> {
    let factor = (f64::from(target) / f64::from(original)).max(1.0);
    let yarn = Yarn::new(factor, original);
    let llama3 = Llama3::new(factor, original);
    let fraction = 0.25;
    let kinds = [
        ("plain RoPE", RopeKind::Default),
        ("linear (PI)", RopeKind::Linear { factor }),
        ("NTK-aware", RopeKind::NtkAware { factor }),
        ("dynamic NTK", RopeKind::DynamicNtk { factor, original }),
        ("YaRN", RopeKind::Yarn(yarn)),
        ("Llama 3", RopeKind::Llama3(llama3)),
        (
            "proportional 1/4",
            RopeKind::Proportional {
                factor: 1.0,
                fraction,
            },
        ),
    ];
    let own = format!("this model ({})", model.kind.name());
    let mut schemes = vec![Scheme::new(own, model, target)?];
    for (name, kind) in kinds {
        let rotary = model.clone().with_kind(kind);
        schemes.push(Scheme::new(name, &rotary, target)?);
    }
    let xpos = model
        .clone()
        .with_kind(RopeKind::Default)
        .with_xpos(XPos::new(0));
    schemes.push(Scheme::new("xPos", &xpos, target)?);
    Ok(schemes)
}
