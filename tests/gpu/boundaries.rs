//! Lengths at the edges of a tile, one more and one less, for tiles as the planner takes them for large work.

use wgpu_attention::Tiling;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Lengths, Mask};
use wgpu_attention::{Element, PlanOptions};

use crate::device::{Gpu, gpu};
use crate::run::run_and_check;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

fn choices(gpu: &Gpu) -> Vec<PlanOptions> {
    let workgroup = |tile| {
        PlanOptions::default()
            .with_strategy(StrategyKind::Workgroup)
            .with_tiling(Tiling {
                invocations: 32,
                lanes_per_row: 1,
                rows: 2,
                keys: 4,
                tile,
            })
    };
    let mut choices = vec![workgroup(4), workgroup(8), workgroup(32)];
    if let Some(subgroups) = gpu.attention.caps().subgroups {
        let width = subgroups.min;
        let tiling = Tiling {
            invocations: width,
            lanes_per_row: 1,
            rows: 4,
            keys: width,
            tile: width,
        };
        choices.push(
            PlanOptions::default()
                .with_strategy(StrategyKind::Subgroup)
                .with_tiling(tiling),
        );
    }
    choices
}

#[test]
fn tiles_times_lengths() {
    let (gpu, setting) = (gpu(), Setting::new(16, 24, Element::F32));
    for choice in choices(gpu) {
        let Some(tiling) = choice.tiling else {
            continue;
        };
        let around = |n: u32| [n - 1, n, n + 1];
        let keys = around(tiling.tile)
            .into_iter()
            .chain(around(2 * tiling.tile));
        for (q, k) in keys.flat_map(|k| around(tiling.tile_rows()).map(|q| (q, k))) {
            for (mask, hidden) in [
                (Mask::default(), 0),
                (Mask::default(), 1),
                (Mask::causal(), 0),
                (Mask::causal(), 2),
            ] {
                let name = format!("{q} x {k}, {hidden} hidden, causal {}", mask.causal);
                let case = Case::new(name, &setting, Sizes::one(q, k)).with(|p| {
                    p.mask = mask;
                    p.mask.kv_lens = Lengths::Host(vec![k.saturating_sub(hidden)]);
                });
                run_and_check(
                    gpu,
                    &case,
                    &Inputs::new(&case, Data::Normal(1.0), 7),
                    &choice,
                );
            }
        }
    }
}
