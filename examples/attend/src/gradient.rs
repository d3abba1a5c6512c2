//! `--grad`: what comes from behind, and the gradients that are written.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};
use wgpu_attention::Role;
use wgpu_attention::{Backward, Element, Problem};

use crate::input::{Input, element};
use crate::output::{self, sizes};
use crate::random;
use crate::score::f32_bytes;
use crate::tensors::Tensor;

/// The backward pass of a problem whose loss has the gradient `do` by o and, where it is there, `dlse` by lse.
pub fn backward(problem: &Problem, input: &Input) -> Result<Backward> {
    let mut backward = Backward::new(problem.clone(), Element::F32);
    if input.seed().is_none() {
        let d_o = input.tensor("do").context(
            "--grad needs the gradient of the loss by o; add a tensor do of o's shape to the file",
        )?;
        check(problem, &d_o, "o")?;
        backward.d_o.element = element(&d_o)?;
    }
    if let Some(dlse) = input.tensor("dlse") {
        check(problem, &dlse, "lse")?;
        // Only numbers of known types, before a device is opened.
        f32_bytes(&dlse)?;
        backward.dlse = true;
    }
    let is_there = |name| input.tensor(name).is_some();
    backward.dbias = is_there("bias");
    backward.dslopes = is_there("slopes");
    backward.dsinks = is_there("sinks");
    backward.dt5 = is_there("t5");
    Ok(backward)
}

/// A gradient has the shape of what it is the gradient by.
fn check(problem: &Problem, tensor: &Tensor, by: &str) -> Result<()> {
    let (name, actual) = (tensor.name, tensor.shape);
    let wanted = output::forward(problem)
        .into_iter()
        .find(|output| output.role.name() == by)
        .map(|output| output.shape)
        .unwrap_or_default();
    ensure!(
        *actual == *wanted,
        "{name} has shape {actual:?}; give it the shape of {by}, {wanted:?}"
    );
    Ok(())
}

/// The bytes of dO and of dlse. A random problem gets a random dO and no dlse.
pub fn operands<'a>(problem: &Problem, input: &'a Input) -> Result<Vec<(Role, Cow<'a, [u8]>)>> {
    if let Some(seed) = input.seed() {
        let d_o = random::gradient(&problem.shape, problem.o.element, seed);
        return Ok(vec![(Role::DO, Cow::Owned(d_o))]);
    }
    let mut operands = Vec::new();
    if let Some(d_o) = input.tensor("do") {
        operands.push((Role::DO, Cow::Borrowed(d_o.bytes)));
    }
    if let Some(dlse) = input.tensor("dlse") {
        operands.push((Role::DLse, f32_bytes(&dlse)?));
    }
    Ok(operands)
}

/// dq, dk and dv in the shapes of q, k and v, and a gradient like each parameter of the score in the file; F32.
pub fn results(problem: &Problem, input: &Input) -> Vec<output::Tensor> {
    let s = &problem.shape;
    let of = |[batch, heads, rows]: [u32; 3], dim| sizes(&[batch, heads, rows, dim]);
    let (q, kv) = (problem.q_sizes(), problem.kv_sizes());
    let mut results = vec![
        (Role::DQ, of(q, s.head_dim)),
        (Role::DK, of(kv, s.head_dim)),
        (Role::DV, of(kv, s.value_dim)),
    ];
    for (role, name) in PARAMETERS {
        results.extend(input.tensor(name).map(|x| (role, x.shape.to_vec())));
    }
    let result = |(role, shape)| output::Tensor::new(role, Element::F32, shape);
    results.into_iter().map(result).collect()
}

/// Gradients of the score's own parameters, and the tensors that these are.
const PARAMETERS: [(Role, &str); 4] = [
    (Role::DBias, "bias"),
    (Role::DSlopes, "slopes"),
    (Role::DSinks, "sinks"),
    (Role::DT5, "t5"),
];
