//! Prefixes that sequences share: what is planned for them, why not, and what is refused.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::position::{Rotary, Temperature};
use wgpu_attention::problem::{KvAddress, Lengths, Offsets, Position, Ring, Slice, Tree, Values};
use wgpu_attention::{
    Caps, Element, Error, Mask, Plan, PlanOptions, Problem, Shape, plan::RotateWhere,
};

const BATCH: u32 = 16;
const SHARED: u32 = 4096;

fn problem() -> Problem {
    let shape = Shape {
        batch: BATCH,
        q_heads: 32,
        kv_heads: 8,
        q_len: 1,
        kv_len: 4200,
        head_dim: 128,
        value_dim: 128,
    };
    let problem = Problem::new(shape, Element::F32).with_mask(Mask::causal());
    problem.with_shared_prefix(SHARED)
}

/// The keys of all sequences in one buffer take more than WebGPU's default.
fn caps() -> Caps {
    let bytes = 1 << 30;
    Caps::BASELINE
        .with_buffer_bytes(bytes)
        .with_binding_bytes(bytes)
}

fn plan(problem: &Problem) -> Plan {
    let caps = caps();
    Plan::attention(problem, &caps, &PlanOptions::default()).expect("a plan")
}

/// The reason why a plan has no cascade.
fn declined(plan: &Plan) -> Option<&str> {
    let found = plan.declined().iter().find(|x| x.path == "cascade");
    found.map(|x| &*x.reason)
}

fn read_bytes(plan: &Plan, which: impl Fn(&Variant) -> bool) -> u64 {
    let steps = plan.steps().iter().filter(|step| which(&step.variant()));
    steps.map(|step| step.cost.read_bytes).sum()
}

/// Keys and values of one sequence instead of sixteen, of the queries as many.
#[test]
fn a_plan_says_what_was_saved() {
    let (cascade, apart) = (plan(&problem()), plan(&problem().with_shared_prefix(0)));
    assert_eq!(declined(&cascade), None, "{cascade}");
    let is_tiled = |v: &Variant| matches!(v, Variant::Prefill(_) | Variant::Decode(_));
    let row = 2 * 128 * 4 * 8;
    let saved = read_bytes(&apart, is_tiled) - read_bytes(&cascade, is_tiled);
    let expected = u64::from(BATCH - 1) * u64::from(SHARED) * row;
    // The queries are read for both parts, once per tile.
    let off = expected.abs_diff(saved);
    assert!(off < expected / 100, "{saved} for {expected}: {cascade}");
    let note = cascade.notes().iter().find(|note| note.contains("at once"));
    let note = note.unwrap_or_else(|| panic!("{cascade}"));
    assert!(
        note.contains("keys 0 to 4095 are read for all 16 sequences at once"),
        "{note}"
    );
    assert!(
        note.contains("34.3 MiB read instead of 512.2 MiB"),
        "{note}"
    );
    let merges = |plan: &Plan| {
        let merges = |v: &Variant| matches!(v, Variant::Merge(_));
        plan.steps()
            .iter()
            .filter(|step| merges(&step.variant()))
            .count()
    };
    assert!(merges(&cascade) > 0, "{cascade}");
}

/// Drafts of several queries share tiles, too: each of them is a head of the shared keys' call.
#[test]
fn several_queries_read_the_prefix_once() {
    let mut drafts = problem();
    drafts.shape.q_len = 4;
    let drafts = Problem::new(drafts.shape, Element::F32)
        .with_mask(Mask::default().with_tree(Tree::Host([-1, 0, 0, 1].repeat(BATCH as usize))))
        .with_shared_prefix(SHARED);
    let (cascade, apart) = (plan(&drafts), plan(&drafts.clone().with_shared_prefix(0)));
    assert_eq!(declined(&cascade), None, "{cascade}");
    assert!(
        cascade.cost().read_bytes * 3 < apart.cost().read_bytes,
        "{cascade}"
    );
}

#[test]
fn what_declines_says_why() {
    let score = |change: &dyn Fn(&mut wgpu_attention::problem::Score)| {
        let mut p = problem();
        change(&mut p.score);
        p
    };
    let rotary = || Position::rotary(Rotary::new(128));
    let mut one = problem();
    one.shape.batch = 1;
    let cold = Rotary::new(128).with_temperature(Some(Temperature::new(0.1, 8192).with_offset(1)));
    let ring = KvAddress::Ring(Ring::new(0, 4200));
    let ways = [
        (one, "one sequence"),
        (problem().with_shared_prefix(63), "fewer than 64"),
        (
            problem().with_slice(Some(Slice {
                q: 0..1,
                k: 9..4200,
            })),
            "a part of the shared keys",
        ),
        (problem().with_mask(Mask::window(99, 0)), "window"),
        (
            score(&|s| s.slopes = Some(Values::Host(vec![0.5; 32]))),
            "biases",
        ),
        (problem().with_position(rotary()), "k_rotated"),
        (
            problem().with_position(Position::rotary(cold).with_k_rotated(true)),
            "temperatures",
        ),
        (problem().with_cache(ring), "rings"),
    ];
    for (problem, word) in ways {
        let plan = plan(&problem);
        let reason = declined(&plan).unwrap_or_else(|| panic!("{word}\n{plan}"));
        assert!(reason.contains(word), "{reason}");
    }
    assert_eq!(
        declined(&plan(
            &problem().with_position(rotary().with_k_rotated(true))
        )),
        None
    );
}

/// Where queries fill their tiles by themselves nothing is saved.
#[test]
fn many_queries_gain_nothing() {
    let mut shape = problem().shape;
    (shape.batch, shape.q_len) = (2, 500);
    let many = Problem::new(shape, Element::F32).with_shared_prefix(1000);
    let plan = plan(&many);
    let reason = declined(&plan).unwrap_or_else(|| panic!("{plan}"));
    assert!(
        reason.contains("of the shared keys would be read instead of"),
        "{reason}"
    );
}

/// Results that no binding holds are left to the families that cut them.
#[test]
fn results_larger_than_a_binding_decline() {
    let caps = Caps::BASELINE.with_binding_bytes(400 << 10);
    let small = {
        let mut shape = problem().shape;
        (shape.kv_heads, shape.kv_len) = (1, 300);
        Problem::new(shape, Element::F32).with_shared_prefix(200)
    };
    let plan = Plan::attention(&small, &caps, &PlanOptions::default()).expect("a plan");
    let reason = declined(&plan).unwrap_or_else(|| panic!("{plan}"));
    assert!(reason.contains("a binding holds"), "{reason}");
}

#[test]
fn forced_choices_stay_errors() {
    let rotated = Position::rotary(Rotary::new(128)).with_k_rotated(true);
    let options = PlanOptions::default().with_rotate(RotateWhere::Fused);
    let problem = problem().with_position(rotated);
    let refused = Plan::attention(&problem, &Caps::BASELINE, &options);
    assert!(
        matches!(refused, Err(Error::Strategy { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_prefix_that_some_query_does_not_see_is_refused() {
    let said = |problem: Problem| problem.validate().unwrap_err().to_string();
    let masked = |mask: Mask| problem().with_mask(mask);
    let long = said(problem().with_shared_prefix(4201));
    assert!(
        long.contains("shared_prefix is 4201") && long.contains("at most kv_len = 4200"),
        "{long}"
    );
    let mut lens = vec![4200; BATCH as usize];
    lens[3] = 4095;
    let short = said(masked(Mask::default().with_kv_lens(Lengths::Host(lens))));
    assert!(
        short.contains("at most 4095, the keys of batch 3"),
        "{short}"
    );
    let mut offsets = vec![4199; BATCH as usize];
    offsets[5] = 4094;
    let offsets = |mask: Mask| mask.with_q_offset(Offsets::Host(offsets.clone()));
    let before = said(masked(offsets(Mask::causal())));
    assert!(
        before.contains("at most 4095, the keys that the first query of batch 5 sees"),
        "{before}"
    );
    assert_eq!(masked(offsets(Mask::default())).validate(), Ok(()));
    assert_eq!(
        masked(offsets(Mask::causal().with_prefix(SHARED))).validate(),
        Ok(())
    );
    let tree = Mask::default().with_tree(Tree::Host(vec![-1; BATCH as usize]));
    let drafted = said(masked(tree).with_shared_prefix(4200));
    assert!(drafted.contains("at most 4199"), "{drafted}");
    // Every key of a cache may be shared, where only the device knows where queries stand.
    let device = Mask::causal().with_q_offset(Offsets::Device);
    assert_eq!(masked(device).with_shared_prefix(4200).validate(), Ok(()));
}

/// Gradients are each sequence's own.
#[test]
fn a_backward_pass_says_that_it_reads_each_prefix() {
    let backward = wgpu_attention::Backward::new(problem(), Element::F32);
    let plan = Plan::backward(&backward, &caps(), &PlanOptions::default()).expect("a plan");
    let reason = declined(&plan).unwrap_or_else(|| panic!("{plan}"));
    assert!(reason.contains("gradients"), "{reason}");
}
