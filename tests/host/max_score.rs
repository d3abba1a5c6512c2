//! The largest scores: their definition by hand, the operands they take, and what is refused.

use wgpu_attention::problem::{Layout, Mask, MaxScore, Values};
use wgpu_attention::reference::{Tensors, max_scores, max_scores_per_head};
use wgpu_attention::{Caps, Element, Error, Plan, PlanOptions, Problem, Role, Shape};

const NONE: f64 = f64::NEG_INFINITY;

fn problem() -> Problem {
    let shape = Shape {
        q_len: 3,
        ..Shape::square(2, 2, 2, 1)
    };
    Problem::new(shape, Element::F32).with_mask(Mask::causal())
}

/// Query 0 sees nothing, query 1 key 0, query 2 both.
#[test]
fn by_hand() {
    let mut problem = problem();
    problem.score.sinks = Some(Values::Host(vec![100.0; 2]));
    let q = [1.0, 2.0, 3.0, 1.0, -1.0, -2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let k = [5.0, 4.0, 1.0, 2.0, -7.0, -8.0, 3.0, f64::NAN];
    let v = [0.0; 8];
    let rows = max_scores(&problem, &Tensors::new(&q, &k, &v));
    let want = [
        NONE, 10.0, 15.0, NONE, -1.0, -2.0, NONE, -7.0, -7.0, NONE, 3.0,
    ];
    assert_eq!(rows[..11], want);
    assert!(rows[11].is_nan());
    let heads = max_scores_per_head(&problem, &rows);
    assert_eq!(heads[0], 15.0);
    assert!(heads[1].is_nan());
}

#[test]
fn what_a_plan_requires() {
    let requires = |asked: Option<MaxScore>| {
        let mut p = problem();
        p.max_score = asked;
        let plan = Plan::attention(&p, &Caps::BASELINE, &PlanOptions::default()).expect("a plan");
        let needs = plan.requirements().iter();
        let of = |role| {
            needs
                .clone()
                .find(|need| need.role == role)
                .map(|need| need.bytes)
        };
        [of(Role::MaxScore), of(Role::MaxScorePerHead)]
    };
    let rows = MaxScore::rows(&problem().shape);
    assert_eq!(requires(None), [None, None]);
    assert_eq!(requires(Some(rows)), [Some(2 * 2 * 3 * 4), None]);
    let both = rows.with_per_head(true);
    assert_eq!(requires(Some(both)), [Some(2 * 2 * 3 * 4), Some(2 * 4)]);
}

#[test]
fn a_layout_that_overlaps_itself() {
    let shape = problem().shape;
    let layout = Layout::heads_first(2, 2, 1);
    let p = problem().with_max_score(MaxScore::rows(&shape).with_layout(layout));
    let error = p.validate().expect_err("rows of a head are three");
    assert!(
        matches!(
            error,
            Error::Overlap {
                what: "max_score",
                ..
            }
        ),
        "{error}"
    );
}
