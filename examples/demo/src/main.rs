//! What the library does, on whatever adapter is here: attention of a real model against that model's own output, a
//! long context whose score matrix is never made, and a picture of where the tokens look.
//!
//! `cargo run --release -p demo [PICTURE.png]` (default `out/attention.png`).

#[path = "../../support/calls.rs"]
mod calls;
#[path = "../../support/canvas.rs"]
mod canvas;
#[path = "../../support/device.rs"]
mod device;
#[path = "../../support/font.rs"]
mod font;
mod long;
mod map;
mod model;
mod picture;
#[path = "../../support/random.rs"]
mod random;
#[path = "../../support/tensors.rs"]
mod tensors;
#[path = "../../support/timing.rs"]
mod timing;

use std::path::PathBuf;

use anyhow::{Context, Result};

use device::{Gpu, NO_ADAPTER, adapters};
use map::Map;
use model::Layer;

/// Runs that are timed, after the warm-ups.
const RUNS: usize = 7;
/// The text and the head in the picture.
const TEXT: usize = 1;
const HEAD: usize = 3;

fn main() -> Result<()> {
    let picture = std::env::args_os()
        .nth(1)
        .map_or("out/attention.png".into(), PathBuf::from);
    let gpu = Gpu::open(adapters().first().context(NO_ADAPTER)?)?;
    let info = &gpu.info;
    println!(
        "adapter: {}, {} {}\n",
        info.name, info.driver, info.driver_info
    );

    let layer = Layer::load()?;
    let lse = model::run(&gpu, &layer)?;
    long::run(&gpu)?;

    let map = Map::new(&layer, &lse, TEXT, HEAD);
    picture::draw(&map, &picture)?;
    println!(
        "where each token looks (text {TEXT}, head {HEAD}): {}",
        picture.display()
    );
    Ok(())
}
