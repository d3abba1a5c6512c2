//! Rows of more than 256 channels: latent attention (D = 576, Dv = 512) and its neighbours.

use wgpu_attention::internal::Strategy;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{Blocks, Layout, Position, Select};
use wgpu_attention::reference::selected;
use wgpu_attention::{Element, Mask, Plan, PlanOptions};

use crate::backward::run::{Given, run_and_check as gradients_agree};
use crate::device::{Gpu, gpu, left_out};
use crate::run::{check, forward_strategies, run, run_and_check, strategies};
use crate::support::cases::{Case, Distance, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// Head sizes, and what is stored.
const SETTINGS: [(u32, u32, Element); 4] = [
    (576, 512, Element::BF16),
    (512, 512, Element::F16),
    (320, 320, Element::F32),
    (576, 576, Element::F32),
];

fn settings() -> impl Iterator<Item = Setting> {
    let count = if left_out("wide heads but those of 576, 512 and 512, 512 channels") {
        2
    } else {
        SETTINGS.len()
    };
    let settings = SETTINGS.into_iter().take(count);
    settings.map(|(d, dv, element)| Setting::new(d, dv, element))
}

fn grouped(name: &str, setting: &Setting) -> Case {
    Case::new(name, setting, Sizes::two(4, 2, 11, 21)).with(|p| p.mask = Mask::causal())
}

/// Query heads of one KV head, whose values are the first channels of its keys: one row of a cache per token, in the
/// buffer that has the queries behind it. The last 64 channels are rotated.
fn latent(queries: u32, keys: u32, element: Element) -> Case {
    let sizes = Sizes::two(16, 1, queries, keys);
    let mut case = Case::new("latent", &Setting::new(576, 512, element), sizes).with(|p| {
        p.mask = Mask::causal();
        p.position = Position::rotary(Rotary::new(576).with_start(512).with_dim(64));
        let cache = Layout::heads_first(1, keys, 576);
        p.k.layout = cache;
        p.v.layout = cache;
        p.q.layout.offset = 2 * u64::from(keys) * 576;
    });
    case.packed = true;
    case
}

/// No workgroup of a plan has more memory than the device grants.
fn keeps_memory(gpu: &Gpu, plan: &Plan) {
    for step in plan.steps() {
        let memory = step.variant().workgroup().memory;
        assert!(
            memory <= gpu.attention.caps().workgroup_memory,
            "{memory} bytes:\n{plan}"
        );
    }
}

/// Those of the choices that a device takes: SwiftShader's lanes are too few for long rows.
fn able(gpu: &Gpu, choices: Vec<PlanOptions>) -> Vec<PlanOptions> {
    let is_narrow = (1..8).contains(&gpu.attention.caps().lanes);
    let able =
        |choice: &PlanOptions| !is_narrow || choice.strategy == Some(StrategyKind::Workgroup);
    choices.into_iter().filter(able).collect()
}

/// Of some choices all for the first setting, and for each other one every second, by turns: each is compiled anew.
fn by_turns<T>(setting: usize, choices: Vec<T>) -> impl Iterator<Item = T> {
    let choices = choices.into_iter().enumerate();
    choices.filter_map(move |(n, choice)| {
        (setting == 0 || (setting + n).is_multiple_of(2)).then_some(choice)
    })
}

#[test]
fn forward_and_decode() {
    let gpu = gpu();
    for (n, setting) in settings().enumerate() {
        for choice in by_turns(n, able(gpu, forward_strategies(gpu))) {
            let case = grouped("wide", &setting);
            let inputs = Inputs::new(&case, Data::Normal(1.0), 31);
            keeps_memory(gpu, &run_and_check(gpu, &case, &inputs, &choice));
        }
    }
}

#[test]
fn gradients() {
    let gpu = gpu();
    for (n, setting) in settings().enumerate() {
        for choice in by_turns(n, able(gpu, strategies(gpu))) {
            let case = grouped("wide gradients", &setting);
            let inputs = Inputs::new(&case, Data::Normal(1.0), 32);
            let given = Given::new(&case, 33);
            keeps_memory(gpu, &gradients_agree(gpu, &case, &inputs, &given, &choice));
        }
    }
}

/// The gradients of the score's own numbers, each with a kernel of its own.
#[test]
fn gradients_of_the_score() {
    let gpu = gpu();
    for (n, (distance, shared)) in [(Distance::Alibi, false), (Distance::T5, true)]
        .into_iter()
        .enumerate()
    {
        let setting = Setting {
            bias: true,
            distance: Some(distance),
            ..Setting::new(576, 512, Element::F32)
        };
        for choice in by_turns(n, able(gpu, strategies(gpu))) {
            let case = grouped("wide, of the score", &setting).with(|p| {
                if let Some(bias) = p.score.bias.as_mut().filter(|_| shared) {
                    bias.row = 0;
                }
            });
            let inputs = Inputs::new(&case, Data::Normal(1.0), 34);
            let given = Given {
                score: true,
                ..Given::new(&case, 35)
            };
            keeps_memory(gpu, &gradients_agree(gpu, &case, &inputs, &given, &choice));
        }
    }
}

/// Blocks of keys that are chosen on the device, by the means of such rows.
#[test]
fn chosen_blocks() {
    let gpu = gpu();
    let dense = Case::new(
        "wide, chosen blocks",
        &Setting::new(576, 512, Element::F32),
        Sizes::two(4, 2, 50, 90),
    );
    let inputs = Inputs::new(&dense, Data::Normal(1.0), 41);
    let case = dense.with(|p| {
        p.mask = Mask::causal();
        p.mask.blocks = Some(Blocks::Select(Select::new(16, 2)));
    });
    let problem = selected(&case.problem, &inputs.tensors(&case));
    let listed = case.clone().with(|p| *p = problem);
    let choice = PlanOptions::default();
    let (plan, output) = run(gpu, &gpu.attention, &case, &inputs, &choice);
    check(&listed, &inputs, &output, &plan.to_string());
}

#[test]
fn latent_attention() {
    let gpu = gpu();
    for (choice, element) in able(gpu, forward_strategies(gpu)).into_iter().zip([
        Element::F16,
        Element::F32,
        Element::BF16,
        Element::F16,
    ]) {
        let case = latent(3, 40, element);
        let inputs = Inputs::new(&case, Data::Normal(0.5), 36);
        run_and_check(gpu, &case, &inputs, &choice);
    }
}

#[test]
fn latent_gradients() {
    let gpu = gpu();
    let case = latent(9, 20, Element::F32);
    let inputs = Inputs::new(&case, Data::Normal(0.5), 37);
    let given = Given::new(&case, 38);
    gradients_agree(gpu, &case, &inputs, &given, &PlanOptions::default());
}

/// WebGPU's default limits: 16 KiB for a tile, and no subgroups.
#[test]
fn on_the_least_device() {
    let gpu = Gpu::least();
    for case in [
        latent(1, 40, Element::F16),
        grouped("least", &Setting::new(576, 576, Element::F32)),
    ] {
        let inputs = Inputs::new(&case, Data::Normal(0.5), 39);
        let plan = run_and_check(&gpu, &case, &inputs, &PlanOptions::default());
        keeps_memory(&gpu, &plan);
        let tiles = plan.steps().iter().find_map(|step| step.variant().tiles());
        let tiles = tiles.expect("a step with tiles");
        assert_eq!(tiles.strategy, Strategy::Workgroup);
        assert!(tiles.tiling.lanes_per_row > 1, "{plan}");
        let given = Given::new(&case, 40);
        let plan = gradients_agree(&gpu, &case, &inputs, &given, &PlanOptions::default());
        keeps_memory(&gpu, &plan);
    }
}
