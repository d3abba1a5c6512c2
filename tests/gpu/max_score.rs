//! The largest scores of rows and heads, against the definition.

use std::collections::BTreeMap;

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    Layout, Lengths, Mask, MaxScore, Offsets, Position, Slice, Values, alibi_slopes,
};
use wgpu_attention::reference::{max_scores, max_scores_per_head};
use wgpu_attention::{Element, Host, Outputs, Plan, PlanOptions, Role};

use crate::device::gpu;
use crate::run::{forward_strategies, run, run_and_check, strategies};
use crate::support::cases::{self, Case, Setting, Sizes};
use crate::support::forward;
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::{encode, gather, poisoned};

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 21,
    kv_len: 75,
};

fn asking(case: Case) -> Case {
    case.with(|p| p.max_score = Some(MaxScore::rows(&p.shape).with_per_head(true)))
}

fn case(name: &str, sizes: Sizes) -> Case {
    asking(Case::new(name, &Setting::new(16, 12, Element::F32), sizes))
}

/// The call's outputs, of which unwritten parts are NaN.
fn outputs(case: &Case, inputs: &Inputs, choice: &PlanOptions) -> (Plan, Outputs) {
    let plan = gpu().attention.plan_with(&case.problem, choice);
    let plan = plan.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let bytes: BTreeMap<Role, Vec<u8>> = forward::others(case, inputs)
        .map(|(role, bytes)| (role, bytes.to_vec()))
        .chain(forward::largest(case))
        .collect();
    let [q, k, v] = inputs.slots.map(|slot| &inputs.buffers[slot][..]);
    let host = bytes
        .iter()
        .fold(Host::new(q, k, v), |host, (role, bytes)| {
            host.with(*role, bytes)
        });
    let run = gpu().attention.run(&gpu().queue, &plan, &host);
    let outputs = pollster::block_on(run).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    (plan, outputs)
}

/// Logical `[B, Hq, Nq]` and `[Hq]`.
fn largest(case: &Case, outputs: &Outputs) -> [Vec<f64>; 2] {
    let s = &case.problem.shape;
    let asked = case.problem.max_score.expect("it asks");
    let rows = outputs.others.get(&Role::MaxScore);
    let sizes = [s.batch, s.q_heads, s.q_len];
    let rows = rows.map_or(Vec::new(), |x| {
        gather(x, Element::F32, &asked.layout, sizes, 1)
    });
    let heads = &outputs.others[&Role::MaxScorePerHead];
    let layout = Layout::heads_first(s.q_heads, 1, 1);
    [
        rows,
        gather(heads, Element::F32, &layout, [1, s.q_heads, 1], 1),
    ]
}

fn check(case: &Case, inputs: &Inputs, choice: &PlanOptions) -> [Vec<f64>; 2] {
    let (plan, outputs) = outputs(case, inputs, choice);
    let got = largest(case, &outputs);
    let tensors = inputs.tensors(case);
    let rows = max_scores(&case.problem, &tensors);
    let heads = max_scores_per_head(&case.problem, &rows);
    for (got, want) in got.iter().zip([rows, heads]) {
        assert_eq!(got.len(), want.len());
        for (n, (&got, &want)) in got.iter().zip(&want).enumerate() {
            let near = got == want
                || (got.is_nan() && want.is_nan())
                || (got - want).abs() <= 3e-6 * (1.0 + want.abs());
            assert!(near, "{}: {n} is {got}, not {want}\n{plan}", case.name);
        }
    }
    got
}

/// Every mask of the table, with a softcap, a bias and rotations by turns.
#[test]
fn the_case_table() {
    let settings = [
        Setting::new(16, 12, Element::F32),
        Setting {
            softcap: Some(3.0),
            bias: true,
            ..Setting::new(12, 8, Element::F16)
        },
        Setting {
            distance: Some(cases::Distance::Alibi),
            dense_mask: true,
            ..Setting::new(16, 16, Element::F32)
        },
        Setting {
            block: Some(16),
            bits: true,
            segments: true,
            ..Setting::new(16, 16, Element::F32)
        },
    ];
    for setting in settings {
        let all = cases::all(&setting).into_iter().enumerate();
        for (n, case) in all.filter(|(n, _)| n % 4 == 1) {
            let case = asking(case);
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            let choices = forward_strategies(gpu());
            check(&case, &inputs, &choices[n / 4 % choices.len()]);
        }
    }
}

/// One strategy gives one maximum, in however many parts; a sink has no say, nor do o and lse notice.
#[test]
fn any_number_of_splits_gives_the_same() {
    let sizes = Sizes {
        q_len: 3,
        kv_len: 333,
        ..SIZES
    };
    let case = case("sinks", sizes).with(|p| {
        p.mask = Mask::causal().with_kv_lens(Lengths::Host(vec![333, 0]));
        p.score.sinks = Some(Values::Host(vec![50.0, -3.0, 9.0, 0.0]));
    });
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    let silent = case.clone().with(|p| p.max_score = None);
    for choice in forward_strategies(gpu()) {
        let whole = check(&case, &inputs, &choice.clone().with_splits(1));
        for splits in [2, 3, 8, 33, 64] {
            let choice = choice.clone().with_splits(splits);
            assert_eq!(check(&case, &inputs, &choice), whole, "{splits}");
            let (plan, got) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            let (_, want) = run(gpu(), &gpu().attention, &silent, &inputs, &choice);
            assert!(got == want, "{plan}");
        }
    }
}

/// Slices of queries and keys, cut further, into strided tensors, with outputs that share a buffer or do not.
#[test]
fn slices_and_layouts() {
    let case = case("a slice", SIZES).with(|p| {
        p.mask = Mask::window(30, 2);
        p.slice = Some(Slice {
            q: 3..20,
            k: 11..70,
        });
        let layout = Layout::rows_first(4, 21, 3).at(65);
        p.max_score = p.max_score.map(|asked| asked.with_layout(layout));
    });
    let inputs = Inputs::new(&case, Data::Normal(1.0), 2);
    for choice in forward_strategies(gpu()) {
        for (splits, shared) in [(1, false), (4, false), (1, true), (4, true)] {
            let choice = choice.clone().with_splits(splits).with_slice_rows(5);
            check(&case, &inputs, &choice.with_shared_outputs(shared));
        }
    }
}

/// A bias and a rotation as they are loaded take all eight bindings.
#[test]
fn beside_every_binding() {
    let case = case("all bindings", SIZES).with(|p| {
        p.score.bias = Some(Layout::heads_first(4, 21, 75));
        p.score.slopes = Some(Values::Host(alibi_slopes(4)));
        p.position = Position::rotary(Rotary::new(16));
    });
    let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
    for choice in strategies(gpu()) {
        let choice = choice.with_rotate(wgpu_attention::plan::RotateWhere::Fused);
        check(&case, &inputs, &choice);
        let plan = run_and_check(gpu(), &case, &inputs, &choice);
        let most = plan.steps().iter().map(|step| step.storage_buffers()).max();
        assert_eq!(most, Some(8), "{plan}");
    }
}

/// More rows than one run, and than a run of runs, of few channels.
#[test]
fn many_rows_of_a_head() {
    for (batch, q_len) in [(1, 2500), (3, 1025), (2051, 2)] {
        let sizes = Sizes {
            batch,
            q_heads: 2,
            kv_heads: 1,
            q_len,
            kv_len: 3,
        };
        let case = asking(Case::new(
            "many rows",
            &Setting::new(4, 4, Element::F32),
            sizes,
        ));
        let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
        check(&case, &inputs, &PlanOptions::default());
    }
}

/// Without keys, queries or batches.
#[test]
fn nothing_to_see() {
    for (batch, q_len, kv_len) in [(2, 5, 0), (2, 0, 5), (0, 5, 5)] {
        let sizes = Sizes {
            batch,
            q_len,
            kv_len,
            ..SIZES
        };
        let case = case("nothing", sizes);
        let inputs = Inputs::new(&case, Data::Normal(1.0), 5);
        let [rows, heads] = check(&case, &inputs, &PlanOptions::default());
        assert!(rows.iter().chain(&heads).all(|&x| x == f64::NEG_INFINITY));
    }
}

/// A visible NaN is its row's and its head's, whichever part sees it; a hidden one is nobody's.
#[test]
fn a_nan_shows_in_its_own_row() {
    const AT: usize = 40;
    let sizes = Sizes { batch: 1, ..SIZES };
    let case = case("NaN", sizes).with(|p| {
        p.mask = Mask::causal().with_q_offset(Offsets::Host(vec![30]));
    });
    let clean = Inputs::new(&case, Data::Normal(1.0), 6);
    let mut inputs = clean.clone();
    inputs.k[AT * 16] = f64::NAN;
    inputs.buffers[1] = encode(Element::F32, &inputs.k);
    for choice in forward_strategies(gpu()) {
        for splits in [1, 5] {
            let choice = choice.clone().with_splits(splits);
            let [want, _] = check(&case, &clean, &choice);
            let (plan, got) = outputs(&case, &inputs, &choice);
            let [rows, heads] = largest(&case, &got);
            let lse = &got.lse;
            for (row, (got, want)) in rows.iter().zip(want).enumerate() {
                // The first two heads read the KV head of the NaN.
                let sees = row / 21 < 2 && row % 21 + 30 >= AT;
                assert_eq!(lse[row].is_nan(), sees, "lse of row {row}\n{plan}");
                assert!(
                    if sees { got.is_nan() } else { *got == want },
                    "row {row}\n{plan}"
                );
            }
            let nan: Vec<bool> = heads.iter().map(|x| x.is_nan()).collect();
            assert_eq!(nan, [true, true, false, false], "{plan}");
        }
    }
}

/// A value that is none says nothing of scores.
#[test]
fn values_have_no_say() {
    let case = case("a NaN of v", SIZES);
    let clean = Inputs::new(&case, Data::Normal(1.0), 7);
    let mut inputs = clean.clone();
    inputs.v[5] = f64::NAN;
    inputs.buffers[2] = encode(Element::F32, &inputs.v);
    for choice in strategies(gpu()) {
        let want = check(&case, &clean, &choice);
        let (plan, got) = outputs(&case, &inputs, &choice);
        assert_eq!(largest(&case, &got), want, "{plan}");
    }
}

/// Rows alone are asked for, and the heads' tensor is then no operand.
#[test]
fn rows_alone() {
    let case = case("rows", SIZES).with(|p| p.max_score = Some(MaxScore::rows(&p.shape)));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
    let (plan, got) = outputs(&case, &inputs, &PlanOptions::default());
    assert_eq!(
        got.others.keys().copied().collect::<Vec<_>>(),
        [Role::MaxScore],
        "{plan}"
    );
    let heads = poisoned(16);
    let [q, k, v] = inputs.slots.map(|slot| &inputs.buffers[slot][..]);
    let host = Host::new(q, k, v).with(Role::MaxScorePerHead, &heads);
    let refused = pollster::block_on(gpu().attention.run(&gpu().queue, &plan, &host));
    assert!(refused.is_err_and(|e| e.to_string().contains("max_score_head")));
}
