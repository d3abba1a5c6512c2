//! How outputs of 16 bits round: one key, so that o is v, in a type that has fewer digits.

use wgpu_attention::Element;
use wgpu_attention::problem::Operand;

use super::cases::{Case, Setting, Sizes};
use super::inputs::{Data, Inputs};
use super::tensor::{decode, encode, round};

/// About the ends of f16 and its ties: the least numbers, those between two, the largest and what lies beyond.
const NUMBERS: [f32; 24] = [
    0.0, 1.0, -2.5, 0.1, -1e-3, 2048.5, 2049.0, -2051.0, 6.1e-5, 6.102e-5, -6.1035e-5, 3e-5,
    5.96e-8, 2.98e-8, 2.981e-8, 8.94e-8, -8.941e-8, -1.5e-7, 65504.0, 65519.0, 65520.0, -65536.0,
    1e6, -3e38,
];

/// The numbers in the first batch, NaN in the second.
pub fn case(output: Element) -> (Case, Inputs) {
    let dim = NUMBERS.len() as u32;
    let sizes = Sizes {
        batch: 2,
        ..Sizes::one(1, 1)
    };
    let case = Case::new(
        format!("o is v, as {output}"),
        &Setting::new(4, dim, Element::F32),
        sizes,
    )
    .with(|p| p.o = Operand::new(output, p.o.layout));
    let mut inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    let numbers = NUMBERS.iter().map(|&x| f64::from(x));
    inputs.v = numbers.chain(NUMBERS.map(|_| f64::NAN)).collect();
    inputs.buffers[2] = encode(Element::F32, &inputs.v);
    (case, inputs)
}

/// Holds o, as it was written, against v rounded once.
pub fn check(case: &Case, inputs: &Inputs, o: &[u8]) -> Result<(), String> {
    let element = case.problem.o.element;
    let wrong: Vec<String> = decode(element, o)
        .iter()
        .zip(&inputs.v)
        .map(|(got, v)| (*got, round(element, *v), v))
        .filter(|(got, want, _)| !(got == want || got.is_nan() && want.is_nan()))
        .map(|(got, want, v)| format!("{v:e} became {got:e}, not {want:e}"))
        .collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{element}: {}", wrong.join("; "))),
    }
}
