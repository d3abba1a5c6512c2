//! Lists of blocks: patterns, lists and scans of the device, blocks chosen from q and k, documents.

use wgpu_attention::Role;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, Lengths, Mask, Pattern, Segments, Select, SelectBy,
};
use wgpu_attention::reference::{selected, selection};
use wgpu_attention::{Element, PlanOptions};

use super::Experiment;
use crate::run;
use crate::support::backward::Given;
use crate::support::cases::{self, Case, Setting, Sizes};
use crate::support::compare;
use crate::support::inputs::{Data, Inputs};

pub fn experiments() -> Vec<Experiment> {
    let mut all = patterns();
    all.extend(lists());
    all.extend(documents());
    all.extend(choices());
    all
}

fn case(name: String, sizes: Sizes, mask: Mask) -> Case {
    Case::new(name, &Setting::new(12, 12, Element::F32), sizes).with(|p| p.mask = mask)
}

/// Forward and backward.
fn both(case: Case, seed: u64) -> [Experiment; 2] {
    let name = |way| format!("{way}, {}", case.name);
    let given = move |case: &Case| Given::new(case, seed);
    let choice = PlanOptions::default();
    [
        Experiment::forward(
            "sparse",
            name("forward"),
            (case.clone(), Data::Normal(1.0), seed),
            choice.clone(),
        ),
        Experiment::backward(
            "sparse",
            name("backward"),
            (case.clone(), seed),
            given,
            choice,
        ),
    ]
}

fn patterns() -> Vec<Experiment> {
    let patterns = [
        Pattern::dilated_window(5, 3),
        Pattern::longformer(6, [0, 1, 40]),
        Pattern::big_bird(1, 1, 1, 5),
        Pattern::vertical_slash([3, 30], [0, 1, 17]),
    ];
    let of = |(pattern, side): (Pattern, u32)| {
        let grid = BlockGrid::new(side, 70, 70);
        let blocks = BlockMask::from_pattern(grid, &pattern).expect("it fits the grid");
        let mask = Mask::default().with_blocks(Some(blocks.into()));
        both(
            case(
                format!("{pattern} in blocks of {side}"),
                Sizes::two(2, 1, 70, 70),
                mask,
            ),
            u64::from(side),
        )
    };
    patterns
        .into_iter()
        .zip([16, 32, 48, 16])
        .flat_map(of)
        .collect()
}

/// Lists with bits, and lists on the device, over cases of the table.
fn lists() -> Vec<Experiment> {
    let setting = Setting {
        block: Some(16),
        bits: true,
        ..Setting::new(20, 12, Element::F32)
    };
    let device = Setting {
        bits: false,
        block_lists: true,
        ..setting
    };
    let of = |(name, setting): (&'static str, Setting)| {
        let cases = cases::all(&setting).into_iter().enumerate();
        let cases = cases.filter(|(n, _)| n % 30 == 3);
        cases.flat_map(move |(n, mut case)| {
            case.name = format!("{name}, {}", case.name);
            both(case, n as u64)
        })
    };
    [
        ("lists with bits", setting),
        ("lists on the device", device),
    ]
    .into_iter()
    .flat_map(of)
    .collect()
}

fn documents() -> Vec<Experiment> {
    let rising = |len: u32| (0..2 * len).map(|n| (n % len / 13) as i32).collect();
    let mixed = |len: u32| (0..2 * len).map(|n| (n * 7 % 3) as i32).collect();
    let of = |name: &str, ids: &dyn Fn(u32) -> Vec<i32>| {
        let segments = Some(Segments::Host {
            q: ids(70),
            k: ids(90),
        });
        let mask = Mask::causal().with_segments(segments);
        both(case(name.into(), Sizes::two(2, 1, 70, 90), mask), 5)
    };
    let all = [
        of("documents along the sequence", &rising),
        of("documents mixed", &mixed),
    ];
    all.into_iter().flatten().collect()
}

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 150,
    kv_len: 170,
};

/// Blocks chosen from q and k, and their lists as the call writes them.
fn choices() -> Vec<Experiment> {
    let masks = [
        ("causal", Mask::causal()),
        (
            "lengths",
            Mask::causal().with_kv_lens(Lengths::Host(vec![71, 0])),
        ),
    ];
    let by = [(SelectBy::Mean, 16, 3), (SelectBy::MinMax, 32, 2)];
    let mut all = Vec::new();
    for (by, side, count) in by {
        for (name, mask) in &masks {
            let select = Select::new(side, count).with_by(by).with_written(true);
            let mask = mask.clone().with_blocks(Blocks::Select(select));
            let name = format!("{count} blocks of {side} by {by:?}, {name}");
            all.push(choice(case(name, SIZES, mask)));
        }
    }
    all
}

fn choice(case: Case) -> Experiment {
    Experiment::new("sparse", format!("select, {}", case.name), move |gpu| {
        let case = case.clone();
        async move {
            let live = case.clone().with(|p| {
                p.mask = Mask::default().with_kv_lens(p.mask.kv_lens.clone());
            });
            let inputs = Inputs::new(&live, Data::Normal(1.0), 7);
            let (plan, output, written) =
                run::run(&gpu, &case, &inputs, &PlanOptions::default()).await?;
            let p = &case.problem;
            let lists = p
                .mask
                .device_blocks(&p.shape)
                .ok_or("no lists on the device")?;
            let words = written
                .others
                .get(&Role::BlockLists)
                .ok_or("no lists were written")?;
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(words);
            let list = |n| {
                lists
                    .list(&words, n)
                    .into_iter()
                    .map(|(block, _)| block)
                    .collect()
            };
            let got: Vec<Vec<u32>> = (0..lists.grid.lists()).map(list).collect();
            if got != selection(p, &inputs.tensors(&case)) {
                return Err(format!("other blocks than the reference's\n{plan}"));
            }
            let problem = selected(p, &inputs.tensors(&case));
            let listed = case.clone().with(|p| *p = problem);
            compare::forward(
                &listed.problem,
                &inputs.tensors(&listed),
                &output.forward(&case),
            )
        }
    })
}
