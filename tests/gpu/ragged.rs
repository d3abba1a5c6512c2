//! Ragged batches: every sequence is what it is alone, whatever lies beside it.

mod backward;

use wgpu_attention::internal::{Address, Decode, Variant};
use wgpu_attention::plan::RotateWhere;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    CuSeqlens, Mask, Mods, Position, Positions, Prefix, Score, Segments, Slice, T5, T5Bias, Values,
    alibi_slopes,
};
use wgpu_attention::{Element, Plan, PlanOptions, Problem, Tiling};

use crate::device::{gpu, left_out};
use crate::run::{assert_untouched, forward_strategies, run, strategies, variants};
use crate::support::cases::Setting;
use crate::support::compare::assert_forward;
use crate::support::ragged::{Part, Ragged, cut_forward};

/// One long among many short ones, empty ones, keys without queries and queries without keys, more queries than keys.
const MIXED: [(u32, u32); 9] = [
    (5, 5),
    (0, 3),
    (1, 70),
    (33, 33),
    (2, 0),
    (7, 3),
    (64, 131),
    (0, 0),
    (1, 1),
];
/// Few queries each.
const DECODE: [(u32, u32); 6] = [(1, 9), (1, 40), (0, 5), (1, 1), (3, 300), (2, 0)];
const HEADS: (u32, u32) = (4, 2);

type Way = (&'static str, fn(&mut Problem, &Part));

/// The same numbers for a token wherever it is looked at from.
fn of_tokens(tokens: &std::ops::Range<u32>) -> Vec<i32> {
    tokens.clone().map(|t| (t * 7 % 41) as i32 - 9).collect()
}

fn t5(heads: u32) -> T5Bias {
    let buckets = T5::both().with_buckets(8).with_distance(20);
    let table = (0..8 * heads).map(|n| (n as f32 * 0.7).sin()).collect();
    T5Bias::new(buckets, Values::Host(table))
}

fn sinks(heads: u32) -> Values {
    Values::Host((0..heads).map(|h| h as f32 - 1.5).collect())
}

const WAYS: [Way; 10] = [
    ("plain", |_, _| {}),
    ("causal with sinks", |p, _| {
        p.mask = Mask::causal();
        p.score.sinks = Some(sinks(p.shape.q_heads));
    }),
    ("window and first", |p, _| {
        p.mask = Mask::window(6, 2).with_first(3);
    }),
    ("prefix per batch", |p, part| {
        let prefix = part.batches.clone().map(|b| 3 * b);
        p.mask = Mask::causal().with_prefix(Prefix::Host(prefix.collect()));
    }),
    ("softcap and slopes per batch", |p, part| {
        let slopes = part.batches.clone().flat_map(|b| {
            let slopes = alibi_slopes(HEADS.0).into_iter();
            slopes.map(move |x| x * (1.0 + b as f32))
        });
        p.score = Score::default()
            .with_softcap(3.0)
            .with_slopes(Values::Host(slopes.collect()))
            .with_slopes_per_batch(true);
    }),
    ("t5", |p, _| p.score.t5 = Some(t5(p.shape.q_heads))),
    ("rotary", |p, _| {
        p.mask = Mask::causal();
        p.position = Position::rotary(Rotary::new(p.shape.head_dim));
    }),
    ("positions per token", |p, part| {
        p.position = Position::rotary(Rotary::new(p.shape.head_dim))
            .with_q_positions(Positions::Host(of_tokens(&part.q)))
            .with_k_positions(Positions::Host(of_tokens(&part.k)));
        p.score.slopes = Some(Values::Host(alibi_slopes(p.shape.q_heads)));
    }),
    ("documents that do not rise", |p, part| {
        let ids = |tokens: &std::ops::Range<u32>| tokens.clone().map(|t| (t % 3) as i32).collect();
        let (q, k) = (ids(&part.q), ids(&part.k));
        p.mask.segments = Some(Segments::Host { q, k });
    }),
    ("documents that rise", |p, part| {
        let ids = |tokens: &std::ops::Range<u32>| tokens.clone().map(|t| (t / 4) as i32).collect();
        let (q, k) = (ids(&part.q), ids(&part.k));
        p.mask.segments = Some(Segments::Host { q, k });
    }),
];

fn setting() -> Setting {
    Setting::new(32, 24, Element::F32)
}

/// Runs all sequences at once and holds each against itself alone.
fn check(ragged: &Ragged, choice: &PlanOptions) -> Plan {
    let (plan, output) = run(
        gpu(),
        &gpu().attention,
        &ragged.case,
        &ragged.inputs,
        choice,
    );
    let got = output.forward(&ragged.case);
    for (part, case, inputs) in ragged
        .sequences
        .iter()
        .filter(|(part, ..)| !part.q.is_empty())
    {
        let context = format!("{}\n{choice:?}\n{plan}", case.name);
        let got = cut_forward(&ragged.case.problem.shape, &got, part);
        assert_forward(&case.problem, &inputs.tensors(case), &got, &context);
    }
    let context = format!("{}\n{plan}", ragged.case.name);
    assert_untouched(&ragged.case, &output, &context);
    plan
}

/// SwiftShader compiles each for seconds.
fn ways() -> impl Iterator<Item = Way> {
    let part = left_out("two of three ways to score and mask ragged batches");
    WAYS.into_iter().step_by(if part { 3 } else { 1 })
}

#[test]
fn every_sequence_is_what_it_is_alone() {
    for (name, way) in ways() {
        for choice in strategies(gpu()) {
            check(&Ragged::new(name, &setting(), HEADS, &MIXED, way), &choice);
        }
    }
}

#[test]
fn and_so_with_a_query_each() {
    for (name, way) in ways() {
        for choice in strategies(gpu()) {
            let ragged = Ragged::new(name, &setting(), HEADS, &DECODE, way);
            let plan = check(&ragged, &choice.with_decode(true));
            let is_ragged = |v: &Variant| matches!(v, Variant::Decode(Decode(key)) if key.q_address == Address::RaggedQueries);
            assert!(variants(&plan).iter().any(is_ragged), "{plan}");
        }
    }
}

/// Outputs that share words go through scratch, and so do partial results; rows are cut at odd places.
#[test]
fn splits_slices_and_odd_rows() {
    for (element, dim, value_dim) in [
        (Element::F16, 33, 17),
        (Element::BF16, 20, 12),
        (Element::F32, 9, 5),
    ] {
        let setting = Setting::new(dim, value_dim, element);
        for choice in forward_strategies(gpu()) {
            let way = WAYS[1].1;
            let ragged = || Ragged::new("odd", &setting, HEADS, &MIXED, way);
            check(&ragged(), &choice.clone().with_splits(3));
            check(&ragged(), &choice.clone().with_slice_rows(10));
            let both = choice.clone().with_splits(2).with_slice_rows(7);
            check(&ragged(), &both.with_shared_outputs(true));
        }
    }
}

/// Rows that are not beside each other, with NaN between them.
#[test]
fn gaps_between_rows_stay_as_they_are() {
    for choice in strategies(gpu()) {
        for way in [0, 2, 6] {
            let (name, way) = WAYS[way];
            let ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way).with_gaps();
            check(&ragged, &choice);
        }
    }
}

/// As they are loaded, and in a pass before.
#[test]
fn rotations_begin_anew_in_each_sequence() {
    for choice in strategies(gpu()) {
        for rotate in [RotateWhere::Fused, RotateWhere::Pass] {
            for way in [6, 7] {
                let (name, way) = WAYS[way];
                let ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way);
                check(&ragged, &choice.clone().with_rotate(rotate));
            }
        }
    }
}

/// Of each sequence the keys of a slice, which two partial results share.
#[test]
fn a_slice_of_the_keys_is_one_of_each_sequence() {
    fn half(p: &mut Problem) {
        p.mask = Mask::causal();
        let k = 2..p.shape.kv_len.clamp(2, 40);
        p.slice = Some(Slice {
            q: 0..p.shape.q_len,
            k,
        });
    }
    for choice in strategies(gpu()) {
        let ragged = Ragged::new("slice", &setting(), HEADS, &MIXED, |p, _| half(p));
        let (plan, output) = run(
            gpu(),
            &gpu().attention,
            &ragged.case,
            &ragged.inputs,
            &choice,
        );
        let got = output.forward(&ragged.case);
        let long = ragged
            .sequences
            .iter()
            .filter(|(part, ..)| part.k.len() > 40);
        for (part, case, inputs) in long {
            let got = cut_forward(&ragged.case.problem.shape, &got, part);
            let context = format!("{}\n{plan}", case.name);
            assert_forward(&case.problem, &inputs.tensors(case), &got, &context);
        }
    }
}

/// Batch, query and key of the user's functions are those of the sequence.
#[test]
fn user_functions_know_the_sequence() {
    const TEXT: &str = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i + j) % 3u != h % 3u; }
fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return score - 0.1 * f32(i) + 0.05 * f32(j); }";
    for choice in strategies(gpu()) {
        let plain = Ragged::new("mods", &setting(), HEADS, &MIXED, |_, _| {});
        let (with, without) = (
            plain
                .case
                .clone()
                .with(|p| p.mods = Some(Mods::new(TEXT).expect("functions"))),
            plain.case.clone(),
        );
        let (plan, output) = run(gpu(), &gpu().attention, &with, &plain.inputs, &choice);
        let got = output.forward(&without);
        // Each alone, by the same functions.
        for (part, case, inputs) in &plain.sequences {
            if part.q.is_empty() || part.k.is_empty() {
                continue;
            }
            let one = case
                .clone()
                .with(|p| p.mods = Some(Mods::new(TEXT).expect("functions")));
            let bytes = |x: &[f64]| crate::support::tensor::encode(Element::F32, x);
            let mut alone = inputs.clone();
            alone.buffers = vec![bytes(&inputs.q), bytes(&inputs.k), bytes(&inputs.v)];
            let (_, output) = run(gpu(), &gpu().attention, &one, &alone, &choice);
            let want = output.forward(&one);
            let got = cut_forward(&without.problem.shape, &got, part);
            let far = got.o.iter().zip(&want.o).map(|(a, b)| (a - b).abs());
            assert!(far.fold(0.0, f64::max) < 1e-5, "{}\n{plan}", case.name);
        }
    }
}

/// The shader finds lengths, offsets and tiles where only the device knows cu_seqlens.
#[test]
fn cu_seqlens_may_lie_on_the_device() {
    for choice in forward_strategies(gpu()) {
        for way in [1, 2, 7] {
            let (name, way) = WAYS[way];
            let mut ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way).on_the_device(None);
            if ragged.case.problem.position.rotary.is_some() {
                ragged.case.problem.position.range = Some(-70..=140);
            }
            let plan = check(&ragged, &choice);
            assert!(
                variants(&plan)
                    .iter()
                    .any(|v| matches!(v, Variant::Sequences(_)))
            );
            check(&ragged, &choice.clone().with_splits(2));
        }
    }
}

#[test]
fn default_positions_on_the_device_too() {
    for rotate in [RotateWhere::Fused, RotateWhere::Pass] {
        let (name, way) = WAYS[6];
        let mut ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way).on_the_device(None);
        ragged.case.problem.position.range = Some(-70..=140);
        check(&ragged, &PlanOptions::default().with_rotate(rotate));
    }
}

/// What falls or lies beyond the tokens gives wrong rows of its own, and the first sequence, which is right, stays so.
#[test]
fn garbage_on_the_device_is_clamped() {
    let total = |of: fn(&(u32, u32)) -> u32| MIXED.iter().map(of).sum::<u32>();
    let (q_total, k_total) = (total(|x| x.0), total(|x| x.1));
    let far = u32::MAX;
    let garbage = [
        (
            vec![0, 5, 1, 2, far, 0, 9, far, far, 3],
            vec![0, 5, far, 0, 7, 1, far, 2, 3, far],
        ),
        (
            vec![0, 5, q_total, 5, 5, 5, 5, 5, 5, 5],
            vec![0, 5, k_total, 5, 5, 5, 5, 5, 5, 5],
        ),
        (
            vec![0, 5, far, far, far, far, far, far, far, far],
            vec![0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for choice in forward_strategies(gpu()) {
        for (q, k) in &garbage {
            let given = Some((q.clone(), k.clone()));
            let ragged = Ragged::new("garbage", &setting(), HEADS, &MIXED, WAYS[1].1);
            let mut ragged = ragged.on_the_device(given);
            ragged.sequences.truncate(1);
            check(&ragged, &choice);
            check(&ragged, &choice.clone().with_splits(2));
        }
    }
}

/// Queries alone are ragged: keys lie in rows of their own, as many as lengths say, as in a cache.
#[test]
fn queries_alone_may_be_ragged() {
    const KEYS: u32 = 50;
    let lens = [9_u32, 50, 0, 31];
    let queries = [4_u32, 20, 2, 1];
    for choice in forward_strategies(gpu()) {
        let lengths: Vec<(u32, u32)> = queries.iter().map(|&q| (q, KEYS)).collect();
        let mut ragged = Ragged::new("cache", &setting(), HEADS, &lengths, |p, part| {
            let of = |b: u32| [9, 50, 0, 31][b as usize];
            let stand = |b: u32| of(b) as i32 - [4, 20, 2, 1][b as usize];
            p.mask = Mask::causal().with_q_offset(wgpu_attention::problem::Offsets::Host(
                part.batches.clone().map(stand).collect(),
            ));
            if part.batches.len() == 1 {
                let lens = part.batches.clone().map(of).collect();
                p.mask.kv_lens = wgpu_attention::problem::Lengths::Host(lens);
            }
        });
        // [1, H, 4 · 50, D] as [4, H, 50, D].
        let p = &mut ragged.case.problem;
        p.cu_seqlens_k = None;
        p.shape.kv_len = KEYS;
        for operand in [&mut p.k, &mut p.v] {
            operand.layout.batch = operand.layout.row * u64::from(KEYS);
        }
        p.mask.kv_lens = wgpu_attention::problem::Lengths::Host(lens.to_vec());
        let plan = check(&ragged, &choice);
        let alone = |v: &Variant| match v {
            Variant::Prefill(key) | Variant::Decode(Decode(key)) => {
                (key.q_address, key.k_address) == (Address::RaggedQueries, Address::Strided)
            }
            _ => false,
        };
        assert!(variants(&plan).iter().any(alone), "{plan}");
    }
}

/// Workgroups are those of the sequences' own tiles, however much longer one is than the others.
#[test]
fn a_long_sequence_makes_no_tiles_of_short_ones() {
    let mut lengths = vec![(1, 1); 40];
    lengths.push((200, 200));
    let ragged = Ragged::new("long", &setting(), HEADS, &lengths, WAYS[1].1);
    let tiling = Tiling {
        invocations: 8,
        lanes_per_row: 1,
        rows: 1,
        keys: 4,
        tile: 8,
    };
    let choice = PlanOptions::default()
        .with_strategy(wgpu_attention::plan::StrategyKind::Workgroup)
        .with_decode(false)
        .with_splits(1)
        .with_tiling(tiling);
    let plan = check(&ragged, &choice);
    let step = plan.steps().iter().find(|step| step.kernel() == "prefill");
    let grid = step.expect("a step").grid;
    assert_eq!(grid[0] * grid[1], HEADS.0 * (40 + 25), "{plan}");
}

/// The plan of a call that is recorded anew keeps what it found on the device.
#[test]
fn nothing_at_all_is_legal() {
    for lengths in [&[(0, 0), (0, 0)][..], &[(0, 4)], &[(3, 0), (0, 0)], &[]] {
        let ragged = Ragged::new("nothing", &setting(), HEADS, lengths, WAYS[0].1);
        check(&ragged, &PlanOptions::default());
    }
    let starts = Some(CuSeqlens::Device { total: 0 });
    let shape = wgpu_attention::Shape::square(3, 2, 8, 16);
    let problem = Problem::new(shape, Element::F32)
        .with_cu_seqlens_q(starts.clone())
        .with_cu_seqlens_k(starts);
    let plan = gpu().attention.plan(&problem).expect("a plan");
    assert!(plan.steps().is_empty(), "{plan}");
}
