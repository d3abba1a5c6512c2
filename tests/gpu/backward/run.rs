//! One backward pass on the GPU.

use wgpu_attention::Role;
use wgpu_attention::reference::Forward;
use wgpu_attention::{Attention, Backward, Element, Plan, PlanOptions};

use crate::device::Gpu;
use crate::run::{Buffers, buffer, output, read};
pub use crate::support::backward::{Given, Output, outside_the_slice};
use crate::support::backward::{is_of_the_score, request};
use crate::support::cases::Case;
use crate::support::compare::{assert_gradients, kept};
use crate::support::inputs::Inputs;
use crate::support::parameters::Expected;
use crate::support::tensor::{decode, encode, poisoned, scatter};

/// Runs the backward pass of a case from the reference's o and lse.
pub fn run(
    gpu: &Gpu,
    attention: &Attention,
    case: &Case,
    inputs: &Inputs,
    given: &Given,
    choice: &PlanOptions,
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
    choice: &PlanOptions,
) -> (Plan, Backward, Output) {
    let forward = kept(&same.problem, &same_inputs.tensors(same));
    run_from(gpu, attention, (case, inputs), &forward, given, choice)
}

/// The same from these o and lse.
pub fn run_from(
    gpu: &Gpu,
    attention: &Attention,
    (case, inputs): (&Case, &Inputs),
    forward: &Forward,
    given: &Given,
    choice: &PlanOptions,
) -> (Plan, Backward, Output) {
    let backward = request(case, given);
    let plan = attention
        .plan_backward_with(&backward, choice)
        .unwrap_or_else(|e| panic!("{}: {e}", case.name));
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
    let kv = case.problem.kv_sizes();
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
        .filter(|need| is_of_the_score(need.role))
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

/// Runs by the device's own attention and holds the gradients against the reference.
pub fn run_and_check(
    gpu: &Gpu,
    case: &Case,
    inputs: &Inputs,
    given: &Given,
    choice: &PlanOptions,
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
    choice: &PlanOptions,
) -> Plan {
    let (plan, backward, output) = run(gpu, attention, case, inputs, given, choice);
    let mut got = output.gradients(&backward);
    let context = format!("{}\n{choice:?}\n{plan}", case.name);
    outside_the_slice(case, &mut got).unwrap_or_else(|e| panic!("{e}\n{context}"));
    assert_gradients(
        case,
        &inputs.tensors(case),
        (&given.d_o, given.dlse.as_deref()),
        (&got, given.element),
        &context,
    );
    if given.score {
        let expected = Expected::of(case, inputs, given);
        expected.assert(case, &output.score, &context);
    }
    plan
}
