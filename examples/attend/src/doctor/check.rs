//! Running a case and holding it against the definition.

use wgpu_attention::problem::Operand;
use wgpu_attention::reference::{self, Bias, Tensors};
use wgpu_attention::{Element, Host, Outputs, Plan, Result, Role};

use crate::device::Gpu;

use super::cases::{Case, Kind};

#[allow(dead_code)] // The tests use the rest.
#[path = "../../../../tests/support/tensor.rs"]
mod tensor;

/// How far an answer is from the definition, relative to the root mean square of the latter.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    pub error: f64,
    pub allowed: f64,
}

/// What f32 sums of so few terms stay below by far; what is wrong is off by a thousand times as much.
const ALLOWED: f64 = 5e-5;

impl Accuracy {
    fn of(element: Element, actual: &[f64], expected: &[f64]) -> Self {
        let squares: f64 = expected.iter().map(|x| x * x).sum();
        let rms = (squares / expected.len().max(1) as f64).sqrt().max(1e-30);
        let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let off = |(a, e): (&f64, &f64)| if a == e { 0.0 } else { (a - e).abs() };
        let errors = actual.iter().zip(expected).map(off);
        // `f64::max` would pass over a NaN.
        let error = errors.fold(0.0, |worst, x| if x <= worst { worst } else { x });
        let half_unit = match element {
            Element::F16 => 2f64.powi(-11),
            Element::BF16 => 2f64.powi(-8),
            _ => 0.0,
        };
        let error = match actual.len() == expected.len() {
            true => error / rms,
            false => f64::NAN,
        };
        Self {
            error,
            allowed: ALLOWED + 1.01 * half_unit * largest / rms,
        }
    }

    /// The one that is nearest to being wrong; a NaN is the worst of all.
    fn worst(self, other: Self) -> Self {
        let part = |one: Self| one.error / one.allowed;
        match part(other) <= part(self) {
            true => self,
            false => other,
        }
    }
}

/// An operand's bytes, and its values as they are stored.
fn stored(operand: &Operand, sizes: [u32; 3], dim: u32, seed: u64) -> (Vec<u8>, Vec<f64>) {
    let count = sizes.iter().map(|&n| n as usize).product::<usize>() * dim as usize;
    let values = tensor::normal(seed, count);
    let mut bytes = vec![0; operand.bytes(sizes, dim).next_multiple_of(4) as usize];
    tensor::scatter(&mut bytes, operand.element, &operand.layout, sizes, &values);
    let values = tensor::gather(&bytes, operand.element, &operand.layout, sizes, dim);
    (bytes, values)
}

pub fn run(gpu: &Gpu, case: &Case) -> Result<Accuracy> {
    let (problem, shape) = (&case.problem, &case.problem.shape);
    let queries = [shape.batch, shape.q_heads, shape.q_len];
    let keys = [shape.batch, shape.kv_heads, shape.kv_len];
    let (q, q_values) = stored(&problem.q, queries, shape.head_dim, 1);
    let (k, k_values) = stored(&problem.k, keys, shape.head_dim, 2);
    let (v, v_values) = stored(&problem.v, keys, shape.value_dim, 3);
    let bias = problem.score.bias.map(|layout| {
        let operand = Operand::new(Element::F32, layout);
        stored(&operand, queries, shape.kv_len, 4)
    });
    let bias_values = bias.as_ref().map(|(_, values)| Bias::new(values, queries));
    let tensors = Tensors::new(&q_values, &k_values, &v_values).with_bias(bias_values);
    let expected = reference::forward(problem, &tensors);
    let mut host = Host::new(&q, &k, &v);
    if let Some((bytes, _)) = &bias {
        host = host.with(Role::Bias, bytes);
    }
    if case.kind != Kind::Gradient {
        let outputs = run_plan(gpu, &case.plan(gpu)?, &host)?;
        let o = tensor::decode(problem.o.element, &outputs.o);
        let lse: Vec<f64> = outputs.lse.iter().map(|&x| x.into()).collect();
        let o = Accuracy::of(problem.o.element, &o, &expected.o);
        return Ok(o.worst(Accuracy::of(Element::F32, &lse, &expected.lse)));
    }
    let (d_o, d_o_values) = stored(&case.backward().d_o, queries, shape.value_dim, 5);
    let o = tensor::encode(Element::F32, &expected.o);
    let lse = tensor::encode(Element::F32, &expected.lse);
    let host = host
        .with(Role::O, &o)
        .with(Role::Lse, &lse)
        .with(Role::DO, &d_o);
    let outputs = run_plan(gpu, &case.plan(gpu)?, &host)?;
    let expected = reference::backward(problem, &tensors, &d_o_values, None);
    let of = |role, expected: &[f64]| {
        let bytes = outputs.others.get(&role).map_or(&[][..], |bytes| bytes);
        Accuracy::of(Element::F32, &tensor::decode(Element::F32, bytes), expected)
    };
    let key = of(Role::DK, &expected.dk).worst(of(Role::DV, &expected.dv));
    Ok(of(Role::DQ, &expected.dq).worst(key))
}

fn run_plan(gpu: &Gpu, plan: &Plan, host: &Host<'_>) -> Result<Outputs> {
    pollster::block_on(gpu.attention.run(&gpu.queue, plan, host))
}
