//! Tilings that a caller asks for, and no table has: what is accepted is computed right.

use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Values, alibi_slopes};
use wgpu_attention::{Element, Mask, PlanOptions, Tiling};

use crate::backward::run::{Given, run_and_check as gradients_agree};
use crate::device::{Gpu, gpu};
use crate::run::run_and_check;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// Tilings of odd numbers: clusters that are no power of two, rows that no table has, one key, one invocation.
fn choices(gpu: &Gpu) -> Vec<PlanOptions> {
    let of = |strategy, [invocations, lanes_per_row, rows, keys, tile]: [u32; 5]| {
        PlanOptions::default()
            .with_strategy(strategy)
            .with_tiling(Tiling {
                invocations,
                lanes_per_row,
                rows,
                keys,
                tile,
            })
    };
    let mut choices: Vec<PlanOptions> = [
        [1, 1, 1, 1, 1],
        [7, 1, 3, 3, 9],
        [50, 1, 2, 5, 30],
        [33, 1, 5, 1, 32],
        [16, 1, 1, 32, 32],
        [32, 16, 2, 2, 4],
        [21, 3, 1, 4, 4],
    ]
    .into_iter()
    .map(|tiling| of(StrategyKind::Workgroup, tiling))
    .collect();
    let Some(subgroups) = gpu.attention.caps().subgroups else {
        return choices;
    };
    let width = subgroups.min;
    for (clusters, lanes, rows) in [(3, 1, 3), (1, 2, 7), (5, 4, 2), (1, width.min(16), 1)] {
        let keys = width / lanes;
        if keys <= 32 {
            let tiling = [clusters * width, lanes, rows, keys, keys];
            choices.push(of(StrategyKind::Subgroup, tiling));
        }
    }
    choices
}

fn case() -> Case {
    let setting = Setting::new(20, 12, Element::F32);
    Case::new("forced tiles", &setting, Sizes::two(4, 2, 67, 131)).with(|p| {
        p.mask = Mask::window(40, 3);
        p.mask.first = 5;
        p.score.slopes = Some(Values::Host(alibi_slopes(4)));
    })
}

#[test]
fn accepted_tilings_agree_with_the_reference() {
    let (gpu, case) = (gpu(), case());
    let inputs = Inputs::new(&case, Data::Normal(1.0), 21);
    for choice in choices(gpu) {
        let plan = run_and_check(gpu, &case, &inputs, &choice);
        let tiles = plan.steps().iter().find_map(|step| step.variant().tiles());
        assert_eq!(tiles.map(|tiles| tiles.tiling), choice.tiling, "{plan}");
    }
}

#[test]
fn accepted_tilings_of_gradients_agree_with_the_reference() {
    let (gpu, case) = (gpu(), case());
    let inputs = Inputs::new(&case, Data::Normal(1.0), 22);
    let given = Given {
        score: true,
        ..Given::new(&case, 23)
    };
    for choice in choices(gpu) {
        gradients_agree(gpu, &case, &inputs, &given, &choice);
    }
}
