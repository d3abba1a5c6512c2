//! Few queries against many keys: the kernels of decode against prefill and the reference.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::position::{RopeKind, Rotary};
use wgpu_attention::problem::{Mask, Position, Prefix, Score, Segments, Values, alibi_slopes};
use wgpu_attention::{Element, PlanOptions, Problem};

use crate::device::{gpu, left_out};
use crate::run::{run, run_and_check, strategies, variants};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

const HEADS: (u32, u32) = (8, 2);

fn case(name: &str, queries: u32, keys: u32, change: impl FnOnce(&mut Problem)) -> Case {
    let sizes = Sizes::two(HEADS.0, HEADS.1, queries, keys);
    Case::new(name, &Setting::new(32, 24, Element::F32), sizes).with(change)
}

fn is_decode(variant: &Variant) -> bool {
    matches!(variant, Variant::Decode(_))
}

/// The splits differ by rounding only, and those asked for are made; sinks join once.
#[test]
fn any_number_of_splits_gives_the_same() {
    for choice in strategies(gpu()) {
        let sinks = (0..HEADS.0).map(|h| h as f32 - 4.0).collect();
        let case = case("sinks", 2, 333, |p| {
            p.mask = Mask::causal();
            p.score.sinks = Some(Values::Host(sinks));
        });
        let inputs = Inputs::new(&case, Data::Normal(1.0), 7);
        run_and_check(gpu(), &case, &inputs, &choice.clone().with_splits(1));
        let of = |splits| {
            let choice = choice.clone().with_splits(splits);
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            assert!(variants(&plan).iter().any(is_decode), "{plan}");
            output.forward(&case)
        };
        let whole = of(1);
        // A partial's lse is a number of its own, rounded where it lies at 6: 3e-7 of a partial's weight.
        for splits in [2, 3, 5, 8, 13, 21, 33, 48, 64] {
            let got = of(splits);
            assert!(
                far(&got.o, &whole.o) < 3e-6,
                "{splits}: {}",
                far(&got.o, &whole.o)
            );
            assert!(
                far(&got.lse, &whole.lse) < 2e-6,
                "{splits}: {}",
                far(&got.lse, &whole.lse)
            );
        }
    }
}

fn far(a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

/// Same plan, same bits.
#[test]
fn a_plan_gives_the_same_bits_each_time() {
    for choice in strategies(gpu()) {
        let case = case("plain", 1, 2000, |_| {});
        let inputs = Inputs::new(&case, Data::Normal(1.0), 9);
        let (plan, first) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
        let (_, second) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
        assert!(first == second, "{plan}");
    }
}

type Way = (&'static str, Box<dyn Fn(&mut Problem)>);

fn ways() -> Vec<Way> {
    vec![
        ("plain", Box::new(|_| {})),
        (
            "window",
            Box::new(|p| p.mask = Mask::window(19, 0).with_first(3)),
        ),
        (
            "prefix",
            Box::new(|p| p.mask = Mask::causal().with_prefix(40)),
        ),
        (
            "alibi",
            Box::new(|p| p.score.slopes = Some(Values::Host(alibi_slopes(HEADS.0)))),
        ),
        (
            "softcap",
            Box::new(|p| p.score = Score::default().with_softcap(2.0)),
        ),
        (
            "rotary",
            Box::new(|p| p.position = Position::rotary(Rotary::new(32))),
        ),
        (
            "interpolated",
            Box::new(|p| {
                let kind = RopeKind::Linear { factor: 4.0 };
                p.position = Position::rotary(Rotary::new(32).with_kind(kind));
            }),
        ),
    ]
}

/// A token at a time, each against the keys up to its own: the rows of one prefill of them all.
#[test]
fn token_by_token_is_one_prefill() {
    const KEYS: u32 = 70;
    const LAST: u32 = 3;
    // SwiftShader compiles each for seconds.
    let every = if left_out("three of four ways to score and mask, token by token") {
        4
    } else {
        1
    };
    for (name, way) in ways().into_iter().step_by(every) {
        let all = case(name, KEYS, KEYS, |p| {
            way(p);
            p.mask.causal = true;
        });
        let inputs = Inputs::new(&all, Data::Normal(1.0), 11);
        let off = PlanOptions::default().with_decode(false);
        let (plan, whole) = run(gpu(), &gpu().attention, &all, &inputs, &off);
        assert!(!variants(&plan).iter().any(is_decode), "{plan}");
        let whole = whole.forward(&all);
        for strategy in strategies(gpu()) {
            for i in KEYS - LAST..KEYS {
                // The same operands, of which one query and the keys up to it are taken.
                let one = all.clone().with(|p| {
                    let k = 0..if p.mask.prefix == Prefix::Same(40) {
                        KEYS
                    } else {
                        i + 1
                    };
                    p.slice = Some(wgpu_attention::problem::Slice { q: i..i + 1, k });
                });
                let choice = strategy.clone().with_decode(true);
                let (plan, got) = run(gpu(), &gpu().attention, &one, &inputs, &choice);
                assert!(variants(&plan).iter().any(is_decode), "{plan}");
                let got = got.forward(&one);
                let rows = (0..2 * HEADS.0).map(|head| (head * KEYS + i) as usize);
                for row in rows {
                    let cells = row * 24..(row + 1) * 24;
                    let far = got.o[cells.clone()].iter().zip(&whole.o[cells]);
                    let far = far.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(far < 2e-6, "{name}, row {row}: {far}\n{plan}");
                    assert!(
                        (got.lse[row] - whole.lse[row]).abs() < 2e-6,
                        "{name}, row {row}"
                    );
                }
            }
        }
    }
}

/// Documents, and more queries than a tile has rows.
#[test]
fn many_packed_rows_take_several_tiles() {
    for choice in strategies(gpu()) {
        let case = case("documents", 13, 60, |p| {
            let ids = |n: u32| (0..2 * n).map(|i| (i * 7 % 3) as i32).collect();
            p.mask.segments = Some(Segments::Host {
                q: ids(13),
                k: ids(60),
            });
        });
        let inputs = Inputs::new(&case, Data::Normal(1.0), 13);
        let plan = run_and_check(gpu(), &case, &inputs, &choice.with_decode(true));
        assert!(variants(&plan).iter().any(is_decode), "{plan}");
    }
}
