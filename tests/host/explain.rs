//! What plans say of one of a thing and of small numbers.

use std::time::Duration;

use wgpu_attention::{Budget, Caps, Element, Merge, Plan, PlanOptions, Tiling};

fn merge(parts: u32) -> Plan {
    let merge = Merge::new(parts, [1, 1, 1], 4, Element::F32);
    Plan::merge(&merge, &Caps::BASELINE, &PlanOptions::default()).expect("a plan")
}

#[test]
fn one_of_a_thing_is_singular() {
    let one = merge(1).to_string();
    assert!(one.contains("merge of 1 partial of o"), "{one}");
    let two = merge(2).to_string();
    assert!(two.contains("merge of 2 partials of o"), "{two}");
    let tiling = Tiling {
        invocations: 8,
        lanes_per_row: 8,
        rows: 1,
        keys: 8,
        tile: 8,
    };
    let said = tiling.to_string();
    assert!(said.starts_with("1 row x 8 keys (8 invocations"), "{said}");
}

#[test]
fn times_are_in_a_unit_that_leaves_digits() {
    for (nanoseconds, said) in [
        (1, "1 ns"),
        (400, "400 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (999_400, "999 us"),
        (999_960, "1.0 ms"),
        (16_000_000, "16.0 ms"),
        (999_940_000, "999.9 ms"),
        (999_960_000, "1.00 s"),
        (1_500_000_000, "1.50 s"),
    ] {
        let budget = Budget::try_from(Duration::from_nanos(nanoseconds)).expect("a budget");
        assert_eq!(budget.to_string(), said);
    }
}
