//! Ragged batches as data: what is refused and what a plan makes of them.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, CuSeqlens, DenseMask, Layout, Lengths, Mask, Position, Score, Slice,
    position::Rotary,
};
use wgpu_attention::{
    Backward, Caps, Element, Error, Plan, PlanOptions, Problem, Result, Role, Shape,
};

fn tokens(q: u32, k: u32) -> Problem {
    let mut shape = Shape::square(1, 4, q, 16);
    shape.kv_len = k;
    Problem::new(shape, Element::F32)
}

fn ragged() -> Problem {
    let problem = tokens(12, 30).ragged(vec![0, 5, 5, 12], vec![0, 9, 10, 30]);
    problem.expect("sequences that end at their tokens")
}

fn plan(problem: &Problem) -> Result<Plan> {
    Plan::attention(problem, &Caps::BASELINE, &PlanOptions::default())
}

#[test]
fn a_ragged_problem_is_one_of_its_sequences() {
    let problem = ragged();
    let s = problem.shape;
    assert_eq!((s.batch, s.q_len, s.kv_len), (3, 7, 20));
    assert_eq!(
        (problem.q_sizes(), problem.kv_sizes()),
        ([1, 4, 12], [1, 4, 30])
    );
    let plan = plan(&problem).expect("a plan");
    let bytes = |role| {
        plan.requirements()
            .iter()
            .find(|need| need.role == role)
            .map(|x| x.bytes)
    };
    assert_eq!(bytes(Role::Q), Some(12 * 4 * 16 * 4));
    assert_eq!(bytes(Role::V), Some(30 * 4 * 16 * 4));
    assert_eq!(bytes(Role::Lse), Some(12 * 4 * 4));
}

#[test]
fn sequences_that_are_none_are_refused_with_their_place() {
    let of = |q: &[u32], k: &[u32]| tokens(12, 30).ragged(q.to_vec(), k.to_vec()).err();
    let element = |error: Option<Error>, name: &str, at: usize, is: i64| {
        let found = matches!(&error, Some(Error::Element { what, index, actual, .. })
            if (*what, *index, *actual) == (name, at, is));
        assert!(found, "{name}[{at}] is {is}: {error:?}");
    };
    element(of(&[1, 12], &[0, 30]), "cu_seqlens_q", 0, 1);
    element(of(&[0, 8, 7, 12], &[0, 1, 2, 30]), "cu_seqlens_q", 2, 7);
    element(of(&[0, 11], &[0, 30]), "cu_seqlens_q", 1, 11);
    element(of(&[0, 13], &[0, 30]), "cu_seqlens_q", 1, 13);
    element(of(&[0, 12], &[0, 29]), "cu_seqlens_k", 1, 29);
    for (q, k) in [
        (&[][..], &[0, 30][..]),
        (&[0, 12], &[]),
        (&[0, 12], &[0, 1, 30]),
    ] {
        assert!(
            matches!(of(q, k), Some(Error::Values { .. })),
            "{q:?}, {k:?}"
        );
    }
    let several = Problem::new(Shape::square(2, 4, 12, 16), Element::F32);
    let error = several.ragged(vec![0, 12], vec![0, 12]).err();
    assert!(
        matches!(error, Some(Error::Size { what: "batch", .. })),
        "{error:?}"
    );
    // A plan for shorter ones.
    let mut short = ragged();
    short.shape.q_len = 6;
    let error = plan(&short).err();
    element(error, "cu_seqlens_q", 3, 12);
    let far = ragged().with_cu_seqlens_q(CuSeqlens::Device { total: u32::MAX });
    assert!(matches!(
        plan(&far).err(),
        Some(Error::Size {
            what: "cu_seqlens_q",
            ..
        })
    ));
}

#[test]
fn what_sequences_have_no_use_for_is_refused() {
    let s = ragged().shape;
    let pairs = [3, 4, 7];
    let grid = BlockGrid::of(16, &s);
    let blocks = vec![1; grid.lists() * grid.kv_blocks() as usize];
    let mut block_mask = Mask::causal();
    block_mask.blocks = Some(
        BlockMask::from_blocks(grid, &blocks)
            .expect("blocks")
            .into(),
    );
    let visible = vec![true; 3 * 4 * 7 * 20];
    let dense = DenseMask::from_bools(pairs, 20, &visible).expect("a mask");
    let slice = Slice { q: 0..3, k: 0..20 };
    let keys = Slice { q: 0..7, k: 0..3 };
    for (problem, name) in [
        (
            ragged().with_mask(Mask::causal().with_kv_lens(Lengths::Host(vec![1, 1, 1]))),
            "kv_lens",
        ),
        (
            ragged().with_score(Score::default().with_bias(Layout::heads_first(4, 7, 20))),
            "a dense bias",
        ),
        (ragged().with_mask(block_mask), "a block mask"),
        (
            ragged().with_mask(Mask::default().with_dense(dense)),
            "a boolean mask",
        ),
        (ragged().with_slice(slice), "a slice of the queries"),
        (ragged().with_shared_prefix(1), "a shared prefix"),
    ] {
        let error = plan(&problem).err();
        let found = matches!(&error, Some(Error::Ragged { what, .. }) if *what == name);
        assert!(found, "{name}: {error:?}");
    }
    let cut = ragged().with_slice(keys);
    plan(&cut).expect("a plan");
    let backward = Backward::new(cut, Element::F32);
    let error = Plan::backward(&backward, &Caps::BASELINE, &PlanOptions::default()).err();
    assert!(matches!(error, Some(Error::Ragged { .. })), "{error:?}");
}

/// Nobody could tell which positions the table must hold.
#[test]
fn a_table_of_unknown_offsets_is_to_be_stated() {
    let starts = CuSeqlens::Device { total: 12 };
    let problem = ragged()
        .with_cu_seqlens_q(starts)
        .with_position(Position::rotary(Rotary::new(16)));
    assert_eq!(plan(&problem).err(), Some(Error::Unstated));
    let position = Position::rotary(Rotary::new(16)).with_range(-7..=30);
    plan(&problem.with_position(position)).expect("a plan");
}

/// Tiles and pairs are those of the sequences one by one.
#[test]
fn a_ragged_plan_costs_what_its_sequences_cost() {
    let lengths: Vec<u32> = (0..32).map(|n| 1 + n * n * 37 % 311).collect();
    let starts = |lengths: &[u32]| -> Vec<u32> {
        let mut sum = 0;
        let ends = lengths.iter().map(|len| {
            sum += len;
            sum
        });
        std::iter::once(0).chain(ends).collect()
    };
    let total = lengths.iter().sum();
    let of = |problem: Problem| {
        let options = PlanOptions::default().with_decode(false).with_splits(1);
        let problem = problem.with_mask(Mask::causal());
        Plan::attention(&problem, &Caps::BASELINE, &options).expect("a plan")
    };
    let problem = tokens(total, total).ragged(starts(&lengths), starts(&lengths));
    let plan = of(problem.expect("sequences"));
    let prefill = |plan: &Plan| {
        let steps = plan
            .steps()
            .iter()
            .filter(|x| matches!(x.variant(), Variant::Prefill(_)));
        steps
            .map(|x| {
                (
                    x.cost.visited,
                    x.cost.flops,
                    u64::from(x.grid[0] * x.grid[1]),
                )
            })
            .fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
    };
    let one_by_one = lengths.iter().map(|&n| prefill(&of(tokens(n, n))));
    let sum = one_by_one.fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
    let whole = prefill(&plan);
    assert_eq!(whole.1, sum.1, "FLOPs");
    // Tiles are of one size in both but where so little work takes small ones.
    assert!(whole.0 <= sum.0 + sum.0 / 10, "{whole:?}, {sum:?}");
    assert!(whole.2 <= sum.2 + sum.2 / 10, "{whole:?}, {sum:?}");
}
