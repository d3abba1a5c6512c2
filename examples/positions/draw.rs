//! The three panels of the picture. Lengths and distances are drawn by their base-2 logarithm.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use wgpu_attention::problem::alibi_slopes;

use super::Study;
use super::canvas::{self, Area};
use super::font::FAMILY;

type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Colours that people with colour blindness tell apart (Okabe and Ito), and a grey.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 0, 0),
    RGBColor(175, 175, 175),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(190, 170, 20),
];
/// Points of a line.
type Curve = Vec<(f64, f64)>;

const SIZE: (u32, u32) = (1300, 1700);

/// Writes the picture to `output`.
pub fn draw(study: &Study, output: &Path) -> Result<()> {
    canvas::draw(output, SIZE, |root| {
        let panels = root.split_evenly((3, 1));
        wavelengths(study, &panels[0])?;
        decay(study, &panels[1])?;
        penalties(study, &panels[2])
    })
}

fn wavelengths(study: &Study, area: &Area) -> Result<()> {
    let curves: Vec<Curve> = study
        .schemes
        .iter()
        .map(|scheme| {
            let log = |(pair, length): (f64, f64)| (pair, length.log2());
            scheme.wavelengths().map(log).collect()
        })
        .collect();
    let (pairs, longest) = curves
        .iter()
        .flatten()
        .fold((0.0f64, 0.0f64), |(x, y), p| (x.max(p.0), y.max(p.1)));
    let title = "Wavelength of each rotary pair";
    let mut chart = panel(area, title, 0.0..pairs.max(1.0), 2.0..longest + 0.5)?;
    let axes = Axes {
        x: "pair",
        y: "positions per turn",
        x_label: &|pair| format!("{pair:.0}"),
        y_label: &|log| tokens(log.exp2()),
    };
    axes.draw(&mut chart)?;
    for (name, length) in [("trained", study.original), ("target", study.target)] {
        let y = f64::from(length).log2();
        level(
            &mut chart,
            pairs.max(1.0),
            y,
            &format!("{name} length {}", tokens(y.exp2())),
        )?;
    }
    for (i, (scheme, curve)) in study.schemes.iter().zip(curves).enumerate() {
        line(&mut chart, curve, i, width(i), &scheme.name)?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

fn decay(study: &Study, area: &Area) -> Result<()> {
    let far = f64::from(study.target).log2();
    let curve = |scheme: &super::Scheme| -> Curve {
        let points = distances(far).map(|(log, around)| {
            let mean = around.iter().map(|&x| scheme.bound(x)).sum::<f64>() / around.len() as f64;
            (log, mean)
        });
        points.collect()
    };
    let curves: Vec<_> = study.schemes.iter().map(curve).collect();
    let highest = curves.iter().flatten().fold(0.0f64, |y, p| y.max(p.1));
    let title =
        "How large a score can be at a distance (bound of RoFormer, with the attention factor)";
    let mut chart = panel(area, title, 0.0..far, 0.0..highest * 1.05)?;
    let axes = Axes {
        x: "distance of query and key",
        y: "bound, plain RoPE at 0 = 1",
        x_label: &|log| tokens(log.exp2()),
        y_label: &|bound| format!("{bound:.1}"),
    };
    axes.draw(&mut chart)?;
    for (i, (scheme, curve)) in study.schemes.iter().zip(curves).enumerate() {
        line(&mut chart, curve, i, width(i), &scheme.name)?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

/// The first two schemes are wide, so that they show under a later line that runs with them.
fn width(index: usize) -> u32 {
    [6, 4].get(index).copied().unwrap_or(2)
}

/// Distances up to 2^`far`, evenly in the logarithm, each with the neighbours that a point is the mean of: the bound
/// swings with the fast pairs.
fn distances(far: f64) -> impl Iterator<Item = (f64, Vec<f64>)> {
    const POINTS: u32 = 240;
    (0..=POINTS).map(move |i| {
        let log = far * f64::from(i) / f64::from(POINTS);
        let around = (-8..8).map(|k| (log + f64::from(k) * 0.03).exp2().round());
        (log, around.collect())
    })
}

fn penalties(study: &Study, area: &Area) -> Result<()> {
    let far = f64::from(study.target).log2();
    let lowest = -20.0;
    let title = format!("ALiBi: added to the score, {} heads", study.heads);
    let mut chart = panel(area, &title, 0.0..far, lowest..0.0)?;
    let axes = Axes {
        x: "distance of query and key",
        y: "bias",
        x_label: &|log| tokens(log.exp2()),
        y_label: &|bias| format!("{bias:.0}"),
    };
    axes.draw(&mut chart)?;
    let slopes = alibi_slopes(study.heads);
    // A picture holds some eight lines: of more heads one in so many.
    let every = slopes.len().div_ceil(8).max(1);
    for (i, (head, &slope)) in slopes.iter().enumerate().step_by(every).enumerate() {
        let bias = |step: u32| {
            let log = far * f64::from(step) / 2000.0;
            (log, -f64::from(slope) * log.exp2())
        };
        let curve = (0..=2000).map(bias).filter(|point| point.1 >= lowest);
        line(
            &mut chart,
            curve.collect(),
            i,
            2,
            &format!("head {head}, slope {slope:.5}"),
        )?;
    }
    legend(&mut chart, SeriesLabelPosition::LowerLeft)
}

fn panel<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    x: Range<f64>,
    y: Range<f64>,
) -> Result<Chart<'a, 'b>> {
    let chart = ChartBuilder::on(area)
        .caption(title, (FAMILY, 22))
        .margin(14)
        .margin_right(40)
        .x_label_area_size(48)
        .y_label_area_size(86)
        .build_cartesian_2d(x, y)?;
    Ok(chart)
}

/// What stands beside a panel.
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    x_label: &'a dyn Fn(&f64) -> String,
    y_label: &'a dyn Fn(&f64) -> String,
}

impl Axes<'_> {
    fn draw(&self, chart: &mut Chart) -> Result<()> {
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .x_labels(18)
            .y_labels(10)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&self.x_label)
            .y_label_formatter(&self.y_label)
            .label_style((FAMILY, 16))
            .axis_desc_style((FAMILY, 17))
            .draw()?;
        Ok(())
    }
}

fn line(chart: &mut Chart, points: Curve, index: usize, width: u32, name: &str) -> Result<()> {
    let colour = COLOURS[index % COLOURS.len()];
    let style = colour.stroke_width(width);
    chart
        .draw_series(LineSeries::new(points, style))?
        .label(name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], style));
    Ok(())
}

/// A dotted line across the panel with its name above the right end.
fn level(chart: &mut Chart, right: f64, y: f64, name: &str) -> Result<()> {
    let ends = [(0.0, y), (right, y)];
    let dots = DashedLineSeries::new(ends, 6, 5, BLACK.stroke_width(1));
    chart.draw_series(dots)?;
    let style = (FAMILY, 15).into_text_style(chart.plotting_area());
    let pos = plotters::style::text_anchor::Pos::new(
        plotters::style::text_anchor::HPos::Right,
        plotters::style::text_anchor::VPos::Bottom,
    );
    let text = Text::new(name.to_string(), (right, y), style.pos(pos));
    chart.draw_series([text])?;
    Ok(())
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Result<()> {
    chart
        .configure_series_labels()
        .position(position)
        .margin(12)
        .legend_area_size(34)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FAMILY, 15))
        .draw()?;
    Ok(())
}

/// 512, 8k, 1M.
fn tokens(count: f64) -> String {
    let (k, m) = (count / 1024.0, count / 1_048_576.0);
    let short = |x: f64, unit| format!("{}{unit}", (x * 10.0).round() / 10.0);
    match count {
        _ if m >= 1.0 => short(m, "M"),
        _ if k >= 1.0 => short(k, "k"),
        _ => short(count, ""),
    }
}
