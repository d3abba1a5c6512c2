//! Gradients of ragged batches against those of each sequence alone.

use wgpu_attention::reference::{Forward, ScoreGradients};
use wgpu_attention::{Element, PlanOptions};

use super::{HEADS, MIXED, WAYS, setting, ways};
use crate::backward::run::{Given, run_from};
use crate::device::gpu;
use crate::run::strategies;
use crate::support::cases::Setting;
use crate::support::compare::{assert_gradients, kept};
use crate::support::parameters::Expected;
use crate::support::ragged::{Part, Ragged, cut, cut_gradients, put};

/// o and lse of every sequence by the reference, side by side.
fn kept_of(ragged: &Ragged) -> Forward {
    let (shape, [_, _, rows]) = (&ragged.case.problem.shape, ragged.case.problem.q_sizes());
    let rows = (shape.q_heads * rows) as usize;
    let mut all = Forward::new(vec![0.0; rows * shape.value_dim as usize], vec![0.0; rows]);
    for (part, case, inputs) in &ragged.sequences {
        let of = kept(&case.problem, &inputs.tensors(case));
        put(&mut all.o, &of.o, shape.q_heads, shape.value_dim, &part.q);
        put(&mut all.lse, &of.lse, shape.q_heads, 1, &part.q);
    }
    all
}

/// What comes from behind, of one sequence.
fn given_of(ragged: &Ragged, given: &Given, part: &Part) -> Given {
    let shape = &ragged.case.problem.shape;
    let dlse = given.dlse.as_ref();
    Given {
        d_o: cut(&given.d_o, shape.q_heads, shape.value_dim, &part.q),
        dlse: dlse.map(|dlse| cut(dlse, shape.q_heads, 1, &part.q)),
        ..*given
    }
}

fn add(sum: &mut ScoreGradients, more: &ScoreGradients, per_batch: bool) {
    let add = |sum: &mut Vec<f64>, more: &[f64]| {
        if sum.is_empty() {
            sum.resize(more.len(), 0.0);
        }
        sum.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
    };
    add(&mut sum.dsinks, &more.dsinks);
    add(&mut sum.dt5, &more.dt5);
    match per_batch {
        true => sum.dslopes.extend(&more.dslopes),
        false => add(&mut sum.dslopes, &more.dslopes),
    }
}

fn expected(ragged: &Ragged, given: &Given) -> Expected {
    let per_batch = ragged.case.problem.score.slopes_per_batch;
    let none = ScoreGradients::default;
    let [mut want, mut value, mut terms] = [none(), none(), none()];
    for (part, case, inputs) in &ragged.sequences {
        let one = Expected::of(case, inputs, &given_of(ragged, given, part));
        add(&mut want, &one.want, per_batch);
        add(&mut value, &one.plain.value, per_batch);
        add(&mut terms, &one.plain.terms, per_batch);
    }
    Expected {
        want,
        plain: crate::support::plain::Rounded { value, terms },
    }
}

fn check(ragged: &Ragged, element: Element, choice: &PlanOptions) {
    let given = Given {
        element,
        score: true,
        ..Given::new(&ragged.case, 5)
    };
    let kept = kept_of(ragged);
    let (attention, inputs) = (&gpu().attention, &ragged.inputs);
    let (plan, backward, output) = run_from(
        gpu(),
        attention,
        (&ragged.case, inputs),
        &kept,
        &given,
        choice,
    );
    let got = output.gradients(&backward);
    let context = format!("{}\n{choice:?}\n{plan}", ragged.case.name);
    for (part, case, inputs) in &ragged.sequences {
        let given = given_of(ragged, &given, part);
        let got = cut_gradients(&ragged.case.problem.shape, &got, part);
        assert_gradients(
            case,
            &inputs.tensors(case),
            (&given.d_o, given.dlse.as_deref()),
            (&got, element),
            &format!("{}, {context}", case.name),
        );
    }
    expected(ragged, &given).assert(&ragged.case, &output.score, &context);
}

#[test]
fn every_gradient_is_what_it_is_alone() {
    for (name, way) in ways() {
        for choice in strategies(gpu()) {
            let ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way);
            check(&ragged, Element::F32, &choice);
        }
    }
}

/// In the inputs' own type, cut at odd places, with gaps between rows.
#[test]
fn odd_rows_and_cut_steps() {
    for (element, way) in [(Element::F16, 1), (Element::BF16, 6), (Element::F16, 4)] {
        let (name, way) = WAYS[way];
        for choice in strategies(gpu()) {
            let setting = Setting::new(20, 17, element);
            let ragged = Ragged::new(name, &setting, HEADS, &MIXED, way).with_gaps();
            let cut = choice.clone().with_splits(3).with_slice_rows(10);
            check(&ragged, element, &cut);
            check(&ragged, element, &choice.clone().with_shared_outputs(true));
        }
    }
}

#[test]
fn cu_seqlens_on_the_device() {
    for choice in strategies(gpu()) {
        for way in [1, 4, 5, 6] {
            let (name, way) = WAYS[way];
            let mut ragged = Ragged::new(name, &setting(), HEADS, &MIXED, way).on_the_device(None);
            if ragged.case.problem.position.rotary.is_some() {
                ragged.case.problem.position.range = Some(-70..=140);
            }
            check(&ragged, Element::F32, &choice);
        }
    }
}
