//! Curves as SVG.

use std::path::Path;

use anyhow::{Context, Result};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 56.0;
const RIGHT: f64 = 560.0;
const BOTTOM: f64 = 350.0;
const INK: &str = "#28323c";
const FAINT: &str = "#8a929c";
/// Colour-blind safe (Okabe and Ito), then the same dashed.
const COLORS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000",
];

/// One line of a picture.
pub struct Series {
    pub name: String,
    /// x and y, x above 0.
    pub points: Vec<(f64, f64)>,
    /// x, and from where to where a bar stands there.
    pub bars: Vec<(f64, f64, f64)>,
}

impl Series {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            points: Vec::new(),
            bars: Vec::new(),
        }
    }
}

/// A picture of some curves: x by powers of two, y from `least` to `most`; what is above is drawn at the edge, whose number says so.
pub struct Picture {
    pub title: String,
    pub below: String,
    pub x: String,
    pub least: f64,
    pub most: f64,
    /// A vertical line at this x.
    pub mark: Option<f64>,
    pub series: Vec<Series>,
}

impl Picture {
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.svg())
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    pub fn svg(&self) -> String {
        let all = self
            .series
            .iter()
            .flat_map(|s| &s.points)
            .map(|p| p.0.log2());
        let (low, high) = all.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        let x_at = |x: f64| LEFT + (RIGHT - LEFT) * (x.log2() - low) / (high - low).max(1e-9);
        let y_at = |y: f64| {
            let part = (y.min(self.most) - self.least) / (self.most - self.least);
            BOTTOM - (BOTTOM - TOP) * part
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"{INK}\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"14\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>\n\
             <text x=\"14\" y=\"40\" fill=\"{FAINT}\">{}</text>\n",
            self.title, self.below
        );
        let mut line = |text: String| svg += &(text + "\n");
        let digits = if self.most - self.least < 1.0 { 2 } else { 1 };
        let mut all = self.series.iter().flat_map(|s| &s.points);
        let beyond = all.any(|p| p.1 > self.most);
        for n in 0..=5 {
            let value = self.least + (self.most - self.least) * f64::from(n) / 5.0;
            let y = y_at(value);
            let sign = if n == 5 && beyond { "≥ " } else { "" };
            line(format!(
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#e3e6ea\"/>"
            ));
            line(format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{FAINT}\">{sign}{value:.digits$}</text>",
                LEFT - 8.0,
                y + 4.0
            ));
        }
        for power in low.ceil() as i32..=high.floor() as i32 {
            let x = x_at(2f64.powi(power));
            let text = if power < 0 {
                format!("1/{}", 2u64.pow(power.unsigned_abs()))
            } else {
                2u64.pow(power.unsigned_abs()).to_string()
            };
            line(format!(
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{FAINT}\">{text}</text>",
                BOTTOM + 18.0
            ));
        }
        line(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 38.0,
            self.x
        ));
        if let Some(mark) = self.mark {
            let x = x_at(mark);
            line(format!(
                "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"{FAINT}\" stroke-dasharray=\"2 3\"/>"
            ));
        }
        for (n, series) in self.series.iter().enumerate() {
            let color = COLORS[n % COLORS.len()];
            let dash = if n < COLORS.len() {
                ""
            } else {
                " stroke-dasharray=\"6 3\""
            };
            for &(x, least, most) in &series.bars {
                line(format!(
                    "<path d=\"M{:.1} {:.1}V{:.1}\" stroke=\"{color}\" stroke-width=\"6\" stroke-opacity=\"0.35\"/>",
                    x_at(x),
                    y_at(least),
                    y_at(most)
                ));
            }
            let points = series.points.iter().map(|&(x, y)| (x_at(x), y_at(y)));
            let path: Vec<_> = points
                .clone()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            line(format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"{dash}/>",
                path.join(" ")
            ));
            for (x, y) in points {
                line(format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"
                ));
            }
            let y = TOP + 8.0 + 20.0 * n as f64;
            let from = RIGHT + 16.0;
            line(format!(
                "<path d=\"M{from} {}h20\" stroke=\"{color}\" stroke-width=\"3\"{dash}/>",
                y - 4.0
            ));
            line(format!(
                "<text x=\"{}\" y=\"{y}\">{}</text>",
                from + 26.0,
                series.name
            ));
        }
        svg + "</svg>\n"
    }
}
