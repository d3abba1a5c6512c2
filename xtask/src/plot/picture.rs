//! The plot as SVG.

use super::{DENSITIES, RECORDS, WAYS};

/// Where the panels begin, their widths, and the values at their right ends.
const SHARES: Axis = Axis {
    x: 170.0,
    width: 260.0,
    most: 0.5,
};
const RATIOS: Axis = Axis {
    x: 570.0,
    width: 250.0,
    most: 0.7,
};
const TOP: f64 = 76.0;
/// Of the three bars of a machine, and of one.
const GROUP: f64 = 66.0;
const BAR: f64 = 15.0;
/// Between the rows of dots.
const STEP: f64 = 50.0;
const INK: &str = "#28323c";
const FAINT: &str = "#8a929c";
const WAY_COLORS: [&str; 3] = ["#1764ab", "#94c4df", "#c9ced4"];
/// Colour-blind safe (Okabe and Ito).
const MACHINE_COLORS: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];

struct Axis {
    x: f64,
    width: f64,
    most: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        self.x + self.width * value / self.most
    }
}

pub struct Picture {
    svg: String,
}

impl Picture {
    /// The frame: titles, axes, legends.
    pub fn new(width: u32, height: u32) -> Self {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"{INK}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
        );
        let mut picture = Self { svg };
        picture.titles();
        let bottom = TOP + GROUP * RECORDS.len() as f64;
        picture.grid(&SHARES, bottom, 5);
        picture.grid(&RATIOS, bottom, 7);
        picture.legends(bottom + 38.0);
        picture.expected();
        picture
    }

    fn titles(&mut self) {
        for (x, title, more) in [
            (
                14.0,
                "Share of the adapter's multiply-add ceiling",
                "forward, f32, H = 8, N = 1024, D = 64; GFLOP/s beside the bars",
            ),
            (
                466.0,
                "Time over that of dense attention",
                "forward, f32, H = 8, N = 4096, D = 64; the tick is the share of pairs",
            ),
        ] {
            self.line(format!(
                "<text x=\"{x}\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{title}</text>"
            ));
            self.line(format!(
                "<text x=\"{x}\" y=\"46\" fill=\"{FAINT}\">{more}</text>"
            ));
        }
    }

    /// Vertical lines, one for each of `parts` parts of the axis, with their values.
    fn grid(&mut self, axis: &Axis, bottom: f64, parts: u32) {
        for n in 0..=parts {
            let value = axis.most * f64::from(n) / f64::from(parts);
            let x = axis.at(value);
            self.line(format!(
                "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#e3e6ea\"/>"
            ));
            let y = bottom + 16.0;
            self.text(x, y, "middle", FAINT, &format!("{value:.1}"));
        }
    }

    fn legends(&mut self, y: f64) {
        for (n, (color, (_, _, name))) in WAY_COLORS.iter().zip(WAYS).enumerate() {
            let x = 170.0 + 92.0 * n as f64;
            self.line(format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{color}\"/>",
                y - 9.0
            ));
            self.text(x + 14.0, y, "start", INK, name);
        }
    }

    /// Names of the right panel's rows, and where their dots would be if nothing but pairs took time.
    fn expected(&mut self) {
        let causal = [("causal", 0.5)];
        for (n, (name, share)) in causal.into_iter().chain(DENSITIES).enumerate() {
            let (x, y) = (RATIOS.at(share), middle(n));
            self.text(RATIOS.x - 10.0, y + 4.0, "end", INK, name);
            self.line(format!(
                "<path d=\"M{x:.1} {}v24\" stroke=\"{INK}\"/>",
                y - 12.0
            ));
        }
    }

    /// A machine's name, left of its bars and as the colour of its dots.
    pub fn machine(&mut self, n: usize, name: &str) {
        let y = TOP + GROUP * n as f64 + GROUP / 2.0 + 4.0;
        self.text(SHARES.x - 10.0, y, "end", INK, name);
        self.line(format!(
            "<circle cx=\"20\" cy=\"{}\" r=\"5\" fill=\"{}\"/>",
            y - 4.0,
            MACHINE_COLORS[n]
        ));
    }

    /// A bar of the left panel.
    pub fn share(&mut self, machine: usize, way: usize, share: f64, gflops: f64) {
        let y = TOP + GROUP * machine as f64 + (GROUP - 3.0 * BAR) / 2.0 + BAR * way as f64;
        let width = SHARES.at(share) - SHARES.x;
        self.line(format!(
            "<rect x=\"{}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>",
            SHARES.x,
            BAR - 2.0,
            WAY_COLORS[way]
        ));
        let (x, y) = (SHARES.at(share) + 5.0, y + BAR - 4.0);
        self.text(x, y, "start", FAINT, &digits(gflops));
    }

    /// A dot of the right panel.
    pub fn ratio(&mut self, machine: usize, row: usize, ratio: f64) {
        let y = middle(row) + 4.0 * (machine as f64 - 1.5);
        self.line(format!(
            "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"{}\" fill-opacity=\"0.85\"/>",
            RATIOS.at(ratio),
            MACHINE_COLORS[machine]
        ));
    }

    pub fn finish(self) -> String {
        self.svg + "</svg>\n"
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, color: &str, text: &str) {
        self.line(format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\">{text}</text>"
        ));
    }

    fn line(&mut self, line: String) {
        self.svg += &line;
        self.svg.push('\n');
    }
}

/// The height of a row of dots.
fn middle(row: usize) -> f64 {
    TOP + STEP * row as f64 + STEP / 2.0 + 7.0
}

/// Two digits of small numbers, whole ones else.
fn digits(x: f64) -> String {
    if x < 10.0 {
        format!("{x:.1}")
    } else {
        format!("{x:.0}")
    }
}
