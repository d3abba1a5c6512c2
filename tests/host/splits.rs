//! In how many parts the keys of a call are taken.

use wgpu_attention::problem::{KvAddress, Lengths, Offsets, Ring, Window};
use wgpu_attention::{Element, Error, Plan, PlanOptions, Problem, Shape};

use crate::planning::software;

/// Fewer splits than a driver's loops allow would give a wrong answer without a word.
#[test]
fn splits_that_loop_too_long_are_refused() {
    let problem = Problem::new(
        Shape {
            kv_len: 600_000,
            ..Shape::square(1, 1, 1, 1)
        },
        Element::F32,
    );
    let plan = |splits| {
        let choice = PlanOptions::default().with_splits(splits);
        Plan::attention(&problem, &software(), &choice)
    };
    let error = plan(1).expect_err("too many keys for one split");
    let least = error.to_string();
    assert!(least.contains("splits is 1"), "{least}");
    assert!(least.contains("at least"), "{least}");
    plan(64).expect("short enough");
}

/// Where a window bounds what is visited, however many tokens a ring may see and wherever its queries stand.
#[test]
fn a_ring_is_split_by_its_window_and_not_by_all_tokens_there_may_be() -> Result<(), Error> {
    let splits = |kv_len: u32| {
        let shape = Shape {
            kv_heads: 8,
            kv_len,
            ..Shape::square(1, 32, 1, 128)
        };
        let ring = Ring::new(4, 1024);
        let mut problem = Problem::new(shape, Element::F32).with_cache(KvAddress::Ring(ring));
        problem.mask.window = Some(Window {
            left: Some(1023),
            right: Some(0),
        });
        problem.mask.first = 4;
        problem.mask.kv_lens = Lengths::Device;
        problem.mask.q_offset = Offsets::Device;
        let plan = Plan::attention(&problem, &software(), &PlanOptions::default())?;
        Ok::<_, Error>(plan.steps()[0].grid)
    };
    assert_eq!(splits(1 << 28)?, splits(2048)?);
    Ok(())
}
