//! A picture of how a loss falls.

use anyhow::Result;
use plotters::prelude::*;

use crate::{canvas, font};

/// Draws the losses, step by step, on a logarithmic axis.
pub fn draw(path: &std::path::Path, losses: &[f64]) -> Result<()> {
    font::register()?;
    canvas::draw(path, (800, 500), |area| paint(area, losses))
}

fn paint(area: &canvas::Area, losses: &[f64]) -> Result<()> {
    let highest = losses.iter().fold(1e-12, |a: f64, &b| a.max(b)) * 2.0;
    let lowest = losses
        .iter()
        .fold(highest, |a: f64, &b| a.min(b))
        .max(1e-12)
        / 2.0;
    let mut chart = ChartBuilder::on(area)
        .margin(15)
        .caption("loss", (font::FAMILY, 20))
        .set_all_label_area_size(55)
        .build_cartesian_2d(0..losses.len(), (lowest..highest).log_scale())?;
    chart
        .configure_mesh()
        .label_style((font::FAMILY, 13))
        .y_label_formatter(&|y| format!("{y:.0e}"))
        .draw()?;
    chart.draw_series(LineSeries::new(losses.iter().copied().enumerate(), &BLUE))?;
    Ok(())
}
