//! How far from the f64 answer a kernel may be: the one table of tolerances, and the one function that applies it.

use std::fmt;

use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::reference::{self, Forward, Gradients, Tensors};

use super::cases::Case;
use super::inputs::visible_keys;
use super::plain;

/// What an error may be beside twice that of a plain f32 program, in units of the answer's RMS.
pub const FORWARD_FLOOR: f64 = 1e-6;
/// The same for dq, dk and dv.
pub const GRADIENT_FLOOR: f64 = 5e-6;
/// An RMS below this is f64's own rounding of an answer that is zero; errors are then absolute.
const LEAST_RMS: f64 = 1e-12;

/// One output beside what it should be.
pub struct Check<'a> {
    /// The output's name in the failure message.
    pub name: &'static str,
    /// The output's storage type, whose rounding is allowed for.
    pub element: Element,
    pub floor: f64,
    pub got: &'a [f64],
    /// In f64. Where it is NaN (rows that are not computed, visible NaN) anything goes; infinities must match.
    pub want: &'a [f64],
    /// In f32, by plain loops.
    pub plain: &'a [f64],
    /// The magnitude of what was rounded to make each number, half a unit of which is allowed for; none where an
    /// output is as large as its terms.
    pub terms: Option<&'a [f64]>,
    /// Elements that must be exactly zero: fully masked rows, hidden keys.
    pub zero: &'a dyn Fn(usize) -> bool,
}

/// What a comparison found: errors in units of the answer's RMS, beyond the rounding of the storage type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    pub worst: usize,
    pub error: f64,
    pub plain_error: f64,
    pub allowed: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error {:.3e} (allowed {:.3e}, plain f32 {:.3e}) at index {}",
            self.error, self.allowed, self.plain_error, self.worst
        )
    }
}

impl Check<'_> {
    /// Whether the output is near enough; the error says where it is not.
    pub fn run(&self) -> Result<Report, String> {
        let name = self.name;
        if self.got.len() != self.want.len() {
            let (got, want) = (self.got.len(), self.want.len());
            return Err(format!("{name} has {got} values instead of {want}"));
        }
        if let Some(n) = (0..self.got.len()).find(|&n| !self.is_legal(n)) {
            let (got, want) = (self.got[n], self.want[n]);
            return Err(format!("{name}[{n}] is {got}; it must be {want}"));
        }
        let report = self.report();
        if report.error <= report.allowed {
            Ok(report)
        } else {
            let (got, want) = (self.got[report.worst], self.want[report.worst]);
            Err(format!(
                "{name}: {report}: {got} instead of {want}, plain f32 {}",
                self.plain[report.worst]
            ))
        }
    }

    /// What no tolerance covers: NaN and infinities only where they are due, exact zeros.
    fn is_legal(&self, n: usize) -> bool {
        let (got, want) = (self.got[n], self.want[n]);
        if want.is_nan() {
            true
        } else if want.is_infinite() {
            got == want
        } else {
            got.is_finite() && (got == 0.0 || !(self.zero)(n))
        }
    }

    fn report(&self) -> Report {
        let rms = rms(self.want);
        let (worst, error) = largest(self.want.len(), |n| {
            let (x, want) = (self.got[n], self.want[n]);
            match want.is_finite() {
                true => ((x - want).abs() - self.rounding(n)).max(0.0) / rms,
                false => 0.0,
            }
        });
        let plain_error = self::error(self.plain, self.want);
        Report {
            worst,
            error,
            plain_error,
            allowed: 2.0 * plain_error + self.floor,
        }
    }

    /// What number n may lose by its storage type and by its terms.
    fn rounding(&self, n: usize) -> f64 {
        let stored = half_unit(self.element, self.got[n].abs().max(self.want[n].abs()));
        let terms = self
            .terms
            .map_or(0.0, |terms| half_unit(Element::F32, terms[n]));
        stored + terms
    }
}

/// `max |x − want| / RMS(want)` over what is finite in `want`.
pub fn error(values: &[f64], want: &[f64]) -> f64 {
    let rms = rms(want);
    largest(want.len(), |n| {
        if want[n].is_finite() {
            (values[n] - want[n]).abs() / rms
        } else {
            0.0
        }
    })
    .1
}

/// Half a unit in the last place of `magnitude`, at most.
fn half_unit(element: Element, magnitude: f64) -> f64 {
    let (bits, least_normal) = match element {
        Element::F32 => (24, f64::from(f32::MIN_POSITIVE)),
        Element::F16 => (11, half::f16::MIN_POSITIVE.to_f64()),
        Element::BF16 => (8, half::bf16::MIN_POSITIVE.to_f64()),
        _ => unreachable!("{element} is no type that stores number by number"),
    };
    magnitude.max(least_normal) * 0.5f64.powi(bits)
}

fn rms(want: &[f64]) -> f64 {
    let finite: Vec<f64> = want.iter().copied().filter(|x| x.is_finite()).collect();
    let mean = finite.iter().map(|x| x * x).sum::<f64>() / finite.len().max(1) as f64;
    if mean.sqrt() < LEAST_RMS {
        1.0
    } else {
        mean.sqrt()
    }
}

/// The index of the largest value and the value; a NaN counts as largest.
fn largest(len: usize, value: impl Fn(usize) -> f64) -> (usize, f64) {
    (0..len).map(|n| (n, value(n))).fold(
        (0, 0.0),
        |best, next| {
            if next.1 <= best.1 { best } else { next }
        },
    )
}

/// What was found of each output, or what is wrong with those that are too far off.
pub type Verdict = Result<Vec<(&'static str, Report)>, String>;

/// Panics with `context` (plan, seed) where [`forward`] finds a fault.
pub fn assert_forward(problem: &Problem, tensors: &Tensors, got: &Forward, context: &str) {
    expect(forward(problem, tensors, got), context);
}

/// Holds a forward result against the reference.
pub fn forward(problem: &Problem, tensors: &Tensors, got: &Forward) -> Verdict {
    let want = reference::forward(problem, tensors);
    let plain = plain::forward(problem, tensors);
    let dim = problem.shape.value_dim as usize;
    let fully_masked = |n: usize| want.lse[n / dim] == f64::NEG_INFINITY;
    let o = Check {
        name: "o",
        element: problem.o.element,
        floor: FORWARD_FLOOR,
        got: &got.o,
        want: &want.o,
        plain: &plain.o,
        terms: None,
        zero: &fully_masked,
    };
    let lse = Check {
        name: "lse",
        element: Element::F32,
        got: &got.lse,
        want: &want.lse,
        plain: &plain.lse,
        zero: &|_| false,
        ..o
    };
    all(&[o, lse])
}

/// The o and lse that tests give to a backward pass: those of the whole problem, in f64.
pub fn kept(problem: &Problem, tensors: &Tensors) -> Forward {
    let mut whole = problem.clone();
    whole.slice = None;
    reference::forward(&whole, tensors)
}

/// Panics with `context` where [`gradients`] finds a fault.
pub fn assert_gradients(
    case: &Case,
    tensors: &Tensors,
    given: (&[f64], Option<&[f64]>),
    got: (&Gradients, Element),
    context: &str,
) {
    expect(gradients(case, tensors, given, got), context);
}

/// Holds gradients of element type `element` against the reference.
pub fn gradients(
    case: &Case,
    tensors: &Tensors,
    (d_o, dlse): (&[f64], Option<&[f64]>),
    (got, element): (&Gradients, Element),
) -> Verdict {
    let problem = &case.problem;
    let want = reference::backward(problem, tensors, d_o, dlse);
    let kept = kept(problem, tensors);
    let plain = plain::backward(problem, tensors, &kept.o, d_o, dlse);
    let lse = reference::forward(problem, tensors).lse;
    let visible = visible_keys(case);
    let (d, dv) = (
        problem.shape.head_dim as usize,
        problem.shape.value_dim as usize,
    );
    let fully_masked = |n: usize| lse[n / d] == f64::NEG_INFINITY;
    let hidden_k = |n: usize| !visible[n / d];
    let hidden_v = |n: usize| !visible[n / dv];
    let check = |name, of: fn(&Gradients) -> &[f64], zero| Check {
        name,
        element,
        floor: GRADIENT_FLOOR,
        got: of(got),
        want: of(&want),
        plain: of(&plain.value),
        terms: Some(of(&plain.terms)),
        zero,
    };
    let checks = [
        check("dq", |x| &x.dq, &fully_masked as &dyn Fn(usize) -> bool),
        check("dk", |x| &x.dk, &hidden_k),
        check("dv", |x| &x.dv, &hidden_v),
    ];
    all(&checks)
}

/// Every fault, where there is one.
fn all(checks: &[Check]) -> Verdict {
    let verdicts: Vec<_> = checks.iter().map(|c| (c.name, c.run())).collect();
    let faults: Vec<String> = verdicts
        .iter()
        .filter_map(|(_, verdict)| verdict.clone().err())
        .collect();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let reports = verdicts.into_iter();
    Ok(reports
        .filter_map(|(name, verdict)| Some((name, verdict.ok()?)))
        .collect())
}

fn expect(verdict: Verdict, context: &str) {
    if let Err(faults) = verdict {
        panic!("{faults}\n{context}");
    }
}
