//! One backward pass on the GPU.

use wgpu_attention::plan::Role;
use wgpu_attention::reference::Gradients;
use wgpu_attention::{Attention, Backward, Choice, Element, Plan};

use super::parameters::Expected;
use crate::device::Gpu;
use crate::run::{Buffers, buffer, output, read};
use crate::support::cases::Case;
use crate::support::compare::{assert_gradients, kept};
use crate::support::inputs::Inputs;
use crate::support::tensor::{decode, encode, gather, normal, poisoned, round, scatter};

/// What comes from behind, and in which type the gradients leave.
pub struct Given {
    pub d_o: Vec<f64>,
    pub dlse: Option<Vec<f64>>,
    pub element: Element,
    /// Also the gradients of whatever parameters the score has.
    pub score: bool,
}

impl Given {
    /// Standard normal, rounded to the storage type of o; every other one with a gradient by lse.
    pub fn new(case: &Case, seed: u64) -> Self {
        let s = &case.problem.shape;
        let rows = s.rows() as usize;
        let rounded = |x: f64| round(case.problem.o.element, x);
        Self {
            d_o: normal(seed + 100, rows * s.value_dim as usize)
                .into_iter()
                .map(rounded)
                .collect(),
            dlse: (seed % 2 == 1).then(|| normal(seed + 200, rows)),
            element: Element::F32,
            score: false,
        }
    }
}

/// The problem's gradients as they lie in their buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub dq: Vec<u8>,
    pub dk: Vec<u8>,
    pub dv: Vec<u8>,
    /// dbias, dslopes, dsinks and dt5, where they were asked for.
    pub score: Vec<(Role, Vec<f64>)>,
}

/// Runs the backward pass of a case from the reference's o and lse.
pub fn run(
    gpu: &Gpu,
    attention: &Attention,
    case: &Case,
    inputs: &Inputs,
    given: &Given,
    choice: &Choice,
) -> (Plan, Backward, Output) {
    run_as(
        gpu,
        attention,
        (case, inputs),
        (case, inputs),
        given,
        choice,
    )
}

/// The same from the o and lse of another case that stands for the same function.
pub fn run_as(
    gpu: &Gpu,
    attention: &Attention,
    (case, inputs): (&Case, &Inputs),
    (same, same_inputs): (&Case, &Inputs),
    given: &Given,
    choice: &Choice,
) -> (Plan, Backward, Output) {
    let mut backward = Backward::new(case.problem.clone(), given.element);
    backward.dlse = given.dlse.is_some();
    if given.score {
        let score = &case.problem.score;
        backward.dbias = score.bias.is_some();
        backward.dslopes = score.slopes.is_some();
        backward.dsinks = score.sinks.is_some();
        backward.dt5 = score.t5.is_some();
    }
    let plan = attention
        .plan_backward_with(&backward, choice)
        .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let forward = kept(&same.problem, &same_inputs.tensors(same));
    let (operand, sizes, dim) = output(case);
    let store = |values: &[f64]| {
        let mut bytes = poisoned(operand.bytes(sizes, dim));
        scatter(&mut bytes, operand.element, &operand.layout, sizes, values);
        buffer(&gpu.device, &bytes)
    };
    let mut buffers = Buffers::new(&gpu.device, case, inputs);
    buffers.o = store(&forward.o);
    buffers.lse = buffer(&gpu.device, &encode(Element::F32, &forward.lse));
    let d_o = store(&given.d_o);
    let dlse = given
        .dlse
        .as_ref()
        .map(|dlse| buffer(&gpu.device, &encode(Element::F32, dlse)));
    let s = &case.problem.shape;
    let kv = [s.batch, s.kv_heads, s.kv_len];
    let [dq, dk, dv] = [
        (&backward.dq, sizes, s.head_dim),
        (&backward.dk, kv, s.head_dim),
        (&backward.dv, kv, s.value_dim),
    ]
    .map(|(operand, sizes, dim)| buffer(&gpu.device, &poisoned(operand.bytes(sizes, dim))));
    let mut operands = buffers.operands().backward(&d_o, &dq, &dk, &dv);
    if let Some(dlse) = &dlse {
        operands = operands.with(Role::DLse, dlse);
    }
    let numbers: Vec<_> = plan
        .requirements()
        .iter()
        .filter(|need| [Role::DBias, Role::DSlopes, Role::DSinks, Role::DT5].contains(&need.role))
        .map(|need| (need.role, buffer(&gpu.device, &poisoned(need.bytes))))
        .collect();
    for (role, buffer) in &numbers {
        operands = operands.with(*role, buffer);
    }
    let call = pollster::block_on(attention.prepare(&plan, &operands))
        .unwrap_or_else(|e| panic!("{}: {e}\n{plan}", case.name));
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [dq, dk, dv] = read(gpu, [&dq, &dk, &dv]);
    let score = numbers
        .iter()
        .map(|(role, buffer)| (*role, decode(Element::F32, &read(gpu, [buffer])[0])))
        .collect();
    (plan, backward, Output { dq, dk, dv, score })
}

impl Output {
    /// Logical gradients.
    pub fn gradients(&self, backward: &Backward) -> Gradients {
        let s = &backward.problem.shape;
        let kv = [s.batch, s.kv_heads, s.kv_len];
        let values = |bytes: &[u8], operand: &wgpu_attention::problem::Operand, sizes, dim| {
            gather(bytes, operand.element, &operand.layout, sizes, dim)
        };
        Gradients {
            dq: values(
                &self.dq,
                &backward.dq,
                [s.batch, s.q_heads, s.q_len],
                s.head_dim,
            ),
            dk: values(&self.dk, &backward.dk, kv, s.head_dim),
            dv: values(&self.dv, &backward.dv, kv, s.value_dim),
        }
    }
}

/// Runs by the device's own attention and holds the gradients against the reference.
pub fn run_and_check(
    gpu: &Gpu,
    case: &Case,
    inputs: &Inputs,
    given: &Given,
    choice: &Choice,
) -> Plan {
    run_and_check_on(gpu, &gpu.attention, case, inputs, given, choice)
}

/// The same, by another attention on the device.
pub fn run_and_check_on(
    gpu: &Gpu,
    attention: &Attention,
    case: &Case,
    inputs: &Inputs,
    given: &Given,
    choice: &Choice,
) -> Plan {
    let (plan, backward, output) = run(gpu, attention, case, inputs, given, choice);
    let mut got = output.gradients(&backward);
    outside_the_slice(case, &mut got);
    assert_gradients(
        case,
        &inputs.tensors(case),
        (&given.d_o, given.dlse.as_deref()),
        (&got, given.element),
        &format!("{}\n{choice:?}\n{plan}", case.name),
    );
    if given.score {
        Expected::of(case, inputs, given).check(case, &output.score, &plan);
    }
    plan
}

/// Rows outside of a slice are not written: they are still poisoned, and count as 0 from here on.
pub fn outside_the_slice(case: &Case, got: &mut Gradients) {
    let (s, slice) = (&case.problem.shape, case.problem.slice());
    for (values, len, dim, range) in [
        (&mut got.dq, s.q_len, s.head_dim, &slice.q),
        (&mut got.dk, s.kv_len, s.head_dim, &slice.k),
        (&mut got.dv, s.kv_len, s.value_dim, &slice.k),
    ] {
        for (n, row) in values.chunks_exact_mut(dim as usize).enumerate() {
            if !range.contains(&((n % len as usize) as u32)) {
                assert!(
                    row.iter().all(|x| x.is_nan()),
                    "a row outside of the slice was written"
                );
                row.fill(0.0);
            }
        }
    }
}
