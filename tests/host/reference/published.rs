//! The oracle, and the plain f32 program, against answers that were computed elsewhere.

use anyhow::{Context, Result};
use wgpu_attention::problem::{Element, Lengths, Mask, Problem, Shape};
use wgpu_attention::reference::{Tensors, backward, forward};

use crate::support::compare::error;
use crate::support::golden::Golden;
use crate::support::plain;

/// The files hold f64 answers rounded to f32.
const ROUNDING: f64 = 1e-6;

/// A golden file's operands; head sizes and lengths as its tensors have them.
struct Operands {
    problem: Problem,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
}

impl Operands {
    fn read(file: &Golden) -> Result<Self> {
        let [batch, q_heads, q_len, head_dim] = file.sizes("q")?;
        let [_, kv_heads, kv_len, value_dim] = file.sizes("v")?;
        let shape = Shape {
            batch,
            q_heads,
            kv_heads,
            q_len,
            kv_len,
            head_dim,
            value_dim,
        };
        Ok(Self {
            problem: Problem::new(shape, Element::F32),
            q: file.floats("q")?,
            k: file.floats("k")?,
            v: file.floats("v")?,
        })
    }

    fn tensors(&self) -> Tensors<'_> {
        Tensors::new(&self.q, &self.k, &self.v)
    }
}

/// Checks forward and gradients of one case; `change` says what the case's arguments say.
fn check(name: &str, change: impl FnOnce(&mut Problem)) -> Result<()> {
    let file = Golden::open(&format!("tests/golden/attention/{name}.in.safetensors"))?;
    let want = Golden::open(&format!("tests/golden/attention/{name}.want.safetensors"))?;
    let mut operands = Operands::read(&file)?;
    change(&mut operands.problem);
    let (p, tensors) = (&operands.problem, operands.tensors());
    let (d_o, dlse) = (file.floats("do")?, file.floats("dlse")?);
    let (out, grad) = (
        forward(p, &tensors),
        backward(p, &tensors, &d_o, Some(&dlse)),
    );
    let plain_out = plain::forward(p, &tensors);
    let plain_grad = plain::backward(p, &tensors, &plain_out.o, &d_o, Some(&dlse)).value;
    for (output, got, plain) in [
        ("o", out.o, plain_out.o),
        ("lse", out.lse, plain_out.lse),
        ("dq", grad.dq, plain_grad.dq),
        ("dk", grad.dk, plain_grad.dk),
        ("dv", grad.dv, plain_grad.dv),
    ] {
        check_output(name, output, &got, &plain, &want.floats(output)?)?;
    }
    Ok(())
}

/// The oracle agrees but for rounding; our plain program is about as exact as the one that is on record.
fn check_output(case: &str, output: &str, got: &[f64], plain: &[f64], want: &[f64]) -> Result<()> {
    let off = error(got, want);
    assert!(off < ROUNDING, "{case} {output} is off by {off:e}");
    for (got, want) in got.iter().zip(want).filter(|(_, want)| want.is_infinite()) {
        assert_eq!(got, want, "{case} {output}");
    }
    let (ours, theirs) = (error(plain, got), recorded(case, output)?);
    assert!(
        ours < 2.0 * theirs + ROUNDING,
        "{case} {output}: plain f32 is off by {ours:e}, on record is {theirs:e}"
    );
    Ok(())
}

/// The error of a plain f32 program that came with the files.
fn recorded(case: &str, output: &str) -> Result<f64> {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../golden/attention/cases.json"))?;
    cases
        .as_array()
        .and_then(|cases| cases.iter().find(|entry| entry["name"] == case))
        .and_then(|entry| entry["plain"][output].as_f64())
        .with_context(|| format!("cases.json says nothing of {output} in {case}"))
}

#[test]
fn causal_with_grouped_heads() -> Result<()> {
    check("g1", |p| p.mask = Mask::causal())
}

#[test]
fn window_and_softcap() -> Result<()> {
    check("g2", |p| {
        p.mask = Mask::window(7, 3);
        p.score.softcap = Some(8.0);
    })
}

#[test]
fn causal_with_fully_masked_rows() -> Result<()> {
    check("g4", |p| p.mask = Mask::causal())
}

/// A sentence encoder's own attention (f32, padded texts): rows of padding are whatever that model made of them.
#[test]
fn a_real_model() -> Result<()> {
    let file = Golden::open("examples/data/layer2.safetensors")?;
    let mut operands = Operands::read(&file)?;
    let lens: Vec<u32> = file
        .integers("kv_lens")?
        .into_iter()
        .map(|n| n as u32)
        .collect();
    operands.problem.mask.kv_lens = Lengths::Host(lens.clone());
    let out = forward(&operands.problem, &operands.tensors());
    let theirs = file.floats("model_output")?;
    let shape = operands.problem.shape;
    let (row, head) = (
        shape.value_dim as usize,
        (shape.q_len * shape.value_dim) as usize,
    );
    for (n, (got, want)) in out.o.chunks(head).zip(theirs.chunks(head)).enumerate() {
        let live = lens[n / shape.q_heads as usize] as usize * row;
        let off = error(&got[..live], &want[..live]);
        assert!(off < 1e-5, "head {n} is off by {off:e}");
    }
    Ok(())
}
