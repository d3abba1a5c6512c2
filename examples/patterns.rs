//! Draws every static pattern over a few tokens: which pairs are visible, and which blocks are visited for them.
//!
//! `cargo run --release --no-default-features --example patterns -- patterns.png`

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use wgpu_attention::problem::{BlockGrid, BlockMask, Pattern};

#[path = "support/canvas.rs"]
mod canvas;
#[path = "patterns/draw.rs"]
mod draw;
#[path = "support/font.rs"]
mod font;

/// Tokens, of queries and of keys.
const LEN: u32 = 128;
const SIDE: u32 = 16;

#[derive(Parser)]
#[command(about = "Draw every static pattern")]
struct Args {
    /// Where the picture goes.
    #[arg(default_value = "patterns.png")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let patterns = patterns();
    let grid = BlockGrid::new(SIDE, LEN, LEN);
    let masks = patterns
        .iter()
        .map(|pattern| Ok((pattern.name(), BlockMask::from_pattern(grid, pattern)?)))
        .collect::<Result<Vec<_>>>()?;
    for (name, mask) in &masks {
        println!("{name}: {mask}");
    }
    let heads = mixture();
    let names = heads.each_ref().map(Pattern::name).join("; ");
    let grid = grid.with_heads(heads.len() as u32);
    let mixture = BlockMask::from_patterns(grid, &heads)?;
    println!("a pattern per head ({names}): {mixture}");

    font::register()?;
    let head = |h: usize| draw::Panel::of_head(heads[h].name(), &mixture, h as u32);
    let singles = (masks.iter()).map(|(name, mask)| draw::Panel::new(name, mask));
    let panels: Vec<_> = singles.chain((0..heads.len()).map(head)).collect();
    draw::draw(&panels, &args.output)
}

/// Each builder once.
fn patterns() -> Vec<Pattern> {
    let documents: Vec<i32> = (0..LEN)
        .map(|token| [40, 72, 90].iter().filter(|&&end| token >= end).count() as i32)
        .collect();
    vec![
        Pattern::full(),
        Pattern::causal(),
        Pattern::prefix_lm(40),
        Pattern::document(documents.clone(), documents),
        Pattern::sliding_window(20, 4),
        Pattern::dilated_window(8, 4),
        Pattern::strided(24),
        Pattern::fixed(24, 4),
        Pattern::global([0, 1, 70]),
        Pattern::longformer(8, [0, 1, 70]),
        Pattern::big_bird(1, 1, 1, 0),
        Pattern::sinks_and_window(4, 24),
        Pattern::vertical_slash([0, 1, 30, 77], [0, 1, 2, 40, 41]),
    ]
}

/// Heads of one mask.
fn mixture() -> [Pattern; 3] {
    [
        Pattern::sliding_window(40, 0).under_causal(),
        Pattern::strided(16),
        Pattern::big_bird(0, 1, 2, 7),
    ]
}
