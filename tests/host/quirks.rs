//! Rows of what is broken match the adapters that they name and no others, and plans decline it with the row as reason.

use wgpu_attention::caps::quirks::{Drivers, KNOWN, Which, of};
use wgpu_attention::caps::{AdapterClass, AdapterId, Property, Quirk, Subgroups};
use wgpu_attention::internal::Strategy;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::{Caps, Element, Error, Plan, PlanOptions, Problem, Shape};

fn lavapipe(driver_info: &str) -> AdapterId {
    AdapterId::default()
        .with_name("llvmpipe (LLVM 15.0.6, 256 bits)".into())
        .with_backend("vulkan".into())
        .with_driver("llvmpipe".into())
        .with_driver_info(driver_info.into())
}

fn quirk(property: Property) -> Quirk {
    Quirk::new("made-up", property, "this test")
}

fn plan(head_dim: u32, caps: &Caps, options: &PlanOptions) -> Result<Plan, Error> {
    let problem = Problem::new(Shape::square(1, 2, 256, head_dim), Element::F32);
    Plan::attention(&problem, caps, options)
}

fn eight_lanes() -> Caps {
    Caps::BASELINE
        .with_class(AdapterClass::Cpu)
        .with_subgroups(Subgroups::new(8, 8))
        .with_lanes(8)
        .with_int64(true)
}

fn is_in_lanes(plan: &Plan) -> bool {
    let tiles = plan
        .steps()
        .iter()
        .filter_map(|step| step.variant().tiles());
    tiles
        .into_iter()
        .all(|tiles| tiles.strategy != Strategy::Workgroup)
}

#[test]
fn versions_are_the_first_numbers_of_what_a_driver_tells() {
    for (told, version) in [
        ("Mesa 22.3.6 (LLVM 15.0.6)", Some([22, 3, 6])),
        ("535.183", Some([535, 183, 0])),
        ("v1.2.3.4", Some([1, 2, 3])),
        ("driver 7", None),
        ("", None),
        ("99999999999.1 then 3.4", Some([3, 4, 0])),
    ] {
        assert_eq!(lavapipe(told).driver_version(), version, "{told:?}");
    }
}

#[test]
fn a_row_is_of_the_adapters_that_all_it_states_holds_for() {
    let row = quirk(Property::Subgroups)
        .with_adapter(
            Which::default()
                .with_name("LLVMpipe")
                .with_backend("vulkan")
                .with_class(AdapterClass::Cpu)
                .with_lanes((8, 16)),
        )
        .with_drivers(
            Drivers::default()
                .with_since([22, 0, 0])
                .with_before([23, 1, 0]),
        );
    let cpu = AdapterClass::Cpu;
    let is_of = |adapter: AdapterId, class, lanes| row.is_of(&adapter, class, lanes);
    assert!(is_of(lavapipe("Mesa 22.3.6"), cpu, 8));
    assert!(is_of(lavapipe(""), cpu, 8), "no version is in every range");
    for (driver, class, lanes) in [
        ("Mesa 21.3.6", cpu, 8),
        ("Mesa 23.1.0", cpu, 8),
        ("Mesa 22.3.6", AdapterClass::Discrete, 8),
        ("Mesa 22.3.6", cpu, 4),
    ] {
        assert!(!is_of(lavapipe(driver), class, lanes), "{driver} {lanes}");
    }
    assert!(!is_of(
        lavapipe("")
            .with_name("other".into())
            .with_driver("other".into()),
        cpu,
        8
    ));
    assert!(!is_of(lavapipe("").with_backend("gl".into()), cpu, 8));
}

#[test]
fn software_adapters_have_their_rows_and_gpus_none() {
    let ids = |class, lanes| -> Vec<_> {
        let rows = of(&AdapterId::default(), class, lanes);
        rows.iter().map(|quirk| quirk.id).collect()
    };
    assert_eq!(ids(AdapterClass::Cpu, 8), ["software-loops"]);
    let four = ["software-loops", "narrow-software-words"];
    assert_eq!(ids(AdapterClass::Cpu, 4), four);
    assert_eq!(ids(AdapterClass::Discrete, 32), [""; 0]);
    for row in KNOWN {
        assert!(!row.id.is_empty() && !row.source.is_empty());
    }
}

#[test]
fn broken_subgroups_are_declined_and_refused_with_the_row() {
    let caps = eight_lanes();
    assert!(is_in_lanes(
        &plan(64, &caps, &PlanOptions::default()).expect("a plan")
    ));
    let caps = caps.with_quirks(vec![quirk(Property::Subgroups)]);
    let workgroup = plan(64, &caps, &PlanOptions::default()).expect("a plan");
    assert!(!is_in_lanes(&workgroup));
    let declined = workgroup.declined().iter();
    let reason = declined
        .filter(|declined| declined.path == "subgroup")
        .find(|declined| declined.reason.contains("made-up"));
    assert!(reason.is_some(), "{workgroup}");
    assert!(
        workgroup
            .to_string()
            .contains("known of this adapter: made-up")
    );
    let asked = PlanOptions::default().with_strategy(StrategyKind::Subgroup);
    let error = plan(64, &caps, &asked).expect_err("a refusal");
    assert!(error.to_string().contains("this test"), "{error}");
}

#[test]
fn broken_loads_are_declined_and_refused_with_the_row() {
    let uses = |plan: &Plan| plan.steps().iter().any(|step| step.variant().needs().int64);
    let caps = eight_lanes();
    assert!(uses(
        &plan(64, &caps, &PlanOptions::default()).expect("a plan")
    ));
    let caps = caps.with_quirks(vec![quirk(Property::Loads64)]);
    let without = plan(64, &caps, &PlanOptions::default()).expect("a plan");
    assert!(!uses(&without));
    let declined = without.declined().iter();
    let mut reasons = declined.filter(|declined| declined.path == "64-bit loads");
    assert!(
        reasons.any(|declined| declined.reason.contains("made-up")),
        "{without}"
    );
    let error = plan(64, &caps, &PlanOptions::default().with_vec8(true));
    assert!(
        error
            .expect_err("a refusal")
            .to_string()
            .contains("made-up")
    );
}

#[test]
fn long_rows_leave_lanes_that_cannot_compile_them() {
    let caps = eight_lanes();
    assert!(is_in_lanes(
        &plan(576, &caps, &PlanOptions::default()).expect("a plan")
    ));
    let caps = caps.with_quirks(vec![quirk(Property::RowWords(100))]);
    let workgroup = plan(576, &caps, &PlanOptions::default()).expect("a plan");
    assert!(!is_in_lanes(&workgroup));
    assert!(
        workgroup.to_string().contains("allowed are 100; made-up"),
        "{workgroup}"
    );
}
