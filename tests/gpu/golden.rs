//! Answers that were computed elsewhere: attention in f64 by another program, and a sentence encoder's own.

use anyhow::Result;
use wgpu_attention::Element;
use wgpu_attention::problem::{Lengths, Mask, Problem};
use wgpu_attention::reference::Forward;

use crate::device::gpu;
use crate::run::{run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::{Check, FORWARD_FLOOR, error};
use crate::support::golden::Golden;
use crate::support::inputs::Inputs;
use crate::support::plain;
use crate::support::tensor::encode;

/// A file's operands as a case.
fn open(path: &str, change: impl FnOnce(&mut Problem)) -> Result<(Golden, Case, Inputs)> {
    let file = Golden::open(path)?;
    let [batch, q_heads, q_len, head_dim] = file.sizes("q")?;
    let [_, kv_heads, kv_len, value_dim] = file.sizes("v")?;
    let sizes = Sizes {
        batch,
        q_heads,
        kv_heads,
        q_len,
        kv_len,
    };
    let case = Case::new(
        path,
        &Setting::new(head_dim, value_dim, Element::F32),
        sizes,
    )
    .with(change);
    let [q, k, v] = [file.floats("q")?, file.floats("k")?, file.floats("v")?];
    let buffers = [&q, &k, &v]
        .map(|values| encode(Element::F32, values))
        .to_vec();
    Ok((
        file,
        case,
        Inputs {
            q,
            k,
            v,
            buffers,
            slots: [0, 1, 2],
            bias: None,
        },
    ))
}

/// Every strategy's answer.
fn answers(case: &Case, inputs: &Inputs) -> Vec<Forward> {
    let run_with = |choice| {
        run(gpu(), &gpu().attention, case, inputs, &choice)
            .1
            .forward(case)
    };
    strategies(gpu()).into_iter().map(run_with).collect()
}

fn compare(name: &str, change: impl FnOnce(&mut Problem)) -> Result<()> {
    let (_, case, inputs) = open(
        &format!("tests/golden/attention/{name}.in.safetensors"),
        change,
    )?;
    let want = Golden::open(&format!("tests/golden/attention/{name}.want.safetensors"))?;
    let plain = plain::forward(&case.problem, &inputs.tensors(&case));
    for got in answers(&case, &inputs) {
        for (name, got, plain) in [("o", &got.o, &plain.o), ("lse", &got.lse, &plain.lse)] {
            let want = want.floats(name)?;
            let check = Check {
                name,
                element: Element::F32,
                floor: FORWARD_FLOOR,
                got,
                want: &want,
                plain,
                terms: None,
                zero: &|_| false,
            };
            check.run().map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}

#[test]
fn g1_causal() -> Result<()> {
    compare("g1", |p| p.mask = Mask::causal())
}

#[test]
fn g2_window_with_softcap() -> Result<()> {
    compare("g2", |p| {
        p.mask = Mask::window(7, 3);
        p.score.softcap = Some(8.0);
    })
}

#[test]
fn g4_fully_masked_rows() -> Result<()> {
    compare("g4", |p| p.mask = Mask::causal())
}

/// Live rows against the model's own output, which it computed in f32.
#[test]
fn a_sentence_encoder() -> Result<()> {
    let path = "examples/data/layer2.safetensors";
    let lens: Vec<u32> = Golden::open(path)?
        .integers("kv_lens")?
        .iter()
        .map(|&n| n as u32)
        .collect();
    let (file, case, inputs) = open(path, |p| p.mask.kv_lens = Lengths::Host(lens.clone()))?;
    let s = case.problem.shape;
    let is_live = |n: usize| {
        let row = n / s.value_dim as usize;
        let b = row / (s.q_heads * s.q_len) as usize;
        row % (s.q_len as usize) < lens[b] as usize
    };
    let mut want = file.floats("model_output")?;
    (0..want.len())
        .filter(|&n| !is_live(n))
        .for_each(|n| want[n] = f64::NAN);
    for got in answers(&case, &inputs) {
        assert!(error(&got.o, &want) < 1e-5, "{}", error(&got.o, &want));
    }
    Ok(())
}
