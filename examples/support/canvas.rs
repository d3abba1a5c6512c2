//! A picture in memory that becomes a PNG file. The encoders that plotters brings are those of three formats, and take
//! longer to compile than plotters itself.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

/// What is drawn on.
pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Lets `paint` draw on a white ground of so many pixels, and writes the picture to `path`.
pub fn draw(
    path: &Path,
    (width, height): (u32, u32),
    paint: impl FnOnce(&Area) -> Result<()>,
) -> Result<()> {
    let mut pixels = vec![u8::MAX; width as usize * height as usize * 3];
    paint(&BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area())
        .context("the picture could not be drawn")?;
    write(path, (width, height), &pixels)
        .with_context(|| format!("{} cannot be written; check the path", path.display()))
}

fn write(path: &Path, (width, height): (u32, u32), pixels: &[u8]) -> Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    // Dropping it would hide an error.
    Ok(writer.finish()?)
}
