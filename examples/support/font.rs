//! A font for plotters that needs none on the machine.

use anyhow::{Result, anyhow};
use plotters::style::{FontStyle, register_font};

/// The family to name in a plot after [`register`]: Hack, a fixed-width face with Greek letters and arrows.
pub const FAMILY: &str = "Hack";

/// Makes [`FAMILY`] known to plotters; to be called once, before the first text is drawn.
pub fn register() -> Result<()> {
    register_font(
        FAMILY,
        FontStyle::Normal,
        epaint_default_fonts::HACK_REGULAR,
    )
    .map_err(|_| anyhow!("the font {FAMILY} could not be read"))
}
