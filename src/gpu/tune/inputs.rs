//! Inputs for a measurement, and whether two answers are the same.

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::problem::{Element, KvAddress, Layout, Problem, Role};
use crate::quantize::quantize;
use crate::task::{Backward, Task};

/// Bytes of an operand: numbers of about a standard normal distribution, the same for the same seed.
pub(super) fn draw(plan: &Plan, role: Role, bytes: u64, seed: u64) -> Result<Vec<u8>> {
    let (problem, backward) = task(plan)?;
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ role as u64);
    let count = |element: Element| bytes * 8 / element.bits();
    match role {
        // With P about 1 / Nk of each pair, as a forward pass leaves it.
        Role::Lse => {
            let lse = (problem.shape.kv_len.max(1) as f32).ln() + 0.5;
            let count = count(Element::F32);
            Ok((0..count).flat_map(|_| lse.to_le_bytes()).collect())
        }
        Role::Mask => Ok((0..bytes.div_ceil(8))
            .flat_map(|_| numbers.next().to_le_bytes())
            .take(bytes as usize)
            .collect()),
        Role::K | Role::V if element_of(problem, backward, role).is_quantized() => {
            quantized(problem, role, bytes, &mut numbers)
        }
        Role::Q
        | Role::K
        | Role::V
        | Role::O
        | Role::Bias
        | Role::Slopes
        | Role::Sinks
        | Role::T5
        | Role::DO
        | Role::DLse => {
            let element = element_of(problem, backward, role);
            let values: Vec<f32> = (0..count(element)).map(|_| numbers.normal()).collect();
            let mut encoded = encode(element, &values);
            encoded.resize(bytes as usize, 0);
            Ok(encoded)
        }
        other => Err(Error::Untunable {
            reason: format!(
                "it reads {other} from the device, which is not drawn; plan a problem whose lengths, positions and lists the \
                 host knows"
            ),
        }),
    }
}

/// Rows with their scales, which lie side by side.
fn quantized(problem: &Problem, role: Role, bytes: u64, numbers: &mut Numbers) -> Result<Vec<u8>> {
    let (operand, dim) = match role {
        Role::K => (&problem.k, problem.shape.head_dim),
        _ => (&problem.v, problem.shape.value_dim),
    };
    let [_, heads, rows] = problem.kv_sizes();
    let element = operand.element;
    let whole = Layout::heads_first(heads, rows, element.row_elements(dim));
    if operand.layout != whole || problem.kv_address != KvAddress::Strided {
        return Err(Error::Untunable {
            reason: format!(
                "rows of {role} ({element}) with gaps are not drawn; plan rows side by side"
            ),
        });
    }
    let row = element.bytes(element.row_elements(dim).into()).max(1);
    let count = bytes / row * u64::from(dim);
    let values: Vec<f32> = (0..count).map(|_| numbers.normal()).collect();
    let words = quantize(element, &values, dim)?;
    let mut encoded: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    encoded.resize(bytes as usize, 0);
    Ok(encoded)
}

fn task(plan: &Plan) -> Result<(&Problem, Option<&Backward>)> {
    match &plan.task {
        Task::Attention(problem) => Ok((problem, None)),
        Task::Backward(backward) => Ok((&backward.problem, Some(backward))),
        other => Err(Error::Untunable {
            reason: format!("{} has no tiles", other.name()),
        }),
    }
}

fn element_of(problem: &Problem, backward: Option<&Backward>, role: Role) -> Element {
    let of = |operand: fn(&Backward) -> Element| backward.map_or(Element::F32, operand);
    match role {
        Role::Q => problem.q.element,
        Role::K => problem.k.element,
        Role::V => problem.v.element,
        Role::O => problem.o.element,
        Role::Bias => problem.score.bias_element,
        Role::DO => of(|backward| backward.d_o.element),
        Role::DQ => of(|backward| backward.dq.element),
        Role::DK => of(|backward| backward.dk.element),
        Role::DV => of(|backward| backward.dv.element),
        _ => Element::F32,
    }
}

/// Whether an output is the same but for the order of sums.
pub(super) fn is_same_answer(plan: &Plan, role: Role, actual: &[u8], expected: &[u8]) -> bool {
    if actual == expected {
        return true;
    }
    let Ok((problem, backward)) = task(plan) else {
        return false;
    };
    let element = element_of(problem, backward, role);
    let (actual, expected) = (decode(element, actual), decode(element, expected));
    // Of the largest number: what f32 sums in another order differ by, and two steps of what is stored.
    let tolerance = match element {
        Element::BF16 => 2e-2,
        Element::F16 => 2e-3,
        _ => 2e-4,
    };
    let largest = expected.iter().filter(|x| x.is_finite());
    let largest = largest.fold(0.0f32, |most, x| most.max(x.abs()));
    let near = |(a, e): (&f32, &f32)| {
        // Bytes that no call writes are NaN in both; so are infinities equal.
        a == e || a.is_nan() && e.is_nan() || (a - e).abs() <= tolerance * largest
    };
    actual.len() == expected.len() && actual.iter().zip(&expected).all(near)
}

fn encode(element: Element, values: &[f32]) -> Vec<u8> {
    let values = values.iter();
    match element {
        Element::F16 => values
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect(),
        Element::BF16 => values
            .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
            .collect(),
        _ => values.flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn decode(element: Element, bytes: &[u8]) -> Vec<f32> {
    let halves = |of: fn([u8; 2]) -> f32| {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|b| of([b[0], b[1]])).collect()
    };
    match element {
        Element::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        Element::BF16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        _ => {
            let words = bytes.chunks_exact(4);
            words
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        }
    }
}

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// The sum of four uniform numbers, of variance 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = (0..4).map(|n| (bits >> (16 * n)) as u32 & 0xFFFF).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    }
}
