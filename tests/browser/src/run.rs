//! One call in a browser, by [`wgpu_attention::Attention::run`]: operands go in as bytes and come out as bytes.

use bytemuck::cast_slice;
use wgpu_attention::Role;
use wgpu_attention::problem::Operand;
use wgpu_attention::{Backward, Element, Host, Outputs, Plan, PlanOptions};

use crate::gpu::Gpu;
use crate::support::backward::{self, Given, is_of_the_score, outside_the_slice};
use crate::support::cases::Case;
use crate::support::compare::{self, Verdict, kept};
use crate::support::forward::{self, output};
use crate::support::inputs::Inputs;
use crate::support::parameters::Expected;
use crate::support::tensor::{decode, encode, poisoned, scatter};

/// An error with what was carried out.
fn of(plan: &Plan) -> impl Fn(String) -> String {
    move |error| format!("{error}\n{plan}")
}

fn host<'a>(case: &'a Case, inputs: &'a Inputs) -> Host<'a> {
    let [q, k, v] = inputs.slots.map(|slot| &inputs.buffers[slot][..]);
    forward::others(case, inputs).fold(Host::new(q, k, v), |host, (role, bytes)| {
        host.with(role, bytes)
    })
}

/// What the forward call wrote over poison.
pub async fn run(
    gpu: &Gpu,
    case: &Case,
    inputs: &Inputs,
    choice: &PlanOptions,
) -> Result<(Plan, forward::Output, Outputs), String> {
    let plan = gpu.attention.plan_with(&case.problem, choice);
    let plan = plan.map_err(|e| e.to_string())?;
    let (operand, sizes, dim) = output(case);
    let o = poisoned(operand.bytes(sizes, dim));
    let lse = poisoned(case.problem.shape.rows() * 4);
    let host = host(case, inputs).with(Role::O, &o).with(Role::Lse, &lse);
    let written = gpu.attention.run(&gpu.queue, &plan, &host).await;
    let written = written.map_err(|e| of(&plan)(e.to_string()))?;
    // An output that the call has no part in (a slice without queries) keeps its poison.
    let or_poison = |bytes: &[u8], poison: Vec<u8>| match bytes.is_empty() {
        true => poison,
        false => bytes[..poison.len()].to_vec(),
    };
    let output = forward::Output {
        o: or_poison(&written.o, o.clone()),
        lse: or_poison(cast_slice(&written.lse), lse.clone()),
    };
    Ok((plan, output, written))
}

/// Holds a forward call of `case` against the reference of `own`, which stands for the same function.
pub async fn forward(
    gpu: &Gpu,
    (case, inputs): (&Case, &Inputs),
    (own, own_inputs): (&Case, &Inputs),
    choice: &PlanOptions,
) -> Verdict {
    let (plan, output, _) = run(gpu, case, inputs, choice).await?;
    let got = output.forward(case);
    compare::forward(&own.problem, &own_inputs.tensors(own), &got)
        .and_then(|reports| output.untouched(case).map(|()| reports))
        .map_err(of(&plan))
}

/// The same of a backward pass.
pub async fn backward(
    gpu: &Gpu,
    (case, inputs): (&Case, &Inputs),
    (own, own_inputs): (&Case, &Inputs),
    given: &Given,
    choice: &PlanOptions,
) -> Verdict {
    let request = backward::request(case, given);
    let plan = gpu.attention.plan_backward_with(&request, choice);
    let plan = plan.map_err(|e| e.to_string())?;
    let forward = kept(&own.problem, &own_inputs.tensors(own));
    let (operand, sizes, dim) = output(case);
    let store = |values: &[f64]| {
        let mut bytes = poisoned(operand.bytes(sizes, dim));
        scatter(&mut bytes, operand.element, &operand.layout, sizes, values);
        bytes
    };
    let (o, d_o) = (store(&forward.o), store(&given.d_o));
    let lse = encode(Element::F32, &forward.lse);
    let dlse = given.dlse.as_ref();
    let dlse = dlse.map(|dlse| encode(Element::F32, dlse));
    let mut host = host(case, inputs)
        .with(Role::O, &o)
        .with(Role::Lse, &lse)
        .with(Role::DO, &d_o);
    if let Some(dlse) = &dlse {
        host = host.with(Role::DLse, dlse);
    }
    let outputs = plan.requirements().iter().filter(|need| need.output);
    let outputs: Vec<_> = outputs
        .map(|need| (need.role, poisoned(need.bytes)))
        .collect();
    for (role, poison) in &outputs {
        host = host.with(*role, poison);
    }
    let written = gpu.attention.run(&gpu.queue, &plan, &host).await;
    let written = gradients(written.map_err(|e| of(&plan)(e.to_string()))?, &request);
    let mut got = written.gradients(&request);
    outside_the_slice(case, &mut got).map_err(of(&plan))?;
    let from = (&given.d_o[..], given.dlse.as_deref());
    let tensors = own_inputs.tensors(own);
    let mut reports =
        compare::gradients(own, &tensors, from, (&got, given.element)).map_err(of(&plan))?;
    if given.score {
        let expected = Expected::of(own, own_inputs, given);
        reports.extend(expected.check(case, &written.score).map_err(of(&plan))?);
    }
    Ok(reports)
}

/// The outputs of a pass; one that it has no part in (a slice without keys) keeps its poison.
fn gradients(mut written: Outputs, request: &Backward) -> backward::Output {
    let s = &request.problem.shape;
    let mut take = |role: Role, operand: &Operand, heads: u32, len: u32, dim: u32| {
        let bytes = operand.bytes([s.batch, heads, len], dim);
        let found = written.others.remove(&role);
        let mut found = found.unwrap_or_else(|| poisoned(bytes));
        found.truncate(bytes as usize);
        found
    };
    backward::Output {
        dq: take(Role::DQ, &request.dq, s.q_heads, s.q_len, s.head_dim),
        dk: take(Role::DK, &request.dk, s.kv_heads, s.kv_len, s.head_dim),
        dv: take(Role::DV, &request.dv, s.kv_heads, s.kv_len, s.value_dim),
        score: (written.others.into_iter())
            .filter(|(role, _)| is_of_the_score(*role))
            .map(|(role, bytes)| (role, decode(Element::F32, &bytes)))
            .collect(),
    }
}
