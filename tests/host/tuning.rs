//! Tunings: text and back, whose they are, what plans take of them, and that no text makes a wrong plan.

mod fuzz;

use wgpu_attention::caps::{AdapterClass, AdapterId, Property, Subgroups, quirks};
use wgpu_attention::internal::{Strategy, Tiles};
use wgpu_attention::tuning::{Class, KernelFamily, MaskClass, Row, TunedTiles};
use wgpu_attention::{
    Backward, Caps, Element, Error, Mask, Plan, PlanOptions, Problem, Shape, Tiling, Tuning,
};

fn adapter() -> AdapterId {
    AdapterId::default()
        .with_name("a \"GPU\" of ours".into())
        .with_backend("vulkan".into())
        .with_driver("driver".into())
        .with_driver_info("1.2.3".into())
}

fn caps() -> Caps {
    Caps::BASELINE
        .with_adapter(adapter())
        .with_class(AdapterClass::Discrete)
        .with_subgroups(Subgroups::new(32, 32))
        .with_lanes(32)
}

fn problem() -> Problem {
    Problem::new(Shape::square(2, 8, 1024, 64), Element::F16).with_mask(Mask::causal())
}

fn plan(problem: &Problem, tuning: Option<&Tuning>) -> Plan {
    let options = PlanOptions::default().with_tuning(tuning.cloned().map(Into::into));
    Plan::attention(problem, &caps(), &options).expect("a plan, with any tuning")
}

fn tiles(plan: &Plan) -> Tiles {
    let mut tiles = plan
        .steps()
        .iter()
        .filter_map(|step| step.variant().tiles());
    tiles.next().expect("a kernel with tiles")
}

/// A row for the one class of a plan.
fn row(plan: &Plan, change: impl Fn(&mut TunedTiles)) -> Row {
    row_at(plan, 0, change)
}

/// The same for the class of this number.
fn row_at(plan: &Plan, n: usize, change: impl Fn(&mut TunedTiles)) -> Row {
    let (class, mut tiles) = plan.tile_classes().nth(n).expect("a class");
    change(&mut tiles);
    Row::new(class, tiles, 1_200_000, 1_000_000)
}

fn tuning(row: Row) -> Tuning {
    let mut tuning = Tuning::new(adapter());
    tuning.insert(row);
    tuning
}

fn notes(plan: &Plan) -> String {
    plan.notes().join("\n")
}

const WORKGROUP: TunedTiles = {
    let mut tiles = TunedTiles::workgroup(Tiling {
        invocations: 64,
        lanes_per_row: 1,
        rows: 1,
        keys: 2,
        tile: 8,
    });
    tiles.busy = Some(512);
    tiles
};

#[test]
fn a_class_is_what_tiles_depend_on() {
    let class = |problem: &Problem| plan(problem, None).tile_classes().next().expect("one").0;
    let causal = class(&problem());
    assert_eq!(
        causal,
        Class::new(KernelFamily::Prefill, Element::F16, 64)
            .with_rows(1024)
            .with_mask(MaskClass::Interval)
    );
    let mut longer = problem();
    longer.shape.q_len = 5000;
    longer.shape.kv_len = 5000;
    let longer = Problem::new(longer.shape, Element::F16).with_mask(Mask::causal());
    assert_eq!(
        class(&longer),
        causal,
        "a longer context is of the same class"
    );
    let one = Shape {
        q_len: 1,
        ..problem().shape
    };
    assert_eq!(
        class(&Problem::new(one, Element::F16)).kernel,
        KernelFamily::Decode
    );
    let backward = Backward::new(problem(), Element::F32);
    let backward = Plan::backward(&backward, &caps(), &PlanOptions::default()).expect("a plan");
    let kernels: Vec<_> = backward
        .tile_classes()
        .map(|(class, _)| class.kernel)
        .collect();
    assert_eq!(kernels, [KernelFamily::GradKv, KernelFamily::GradQ]);
}

#[test]
fn text_and_back() {
    let plain = plan(&problem(), None);
    let mut tuning = tuning(row(&plain, |tiles| *tiles = WORKGROUP));
    let one = Shape {
        q_len: 1,
        ..problem().shape
    };
    let one = plan(
        &Problem::new(one, Element::F16).with_kv_elements(Element::Int8, Element::Int4),
        None,
    );
    tuning.insert(row(&one, |_| {}));
    let text = tuning.to_json();
    assert_eq!(
        Tuning::from_json(&text).expect("our own text"),
        tuning,
        "{text}"
    );
    assert_eq!(tuning.rows().len(), 2);
    // A row of the same class takes the other's place.
    tuning.insert(row(&plain, |_| {}));
    assert_eq!(tuning.rows().len(), 2);
}

#[test]
fn a_plan_takes_its_tiles_from_the_tuning_and_says_so() {
    let table = plan(&problem(), None);
    assert!(matches!(tiles(&table).strategy, Strategy::Subgroup { .. }));
    assert!(
        notes(&table).contains("table of discrete adapters"),
        "{table}"
    );
    let tuned = plan(
        &problem(),
        Some(&tuning(row(&table, |tiles| *tiles = WORKGROUP))),
    );
    let used = tiles(&tuned);
    assert_eq!(
        (used.strategy, used.tiling),
        (Strategy::Workgroup, WORKGROUP.tiling)
    );
    assert!(
        notes(&tuned).contains("tiles of prefill are those of the tuning"),
        "{tuned}"
    );
    assert!(!notes(&tuned).contains("table"), "{tuned}");
    // Another class has no row.
    let other = plan(
        &problem().with_mask(Mask::default()),
        Some(&tuning(row(&table, |tiles| *tiles = WORKGROUP))),
    );
    assert!(
        notes(&other).contains("table of discrete adapters"),
        "{other}"
    );
    // What the caller forces comes first.
    let asked = tiles(&table).tiling;
    let options = PlanOptions::default()
        .with_tiling(asked)
        .with_tuning(std::sync::Arc::new(tuning(row(&table, |tiles| {
            *tiles = WORKGROUP
        }))));
    let forced = Plan::attention(&problem(), &caps(), &options).expect("a plan");
    assert_eq!(tiles(&forced).tiling, asked);
}

#[test]
fn keys_are_split_for_the_measured_number_of_workgroups() {
    let one = Shape {
        batch: 1,
        q_len: 1,
        kv_len: 1 << 16,
        ..problem().shape
    };
    let one = Problem::new(one, Element::F16);
    let table = plan(&one, None);
    let splits = |plan: &Plan| plan.steps()[0].params().work.splits;
    let few = plan(
        &one,
        Some(&tuning(row(&table, |tiles| tiles.busy = Some(16)))),
    );
    assert!(splits(&few) < splits(&table), "{table}\n{few}");
    assert!(splits(&few) > 1, "{few}");
}

#[test]
fn a_tuning_of_something_else_is_left_out_with_a_note() {
    let table = plan(&problem(), None);
    let own = tuning(row(&table, |tiles| *tiles = WORKGROUP));
    let text = own.to_json();
    for (from, to, said) in [
        ("1.2.3", "1.2.4", "1.2.4"),
        ("of ours", "of theirs", "of theirs"),
        ("vulkan", "metal", "metal"),
        (env!("CARGO_PKG_VERSION"), "0.0.9", "wgpu-attention 0.0.9"),
    ] {
        let stale = Tuning::from_json(&text.replace(from, to)).expect("a tuning");
        let plan = plan(&problem(), Some(&stale));
        assert_eq!(plan.steps(), table.steps());
        assert!(
            notes(&plan).contains(said) && notes(&plan).contains("measure anew"),
            "{plan}"
        );
        let error = stale.check_current(&caps()).expect_err("another device");
        assert!(matches!(error, Error::StaleTuning { .. }));
    }
    own.check_current(&caps()).expect("this device");
}

#[test]
fn tiles_that_do_not_fit_the_device_are_left_out_with_a_note() {
    let table = plan(&problem(), None);
    for (change, said) in [
        (
            (|tiles| tiles.tiling.rows = 65_536) as fn(&mut TunedTiles),
            "rows per invocation",
        ),
        (|tiles| tiles.tiling.tile = 3, "does not fit clusters"),
        (
            |tiles| tiles.tiling.invocations = 512,
            "invocations per workgroup",
        ),
        (|tiles| tiles.width = Some(64), "does not fit subgroups"),
        (
            |tiles| {
                *tiles = WORKGROUP.with_tiling(Tiling {
                    tile: 32,
                    keys: 3,
                    ..WORKGROUP.tiling
                })
            },
            "multiple of keys per step",
        ),
    ] {
        let plan = plan(&problem(), Some(&tuning(row(&table, change))));
        assert_eq!(plan.steps(), table.steps(), "{plan}");
        assert!(
            notes(&plan).contains("are left out") && notes(&plan).contains(said),
            "{plan}"
        );
    }
}

/// What is known to be broken comes before what was measured.
#[test]
fn a_row_against_a_quirk_is_left_out() {
    let table = plan(&problem(), None);
    let quirk = quirks::Quirk::new("made-up", Property::RowWords(100), "this test");
    let caps = caps().with_quirks(vec![quirk]);
    let tuning = tuning(row(&table, |tiles| {
        tiles.tiling.lanes_per_row = 1;
        (tiles.tiling.keys, tiles.tiling.tile) = (32, 32);
    }));
    let options = PlanOptions::default().with_tuning(std::sync::Arc::new(tuning));
    let plan = Plan::attention(&problem(), &caps, &options).expect("a plan");
    assert!(
        notes(&plan).contains("made-up: lanes that hold more than 100"),
        "{plan}"
    );
}

#[test]
fn texts_that_are_no_tunings_are_refused_with_the_field() {
    let text = tuning(row(&plan(&problem(), None), |_| {})).to_json();
    for (from, to, field) in [
        (
            "\"version\": 1",
            "\"version\": 2",
            "version is 2; allowed is 1",
        ),
        ("wgpu-attention tuning", "other", "format"),
        ("\"tile\": ", "\"tile\": -", "rows[0].tile"),
        ("\"tile\": ", "\"tiles\": ", "rows[0].tile is missing"),
        (
            "\"head_dim\": 64",
            "\"head_dim\": 6400",
            "rows[0].head_dim is 6400; allowed is a whole number from 1 to 576",
        ),
        (
            "\"q\": \"f16\"",
            "\"q\": \"f64\"",
            "one of f32, f16, bf16, int8, int4",
        ),
        ("\"small\": false", "\"small\": 0", "true or false"),
        (
            "\"name\": \"",
            "\"name\": 7, \"x\": \"",
            "adapter.name is 7; allowed is a string",
        ),
        (
            "\"rows\": [",
            "\"rows\": 7, \"x\": [",
            "rows is 7; allowed is a list",
        ),
        (
            "\"width\": 32",
            "\"width\": null, \"key_loop\": true, \"x\": 32",
            "key_loop",
        ),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        let error = Tuning::from_json(&broken).expect_err(&broken);
        assert!(matches!(error, Error::Tuning { .. }));
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
    let twice = Tuning::from_json(&text).expect("a tuning").to_json();
    let start = twice.find("\"rows\": [").expect("rows") + "\"rows\": [".len();
    let end = twice.rfind(']').expect("rows");
    let twice = format!("{},{}{}", &twice[..end], &twice[start..end], &twice[end..]);
    let error = Tuning::from_json(&twice).expect_err("two rows of a class");
    assert!(error.to_string().contains("rows[1]"), "{error}");
}
