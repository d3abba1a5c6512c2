//! The map as a picture, tokens along both axes.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::canvas::{self, Area};
use crate::font::{self, FAMILY};
use crate::map::Map;

/// Pixels of one pair's cell.
const CELL: i32 = 17;
/// Pixels left of and above the cells: tokens, the axes' names, the title.
const LEFT: i32 = 124;
const TOP: i32 = 152;
/// Pixels right of the cells, for the scale, and below them.
const RIGHT: i32 = 120;
const BOTTOM: i32 = 28;
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(120, 126, 136);
/// From nothing to the largest share (ColorBrewer's Blues).
const RAMP: [(u8, u8, u8); 6] = [
    (247, 250, 253),
    (208, 224, 241),
    (148, 196, 223),
    (74, 151, 201),
    (23, 100, 171),
    (8, 40, 92),
];

/// Writes the picture to `path`, whose directory is made if it is not there.
pub fn draw(map: &Map, path: &Path) -> Result<()> {
    font::register()?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("the directory of {} cannot be made", path.display()))?;
    }
    let side = map.tokens.len() as i32 * CELL;
    let size = ((LEFT + side + RIGHT) as u32, (TOP + side + BOTTOM) as u32);
    canvas::draw(path, size, |area| paint(area, map, side))
}

fn paint(area: &Area, map: &Map, side: i32) -> Result<()> {
    write(area, &map.title, (LEFT, 26), 19, INK, HPos::Left)?;
    write(
        area,
        "key: the token looked at",
        (LEFT, 50),
        13,
        FAINT,
        HPos::Left,
    )?;
    write(area, "query", (LEFT - 10, TOP - 14), 13, FAINT, HPos::Right)?;
    tokens(area, map)?;
    cells(area, map)?;
    let frame = [(LEFT - 1, TOP - 1), (LEFT + side, TOP + side)];
    area.draw(&Rectangle::new(frame, FAINT))?;
    scale(area, map.peak(), LEFT + side + 28)
}

fn write(
    area: &Area,
    text: &str,
    at: (i32, i32),
    size: i32,
    color: RGBColor,
    x: HPos,
) -> Result<()> {
    let style = (FAMILY, size)
        .into_font()
        .color(&color)
        .pos(Pos::new(x, VPos::Center));
    Ok(area.draw_text(text, &style, at)?)
}

fn tokens(area: &Area, map: &Map) -> Result<()> {
    let upwards = (FAMILY, 13).into_font().transform(FontTransform::Rotate270);
    let upwards = upwards.color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    for (n, token) in map.tokens.iter().enumerate() {
        let middle = n as i32 * CELL + CELL / 2;
        write(area, token, (LEFT - 8, TOP + middle), 13, INK, HPos::Right)?;
        area.draw_text(token, &upwards, (LEFT + middle, TOP - 8))?;
    }
    Ok(())
}

fn cells(area: &Area, map: &Map) -> Result<()> {
    let peak = map.peak();
    for (i, row) in map.shares.iter().enumerate() {
        for (j, share) in row.iter().enumerate() {
            let (x, y) = (LEFT + j as i32 * CELL, TOP + i as i32 * CELL);
            let cell = [(x, y), (x + CELL - 2, y + CELL - 2)];
            area.draw(&Rectangle::new(cell, color(share / peak).filled()))?;
        }
    }
    Ok(())
}

/// The scale of colours beside the map.
fn scale(area: &Area, peak: f64, x: i32) -> Result<()> {
    const HEIGHT: i32 = 260;
    for y in 0..HEIGHT {
        let depth = 1.0 - f64::from(y) / f64::from(HEIGHT);
        let line = [(x, TOP + y), (x + 16, TOP + y)];
        area.draw(&PathElement::new(line, color(depth * depth)))?;
    }
    for depth in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = TOP + ((1.0 - depth) * f64::from(HEIGHT)) as i32;
        let percent = format!("{:.1} %", 100.0 * peak * depth * depth);
        write(area, &percent, (x + 24, y), 12, INK, HPos::Left)?;
    }
    write(area, "share", (x, TOP - 14), 13, FAINT, HPos::Left)
}

/// The colour of a share of the peak, by its square root, so that small shares are told apart.
fn color(share: f64) -> RGBColor {
    let depth = share.clamp(0.0, 1.0).sqrt() * (RAMP.len() - 1) as f64;
    let below = (depth as usize).min(RAMP.len() - 2);
    let (a, b, t) = (RAMP[below], RAMP[below + 1], depth - below as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + t * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}
