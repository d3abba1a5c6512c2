//! Operands larger than one binding: the case table with a lowered limit, and one that is larger for real.

use wgpu_attention::problem::{Layout, Mask, Positions, Values};
use wgpu_attention::{
    Attention, Backward, Element, Error, Operands, Plan, PlanOptions, Problem, Shape,
};

use crate::backward::run::{Given, run as run_backward, run_and_check_on};
use crate::device::{Gpu, gpu, say};
use crate::run::{buffer, check, forward_strategies, read, run, strategies};
use crate::support::backward::request;
use crate::support::cases::{self, Case, Distance, RotaryCase, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// The same device, whose bindings hold no more than this.
fn limited(gpu: &Gpu, bytes: u64) -> Attention {
    let caps = gpu.attention.caps().clone().with_binding_bytes(bytes);
    Attention::with_caps(&gpu.device, caps).expect("caps of the device")
}

/// With the smallest bindings for which there is a plan: cut as far as it goes.
fn most_limited(gpu: &Gpu, plan: impl Fn(&Attention) -> wgpu_attention::Result<Plan>) -> Attention {
    let limits = (1..64).map(|n| n << 10);
    limits
        .map(|bytes| limited(gpu, bytes))
        .find(|attention| match plan(attention) {
            Ok(_) => true,
            Err(Error::Limit { .. }) => false,
            Err(other) => panic!("{other}"),
        })
        .expect("64 KiB hold every tile")
}

fn settings() -> Vec<Setting> {
    let base = |d, dv, element| Setting::new(d, dv, element);
    vec![
        base(64, 32, Element::F32),
        base(33, 17, Element::F16),
        Setting {
            softcap: Some(3.0),
            bias: true,
            output: Element::F32,
            ..base(16, 40, Element::BF16)
        },
        Setting {
            bias: true,
            bias_element: Element::F16,
            distance: Some(Distance::Alibi),
            positions: true,
            ..base(40, 16, Element::F32)
        },
        Setting {
            distance: Some(Distance::T5),
            dense_mask: true,
            ..base(48, 64, Element::F16)
        },
        Setting {
            rotation: Some(RotaryCase {
                layout: Default::default(),
                temperature: true,
            }),
            positions: true,
            ..base(32, 16, Element::BF16)
        },
    ]
}

/// Beside the table's cases some whose axes are all worth a cut, one by one in the order of strides.
fn all_cases(setting: &Setting) -> Vec<Case> {
    let sinks = |p: &mut Problem| {
        let sinks = (0..p.shape.q_heads).map(|h| 0.5 - 0.2 * h as f32).collect();
        p.score.sinks = Some(Values::Host(sinks));
    };
    let case = |name, sizes| Case::new(name, setting, sizes).with(sinks);
    let mut cases = cases::all(setting);
    cases.extend([
        case("a long context", Sizes::two(4, 2, 70, 300)).with(|p| p.mask = Mask::causal()),
        case("one head's", Sizes::one(130, 260))
            .with(|p| p.mask = Mask::window(90, 20).with_first(5)),
        case("few queries", Sizes::two(6, 2, 2, 400)),
        case("rows first", Sizes::two(4, 2, 50, 300)).with(|p| {
            let s = p.shape;
            p.k.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.head_dim).at(3);
            p.v.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.value_dim).at(64);
            p.o.layout = Layout::rows_first(s.q_heads, s.q_len, s.value_dim);
        }),
    ]);
    cases
}

/// The axes along which plans were cut.
#[derive(Default)]
struct Axes([usize; 4]);

impl Axes {
    const NAMES: [&str; 4] = ["batches", "heads", "queries", "keys"];

    fn count(&mut self, plan: &Plan) {
        let text = plan.to_string();
        for (n, name) in Self::NAMES.iter().enumerate() {
            self.0[n] += usize::from(text.contains(&format!("over {name} in ")));
        }
    }

    fn assert_all(&self, what: &str) {
        say(&format!("{what}, cut over {:?}: {:?}", Self::NAMES, self.0));
        assert!(self.0.iter().all(|&n| n > 3), "{what}: {:?}", self.0);
    }
}

#[test]
fn the_case_table_in_small_bindings() {
    let gpu = gpu();
    let choices = forward_strategies(gpu);
    let mut axes = Axes::default();
    for setting in settings() {
        for (n, case) in all_cases(&setting).iter().enumerate() {
            let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
            let choice = &choices[n % choices.len()];
            let attention = most_limited(gpu, |a| a.plan_with(&case.problem, choice));
            let (plan, output) = run(gpu, &attention, case, &inputs, choice);
            let context = format!("{}\n{choice:?}\n{plan}", case.name);
            check(case, &inputs, &output, &context);
            let (_, again) = run(gpu, &attention, case, &inputs, choice);
            assert!(output == again, "other bits the second time: {context}");
            axes.count(&plan);
        }
    }
    axes.assert_all("forward");
}

#[test]
fn the_case_table_backward_in_small_bindings() {
    let gpu = gpu();
    let choices = strategies(gpu);
    let mut axes = Axes::default();
    for setting in settings() {
        for (n, case) in all_cases(&setting).into_iter().enumerate() {
            let case = case.with(|p| {
                if let Some(bias) = &mut p.score.bias {
                    bias.head = if n % 3 == 0 { 0 } else { bias.head };
                    bias.row = if n % 5 == 0 { 0 } else { bias.row };
                }
            });
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            let given = Given {
                score: n % 2 == 0,
                element: Element::ALL[n % 3],
                ..Given::new(&case, n as u64)
            };
            let choice = &choices[n / 2 % choices.len()];
            let backward = request(&case, &given);
            let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, choice));
            let plan = run_and_check_on(gpu, &attention, &case, &inputs, &given, choice);
            axes.count(&plan);
        }
    }
    axes.assert_all("backward");
}

/// What shares its buffer with an input waits in scratch until all parts are read; what rows share words goes through it.
#[test]
fn outputs_through_scratch_are_cut_too() {
    let gpu = gpu();
    for element in [Element::F32, Element::F16] {
        let setting = Setting::new(24, 15, element);
        let case = Case::new("shared", &setting, Sizes::two(4, 2, 40, 200))
            .with(|p| p.mask = Mask::causal());
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        let given = Given::new(&case, 4);
        for choice in strategies(gpu) {
            let choice = choice.with_shared_outputs(true);
            let attention = most_limited(gpu, |a| a.plan_with(&case.problem, &choice));
            let (plan, output) = run(gpu, &attention, &case, &inputs, &choice);
            assert!(plan.to_string().contains(": cut over"), "{plan}");
            check(&case, &inputs, &output, &plan.to_string());
            let backward = request(&case, &given);
            let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, &choice));
            let plan = run_and_check_on(gpu, &attention, &case, &inputs, &given, &choice);
            assert!(plan.to_string().contains(": cut over"), "{plan}");
        }
    }
}
