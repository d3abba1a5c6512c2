//! What a mask hides changes nothing, to the bit, be it NaN, an infinity or 3·10³⁸.

use wgpu_attention::problem::{Lengths, Mask};
use wgpu_attention::reference::visible;
use wgpu_attention::{Element, PlanOptions};

use super::Experiment;
use crate::gpu::Gpu;
use crate::run;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::Verdict;
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::encode;

/// Keys on either side of the masks' ends.
const KEYS: [usize; 4] = [0, 16, 29, 42];

pub fn experiments() -> Vec<Experiment> {
    let masks = [
        (
            "lengths",
            Mask::default().with_kv_lens(Lengths::Host(vec![29])),
        ),
        ("causal", Mask::causal()),
        ("a window", Mask::window(5, 2)),
        ("a window with first", Mask::window(4, 0).with_first(3)),
    ];
    let values = [
        ("NaN", f64::NAN),
        ("infinity", f64::INFINITY),
        ("3e38", f64::from(3e38f32)),
    ];
    let mut all = Vec::new();
    for (name, mask) in masks {
        for (what, value) in values {
            let setting = Setting::new(20, 12, Element::F32);
            let case =
                Case::new(name, &setting, Sizes::one(35, 43)).with(|p| p.mask = mask.clone());
            all.push(Experiment::new(
                "hidden",
                format!("{what} behind {name}"),
                move |gpu| {
                    let case = case.clone();
                    async move { holds(&gpu, &case, value).await }
                },
            ));
        }
    }
    all
}

/// Rows that do not see a key are the same whatever stands there.
async fn holds(gpu: &Gpu, case: &Case, value: f64) -> Verdict {
    let full = case.clone().with(|p| p.mask = Mask::default());
    let clean = Inputs::new(&full, Data::Normal(1.0), 4);
    let before = rows(gpu, case, &clean).await?;
    for (j, slot) in KEYS.into_iter().flat_map(|j| [(j, 1), (j, 2)]) {
        let after = rows(gpu, case, &with(case, &clean, value, j, slot)).await?;
        for (i, row) in before.iter().enumerate() {
            let sees = visible(
                &case.problem,
                &clean.tensors(case),
                0,
                0,
                i as u32,
                j as u32,
            );
            if !sees && *row != after[i] {
                let operand = ["k", "v"][slot - 1];
                return Err(format!(
                    "{value} in {operand}[{j}], which row {i} does not see, changed it"
                ));
            }
        }
    }
    Ok(Vec::new())
}

/// The operands with `value` in one channel of key or value `j`.
fn with(case: &Case, clean: &Inputs, value: f64, j: usize, slot: usize) -> Inputs {
    let (mut inputs, shape) = (clean.clone(), &case.problem.shape);
    let (values, dim) = match slot {
        1 => (&mut inputs.k, shape.head_dim),
        _ => (&mut inputs.v, shape.value_dim),
    };
    values[j * dim as usize + 2] = value;
    inputs.buffers[slot] = encode(Element::F32, values);
    inputs
}

/// o and lse of each row, as they lie in memory.
async fn rows(gpu: &Gpu, case: &Case, inputs: &Inputs) -> Result<Vec<Vec<u8>>, String> {
    let (_, output, _) = run::run(gpu, case, inputs, &PlanOptions::default()).await?;
    let row = case.problem.shape.value_dim as usize * 4;
    let both = output.o.chunks(row).zip(output.lse.chunks(4));
    Ok(both.map(|(o, lse)| [o, lse].concat()).collect())
}
