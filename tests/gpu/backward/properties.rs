//! What every backward pass keeps, whatever its numbers.

use wgpu_attention::internal::{GradKv, GradQ, Variant};
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Layout, Mask, Operand, Score, Slice, Values, alibi_slopes};
use wgpu_attention::reference::Gradients;
use wgpu_attention::{Backward, Element, Error, Operands, PlanOptions, Problem, Shape};
use wgpu_attention::{Role, Tiling};

use super::run::{Given, Output, run, run_and_check};
use crate::device::{gpu, say};
use crate::run::{buffer, read, strategies};
use crate::support::cases::{self, Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::{encode, normal};

fn case() -> Case {
    Case::new(
        "properties",
        &Setting::new(16, 8, Element::F32),
        Sizes::two(4, 2, 70, 90),
    )
    .with(|p| p.mask.causal = true)
}

fn gradients(case: &Case, inputs: &Inputs, given: &Given, choice: &PlanOptions) -> Gradients {
    let (_, backward, output) = run(gpu(), &gpu().attention, case, inputs, given, choice);
    output.gradients(&backward)
}

fn near(a: &[f64], b: &[f64], what: &str) {
    let rms = (b.iter().map(|x| x * x).sum::<f64>() / b.len() as f64).sqrt();
    let worst = a
        .iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max);
    assert!(worst <= 2e-5 * rms, "{what}: {worst} of {rms}");
}

#[test]
fn the_same_bits_twice() {
    let case = case().with(|p| p.score.slopes = Some(Values::Host(alibi_slopes(4))));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    let given = Given {
        score: true,
        ..Given::new(&case, 1)
    };
    for choice in strategies(gpu()) {
        let once = || -> Output { run(gpu(), &gpu().attention, &case, &inputs, &given, &choice).2 };
        assert_eq!(once(), once(), "{choice:?}");
    }
}

#[test]
fn gradients_are_linear_in_what_comes_from_behind() {
    let (case, choices) = (case(), strategies(gpu()));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 2);
    let (mut a, b) = (Given::new(&case, 3), Given::new(&case, 5));
    let sum = Given {
        d_o: a.d_o.iter().zip(&b.d_o).map(|(x, y)| x + 2.0 * y).collect(),
        dlse: a
            .dlse
            .as_ref()
            .zip(b.dlse.as_ref())
            .map(|(a, b)| a.iter().zip(b).map(|(x, y)| x + 2.0 * y).collect()),
        ..Given::new(&case, 3)
    };
    a.element = Element::F32;
    for choice in choices {
        let [a, b, sum] = [&a, &b, &sum].map(|given| gradients(&case, &inputs, given, &choice));
        for (what, a, b, sum) in [
            ("dq", &a.dq, &b.dq, &sum.dq),
            ("dk", &a.dk, &b.dk, &sum.dk),
            ("dv", &a.dv, &b.dv, &sum.dv),
        ] {
            let want: Vec<f64> = a.iter().zip(b).map(|(x, y)| x + 2.0 * y).collect();
            near(sum, &want, what);
        }
    }
}

#[test]
fn a_gradient_by_lse_alone() {
    let case = case();
    let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
    let mut given = Given::new(&case, 7);
    assert!(given.dlse.is_some());
    given.d_o.fill(0.0);
    for choice in strategies(gpu()) {
        let got = gradients(&case, &inputs, &given, &choice);
        assert!(got.dv.iter().all(|&x| x == 0.0), "lse does not look at v");
        run_and_check(gpu(), &case, &inputs, &given, &choice);
    }
}

/// By queries, by keys, and by the planner's own cuts.
#[test]
fn cut_and_uncut_agree() {
    let whole = case();
    let inputs = Inputs::new(&whole, Data::Normal(1.0), 6);
    let given = Given::new(&whole, 9);
    for choice in strategies(gpu()) {
        let want = gradients(&whole, &inputs, &given, &choice);
        for (splits, slice_rows) in [(Some(3), None), (None, Some(23)), (Some(2), Some(16))] {
            let choice = choice
                .clone()
                .with_splits(splits)
                .with_slice_rows(slice_rows);
            let got = gradients(&whole, &inputs, &given, &choice);
            near(&got.dq, &want.dq, "dq of steps");
            near(&got.dk, &want.dk, "dk of steps");
            near(&got.dv, &want.dv, "dv of steps");
        }
        let (q_cuts, k_cuts) = ([0..37, 37..70], [0..19, 19..64, 64..90]);
        let mut sum = [
            vec![0.0; want.dq.len()],
            vec![0.0; want.dk.len()],
            vec![0.0; want.dv.len()],
        ];
        for q in &q_cuts {
            for k in &k_cuts {
                let part = whole.clone().with(|p| {
                    p.slice = Some(Slice {
                        q: q.clone(),
                        k: k.clone(),
                    });
                });
                let got = gradients(&part, &inputs, &given, &choice);
                for (sum, part) in sum.iter_mut().zip([&got.dq, &got.dk, &got.dv]) {
                    for (x, y) in sum.iter_mut().zip(part).filter(|(_, y)| !y.is_nan()) {
                        *x += y;
                    }
                }
            }
        }
        near(&sum[0], &want.dq, "dq of slices");
        near(&sum[1], &want.dk, "dk of slices");
        near(&sum[2], &want.dv, "dv of slices");
    }
}

/// Counted on the GPU: both kernels visit the pairs of tiles that the plan counts, and with square tiles as many.
#[test]
fn the_transposed_walk_visits_the_pairs_of_the_forward_walk() {
    let gpu = gpu();
    for case in cases::all(&Setting::new(8, 8, Element::F32)) {
        for choice in strategies(gpu) {
            let choice = choice.with_count_tiles(true);
            let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
            let given = Given::new(&case, 0);
            let (plan, backward, output) =
                run(gpu, &gpu.attention, &case, &inputs, &given, &choice);
            let got = output.gradients(&backward);
            for (name, values) in [("grad_q", &got.dq), ("grad_kv", &got.dk)] {
                let steps: Vec<_> = plan
                    .steps()
                    .iter()
                    .filter(|step| step.variant().entry() == name)
                    .collect();
                let [step] = steps[..] else { continue };
                let (rows, range) = match step.variant() {
                    Variant::GradQ(GradQ(key)) => (key.tiling.tile_rows(), case.problem.slice().q),
                    Variant::GradKv(GradKv(key)) => {
                        (key.tiling.tile_rows(), case.problem.slice().k)
                    }
                    _ => continue,
                };
                let s = &case.problem.shape;
                let len = if name == "grad_q" { s.q_len } else { s.kv_len };
                let counted: f64 = values
                    .chunks_exact(8)
                    .enumerate()
                    .map(|(n, row)| (n as u32 % len.max(1), row[0]))
                    .filter(|(n, _)| {
                        range.contains(n) && (*n == range.start || n.is_multiple_of(rows))
                    })
                    .map(|(_, count)| count)
                    .sum();
                if case.host_knows_intervals() {
                    let counted = counted.round() as u64;
                    assert_eq!(counted, step.cost.visited, "{name}, {}\n{plan}", case.name);
                }
            }
        }
    }
}

/// Rows that lanes share, as the planner has them for more work than a test does.
#[test]
fn four_rows_in_two_lanes() {
    let case = case();
    let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
    let tiling = Tiling {
        invocations: 8,
        lanes_per_row: 2,
        rows: 4,
        keys: 4,
        tile: 4,
    };
    let choice = PlanOptions::default()
        .with_strategy(StrategyKind::Subgroup)
        .with_width(8)
        .with_tiling(tiling);
    let subgroups = gpu().attention.caps().subgroups;
    if subgroups.is_none_or(|s| s.min < 8) {
        say("no clusters of 8 lanes here");
        return;
    }
    run_and_check(gpu(), &case, &inputs, &Given::new(&case, 11), &choice);
}

/// A gradient may lie where an operand lay: it is written when nothing reads that any more.
#[test]
fn gradients_take_the_places_of_operands() {
    let gpu = gpu();
    let count = 2 * 40 * 8;
    let problem = Problem::new(Shape::square(1, 2, 40, 8), Element::F32)
        .with_mask(Mask::causal())
        .with_score(Score::default().with_slopes(Values::Host(vec![0.5, 0.25])));
    let backward = Backward::new(problem, Element::F32).with_dslopes(true);
    let numbers = |seed: u64, count: usize| encode(Element::F32, &normal(seed, count));
    let of = |bytes: &[u8]| buffer(&gpu.device, bytes);
    // Which of q, k, v and dO the gradients dq, dk and dv take the place of.
    // The sums of a score's numbers are not: where they would write over an operand the call is refused.
    let q = buffer(&gpu.device, &vec![0; 4 * count]);
    let [o, lse, d_o, dq, dk, dv] = [0; 6].map(|_| buffer(&gpu.device, &vec![0; 4 * count]));
    let plan = gpu.attention.plan_backward(&backward).expect("a plan");
    let operands = Operands::new(&q, &q, &q, &o, &lse)
        .backward(&d_o, &dq, &dk, &dv)
        .with(Role::DSlopes, &q);
    let refused = pollster::block_on(gpu.attention.prepare(&plan, &operands)).err();
    assert!(
        matches!(refused, Some(Error::SharedBytes { .. })),
        "{refused:?}"
    );
    let run = |choice: &PlanOptions, places: [Option<usize>; 3]| {
        let plan = gpu.attention.plan_backward_with(&backward, choice);
        let read_from = [1, 2, 3, 4].map(|seed| of(&numbers(seed, count)));
        let written = places.map(|place| match place {
            Some(n) => read_from[n].clone(),
            None => of(&vec![0; 4 * count]),
        });
        let (o, lse) = (of(&numbers(5, count)), of(&numbers(6, 80)));
        let dslopes = of(&[0; 8]);
        let ([q, k, v, d_o], [dq, dk, dv]) = (&read_from, &written);
        let operands = Operands::new(q, k, v, &o, &lse)
            .backward(d_o, dq, dk, dv)
            .with(Role::DSlopes, &dslopes);
        let plan = plan.expect("a plan");
        let call = pollster::block_on(gpu.attention.prepare(&plan, &operands)).expect("a call");
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        call.encode(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        read(gpu, [dq, dk, dv, &dslopes])
    };
    for choice in strategies(gpu) {
        let apart = run(&choice, [None; 3]);
        for places in [
            [Some(0), None, None],
            [Some(3), None, None],
            [None, Some(1), None],
            [None, Some(3), None],
            [None, None, Some(2)],
            [Some(0), Some(1), Some(2)],
        ] {
            assert!(run(&choice, places) == apart, "{places:?}, {choice:?}");
        }
    }
}

#[test]
fn bad_requests_are_typed_errors() {
    let attention = &gpu().attention;
    let problem = Problem::new(Shape::square(1, 2, 8, 4), Element::F32).with_mask(Mask::causal());
    let backward = Backward::new(problem.clone(), Element::F32);
    let asked = |change: fn(&mut Backward)| {
        let mut backward = backward.clone();
        change(&mut backward);
        attention.plan_backward(&backward).err()
    };
    for (error, what) in [
        (asked(|b| b.dbias = true), "dbias"),
        (asked(|b| b.dslopes = true), "dslopes"),
        (asked(|b| b.dsinks = true), "dsinks"),
        (asked(|b| b.dt5 = true), "dt5"),
    ] {
        assert!(
            matches!(error, Some(Error::NoParameter { what: named, .. }) if named == what),
            "{what}: {error:?}"
        );
    }
    let overlapping = asked(|b| {
        b.dq = Operand::new(
            Element::F32,
            Layout {
                row: 2,
                ..Layout::heads_first(2, 8, 4)
            },
        );
    });
    assert!(
        matches!(overlapping, Some(Error::Overlap { .. })),
        "{overlapping:?}"
    );
    let plan = attention.plan_backward(&backward).expect("a plan");
    assert!(
        plan.requirements()
            .iter()
            .any(|need| need.role == Role::DO && !need.output)
    );
}

/// dk at the end of dq's buffer is fine; in its middle it is an error, and nothing is recorded.
#[test]
fn gradients_that_meet_in_one_buffer_are_an_error() {
    let attention = &gpu().attention;
    let problem = Problem::new(Shape::square(1, 2, 8, 4), Element::F32);
    let zeros = |count: usize| buffer(&gpu().device, &vec![0; 4 * count]);
    let [q, k, v, o, d_o] = [64; 5].map(zeros);
    let (lse, dqk, dv) = (zeros(16), zeros(128), zeros(64));
    let prepared = |offset: u64| {
        let mut backward = Backward::new(problem.clone(), Element::F32);
        backward.dk.layout.offset = offset;
        let plan = attention.plan_backward(&backward).expect("a plan");
        let operands = Operands::new(&q, &k, &v, &o, &lse).backward(&d_o, &dqk, &dqk, &dv);
        pollster::block_on(attention.prepare(&plan, &operands)).err()
    };
    assert_eq!(prepared(64), None);
    let error = prepared(32);
    assert!(
        matches!(error, Some(Error::SharedBytes { .. })),
        "{error:?}"
    );
}

#[test]
fn a_lse_that_was_never_written_is_found_by_check() {
    let attention = &gpu().attention;
    let problem = Problem::new(Shape::square(1, 2, 8, 4), Element::F32);
    let plan = attention
        .plan_backward(&Backward::new(problem, Element::F32))
        .expect("a plan");
    let zeros = |count: usize| buffer(&gpu().device, &vec![0; 4 * count]);
    let [q, k, v, o, d_o, dq, dk, dv] = [64; 8].map(zeros);
    let checked = |lse: &wgpu::Buffer| {
        let operands = Operands::new(&q, &k, &v, &o, lse).backward(&d_o, &dq, &dk, &dv);
        let call = pollster::block_on(attention.prepare(&plan, &operands)).expect("a call");
        pollster::block_on(call.check(&gpu().queue))
    };
    assert_eq!(checked(&zeros(16)), Ok(()));
    let mut lse = [0.0f32; 16];
    lse[5] = f32::NAN;
    let error = checked(&buffer(&gpu().device, bytemuck::cast_slice(&lse)));
    assert!(
        matches!(
            error,
            Err(Error::NumberAt {
                what: "lse",
                index: 5,
                ..
            })
        ),
        "{error:?}"
    );
}
