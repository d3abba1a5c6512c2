//! What values on the device may be, as the shader is told.

use wgpu_attention::plan::Allowed;
use wgpu_attention::{Backward, Caps, Element, Layout, Plan, PlanOptions, Problem, Role, Shape};

/// As `shaders/kernel/check.wgsl` judges a word.
fn allows(allowed: &Allowed, word: u32) -> bool {
    let [mask, low, span, _] = allowed.rule();
    (word & mask).wrapping_sub(low) <= span
}

#[test]
fn rules_of_whole_numbers() {
    let ends = [
        i32::MIN,
        i32::MIN + 1,
        -7,
        -1,
        0,
        1,
        9,
        i32::MAX - 1,
        i32::MAX,
    ];
    for start in ends {
        let few = Allowed::UpTo(9);
        assert_eq!(allows(&few, start as u32), (0..=9).contains(&start));
        for end in ends.into_iter().filter(|end| start <= *end) {
            let within = Allowed::Within(start..=end);
            for x in ends {
                let expected = (start..=end).contains(&x);
                assert_eq!(allows(&within, x as u32), expected, "{within:?} {x}");
            }
        }
    }
}

/// Each word after the one before it, at most so much more.
#[test]
fn the_rule_of_rising_numbers() {
    assert_eq!(Allowed::Rising(7).rule(), [u32::MAX, 0, 7, 1]);
    let others = [
        Allowed::UpTo(7),
        Allowed::Within(-1..=7),
        Allowed::Magnitude(1.0),
        Allowed::NotNan,
    ];
    assert!(others.iter().all(|allowed| allowed.rule()[3] == 0));
}

/// By their bits; every NaN counts, whatever its sign and payload.
#[test]
fn rules_of_numbers() {
    let infinity = f32::INFINITY;
    for x in [0.0, -0.0, 1e-45, f32::MAX, f32::MIN, infinity, -infinity] {
        let allowed = Allowed::Magnitude(f32::MAX);
        assert_eq!(allows(&allowed, x.to_bits()), x.is_finite(), "{x}");
        let few = Allowed::Magnitude(1e37);
        assert_eq!(allows(&few, x.to_bits()), x.abs() <= 1e37, "{x}");
        assert!(allows(&Allowed::NotNan, x.to_bits()), "{x}");
    }
    for x in [1e37, -1e37, f32::from_bits(1e37f32.to_bits() + 1)] {
        let few = Allowed::Magnitude(1e37);
        assert_eq!(allows(&few, f32::to_bits(x)), x.abs() <= 1e37, "{x}");
    }
    for nan in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff] {
        assert!(!allows(&Allowed::Magnitude(f32::MAX), nan), "{nan:x}");
        assert!(!allows(&Allowed::NotNan, nan), "{nan:x}");
    }
}

/// Where a binding does not hold it: part after part, each number once.
#[test]
fn an_lse_larger_than_a_binding_is_checked_in_parts() {
    let mut problem = Problem::new(Shape::square(3, 2, 700, 8), Element::F32);
    problem.lse = Layout::rows_first(2, 700, 1).at(5);
    let caps = Caps::BASELINE.with_binding_bytes(4 << 10);
    let backward = Backward::new(problem.clone(), Element::F32);
    let plan = Plan::backward(&backward, &caps, &PlanOptions::default()).expect("parts that fit");
    let checks = plan.checks();
    assert!(checks.len() > 3, "{checks:?}");
    let mut next = 0;
    for check in &checks {
        assert_eq!((check.role, check.first), (Role::Lse, next));
        let (bh, i) = (next / 700, next % 700);
        assert_eq!(check.layout.offset, problem.lse.index(bh / 2, bh % 2, i));
        for (_, binding) in check.step(65_535).bindings() {
            assert!(binding.size <= caps.binding_bytes && binding.offset % 256 == 0);
        }
        next += check.words;
    }
    assert_eq!(next, 3 * 2 * 700);
}
