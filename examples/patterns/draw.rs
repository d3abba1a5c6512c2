//! A panel a pattern: queries run down, keys to the right.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use wgpu_attention::problem::BlockMask;

use super::canvas::{self, Area};
use super::font::FAMILY;

/// Visible pairs of blocks that need no mask, of blocks that do, and pairs that the latter hide.
const COLOURS: [(RGBColor, &str); 3] = [
    (RGBColor(0, 114, 178), "visible, in a full block"),
    (RGBColor(213, 94, 0), "visible, in a partial block"),
    (RGBColor(222, 222, 222), "hidden, in a visited block"),
];
const COLUMNS: usize = 4;
/// Pixels of a pair.
const SCALE: u32 = 2;
const MARGIN: u32 = 16;
/// Two lines above a panel.
const TITLE: u32 = 42;
/// The meaning of the colours, below all panels.
const LEGEND: u32 = 32;

/// One head of a mask, and its name.
pub struct Panel<'a> {
    name: &'a str,
    mask: &'a BlockMask,
    head: u32,
}

impl<'a> Panel<'a> {
    pub fn new(name: &'a str, mask: &'a BlockMask) -> Self {
        let head = 0;
        Self { name, mask, head }
    }

    pub fn of_head(name: &'a str, mask: &'a BlockMask, head: u32) -> Self {
        Self { name, mask, head }
    }

    fn size(&self) -> (u32, u32) {
        let grid = self.mask.grid();
        (grid.kv_len * SCALE, grid.q_len * SCALE)
    }

    /// A mask of several heads has the density of them all, so the head's pairs are counted.
    fn title(&self) -> String {
        let grid = self.mask.grid();
        let visible = (0..grid.q_len)
            .flat_map(|i| (0..grid.kv_len).map(move |j| (i, j)))
            .filter(|&(i, j)| self.mask.sees(0, self.head, i, j));
        let all = f64::from(grid.q_len) * f64::from(grid.kv_len);
        let density = 100.0 * visible.count() as f64 / all;
        match grid.heads {
            1 => format!("density {density:.1} %"),
            _ => format!("density {density:.1} %, head {} of a mask", self.head),
        }
    }
}

/// Writes all panels, of one size, to `output`.
pub fn draw(panels: &[Panel], output: &Path) -> Result<()> {
    let (width, height) = panels.first().map(Panel::size).unwrap_or_default();
    let cell = (width + MARGIN, height + MARGIN + TITLE);
    let rows = panels.len().div_ceil(COLUMNS) as u32;
    let size = (
        cell.0 * COLUMNS as u32 + MARGIN,
        cell.1 * rows + MARGIN + LEGEND,
    );
    canvas::draw(output, size, |root| {
        for (n, one) in panels.iter().enumerate() {
            let (column, row) = ((n % COLUMNS) as u32, (n / COLUMNS) as u32);
            let corner = (MARGIN + column * cell.0, MARGIN + row * cell.1);
            panel(root, one, (corner.0 as i32, corner.1 as i32))?;
        }
        legend(root, (size.1 - LEGEND) as i32)
    })
}

fn panel(root: &Area, panel: &Panel, (x, y): (i32, i32)) -> Result<()> {
    text(root, panel.name, (x, y), 15)?;
    text(root, &panel.title(), (x, y + 18), 14)?;
    let corner = (x, y + TITLE as i32);
    let grid = panel.mask.grid();
    for i in 0..grid.q_len {
        for block in panel.mask.list(0, panel.head, i / grid.side) {
            let first = block.index * grid.side;
            for j in first..grid.kv_len.min(first + grid.side) {
                let (colour, _) = match block.tile {
                    None => COLOURS[0],
                    Some(_) if panel.mask.sees(0, panel.head, i, j) => COLOURS[1],
                    Some(_) => COLOURS[2],
                };
                let pixel = (corner.0 + (j * SCALE) as i32, corner.1 + (i * SCALE) as i32);
                square(root, pixel, SCALE as i32, colour.filled())?;
            }
        }
    }
    let (width, height) = panel.size();
    let frame = [
        (corner.0 - 1, corner.1 - 1),
        (corner.0 + width as i32, corner.1 + height as i32),
    ];
    let frame = Rectangle::new(frame, BLACK.mix(0.5).stroke_width(1));
    Ok(root.draw(&frame)?)
}

/// The lower right corner is no part of what is filled.
fn square(root: &Area, (x, y): (i32, i32), side: i32, style: ShapeStyle) -> Result<()> {
    let square = Rectangle::new([(x, y), (x + side, y + side)], style);
    Ok(root.draw(&square)?)
}

fn text(root: &Area, words: &str, at: (i32, i32), size: u32) -> Result<()> {
    let style = (FAMILY, size).into_font().color(&BLACK);
    Ok(root.draw(&Text::new(words.to_string(), at, style))?)
}

fn legend(root: &Area, y: i32) -> Result<()> {
    for (n, (colour, words)) in COLOURS.into_iter().enumerate() {
        let x = MARGIN as i32 + n as i32 * 290;
        square(root, (x, y), 14, colour.filled())?;
        text(root, words, (x + 22, y), 15)?;
    }
    Ok(())
}
