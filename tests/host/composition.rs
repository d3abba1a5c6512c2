//! The composer: imports, slots, conditions, loops, and errors that name module and line.

use std::collections::BTreeSet;
use std::time::Instant;

use wgpu_attention::Plan;
use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::internal::{Merge, Output, Variant};
use wgpu_attention::internal::{Shader, Source};
use wgpu_attention::{Backward, Caps, Element, Error, PlanOptions, Problem, Shape};

const MAIN: &str = "import part::a;
import slot::rows for q;
@if(loud) const LOUD = 1u;
@if(!loud) const QUIET = 1u;
@if(loud) fn block() {
    a();
}
@unroll for (var i = 0u; i < N; i++) { x.i = i + index; }
@unroll_one for (var i = 0u; i < N; i++) { left(i); }
";

fn modules(name: &str) -> Option<&'static str> {
    match name {
        "kernel::main" => Some(MAIN),
        "part::a" => Some("import part::b;\nfn a() {}"),
        "part::b" => Some("fn b() {}"),
        "address::rows" => Some("alias tensor_word = f32;\nfn tensor_at() {}"),
        "kernel::tensors" => Some("import part::of_tensor for d_o;"),
        "part::of_tensor" => Some(
            "import slot::rows for tensor;\n@if(tensor_loud) alias TensorPlace = u32;\nfn tensor_n() { x.tensor_n = TENSOR_N; }",
        ),
        "kernel::lost" => Some("\nimport part::nowhere;"),
        "kernel::unfilled" => Some("import slot::nothing;"),
        "kernel::endless" => Some("fn f() {\n@unroll for (var i = 0u; i < UNKNOWN; i++) { }\n}"),
        "kernel::wrong" => Some("import part::a;\nfn f() -> u32 {\n    return 1.5;\n}"),
        "kernel::bare" => {
            Some("var<workgroup> w: u32;\nfn f() {\n    @if(!loud) var x: f32; // = 1\n}")
        }
        "kernel::bare_private" => Some("var<private> x: u32;"),
        "kernel::initialised" => {
            Some("fn f() { var x = f32(); for (var i: u32 = 0u; i < 2u; i++) {} }")
        }
        "kernel::broken" => Some("import part::a;\n\nfn f( {}"),
        _ => None,
    }
}

fn source(kernel: &'static str) -> Source {
    let mut source = Source::new(kernel);
    source.constant("N", 2);
    source.slot("rows", vec!["address::rows"]);
    source.flag("loud", false);
    source
}

fn compose(kernel: &'static str) -> Result<Shader, Error> {
    source(kernel).compose(modules)
}

fn refused(error: Error) -> (String, usize) {
    match error {
        Error::Compose { module, line, .. } => (module, line),
        other => panic!("{other}"),
    }
}

#[test]
fn modules_stand_once_before_what_imports_them() {
    let shader = compose("main").expect("whole");
    let text = shader.wgsl();
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("no {part} in\n{text}"))
    };
    assert!(at("const N = 2u;") < at("fn b()"));
    assert!(at("fn b()") < at("fn a()"));
    assert_eq!(text.matches("fn a()").count(), 1);
    assert!(text.contains("alias q_word = f32;\nfn q_at() {}"));
}

#[test]
fn names_follow_the_tensor_that_a_module_is_imported_for() {
    let mut source = source("tensors");
    source.flag("d_o_loud", true);
    let shader = source.compose(modules).expect("whole");
    let text = shader.wgsl();
    assert!(text.contains("alias d_o_word = f32;"), "{text}");
    assert!(
        text.ends_with("alias DOPlace = u32;\nfn d_o_n() { x.d_o_n = D_O_N; }\n"),
        "{text}"
    );
}

/// What a kernel says of strategies and addresses would be said again by each new one. `pack` goes the other way, from an
/// element to its row.
#[test]
fn kernels_name_no_strategy_and_no_address() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/kernel");
    let mut files = 0;
    for file in std::fs::read_dir(directory).expect("the kernels") {
        let path = file.expect("a file").path();
        if path.ends_with("pack.wgsl") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let own = text
            .replace("slot::strategy", "")
            .replace("slot::address", "");
        let name = path.display();
        for word in ["strategy::", "address::", "subgroup", "lane"] {
            assert!(!own.contains(word), "{name} says {word}");
        }
        for field in own.split("params.").skip(1) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
            let field = field.split(|c| !is_name(c)).next().unwrap_or_default();
            let strides = [".row", ".head", ".batch"];
            assert!(
                field == "sizes.batch" || !strides.iter().any(|stride| field.ends_with(stride)),
                "{name} reads {field}"
            );
        }
        files += 1;
    }
    assert!(files > 10);
}

#[test]
fn every_variable_has_its_initial_value() {
    for (kernel, line) in [("bare", 3), ("bare_private", 1)] {
        let (module, number) = refused(compose(kernel).expect_err(kernel));
        assert_eq!((module, number), (format!("kernel::{kernel}"), line));
    }
    compose("initialised").expect("every variable has a value");
}

#[test]
fn conditions_keep_and_drop_lines_and_blocks() {
    let quiet = compose("main").expect("whole");
    assert!(quiet.wgsl().contains("QUIET") && !quiet.wgsl().contains("LOUD"));
    assert!(!quiet.wgsl().contains("a();"));
    let mut source = source("main");
    source.flag("loud", true);
    let loud = source.compose(modules).expect("whole");
    assert!(loud.wgsl().contains("LOUD") && loud.wgsl().contains("fn block() {\n    a();\n}"));
}

#[test]
fn loops_are_unrolled_with_their_variable_alone() {
    let shader = compose("main").expect("whole");
    assert!(
        shader
            .wgsl()
            .contains("{ x.i = 0u + index; }\n{ x.i = 1u + index; }")
    );
    assert!(
        shader
            .wgsl()
            .contains("for (var i = 0u; i < N; i++) { left(i); }")
    );
}

#[test]
fn lines_know_where_they_came_from() {
    let shader = compose("main").expect("whole");
    let number = 1 + shader
        .wgsl()
        .lines()
        .position(|line| line == "fn a() {}")
        .expect("a line");
    assert_eq!(shader.origin(number), Some(("part::a", 2)));
    assert_eq!(shader.origin(0), None);
}

#[test]
fn faulty_compositions_name_module_and_line() {
    let faults = [("lost", 2), ("unfilled", 1), ("endless", 2)];
    for (kernel, line) in faults {
        let (module, at) = refused(compose(kernel).expect_err("faulty"));
        assert_eq!((module, at), (format!("kernel::{kernel}"), line));
    }
}

#[test]
fn what_naga_refuses_is_told_by_module_and_line() {
    for (kernel, line) in [("wrong", 3), ("broken", 3)] {
        let shader = compose(kernel).expect("composed");
        let output = Output::scratch(4);
        let plain = Variant::from(Merge { output });
        let error = shader.validate(plain.needs()).expect_err("no valid WGSL");
        let (module, at) = refused(error);
        assert_eq!((module, at), (format!("kernel::{kernel}"), line));
    }
}

/// What a software adapter and the least device get for long sequences, forward and backward.
fn default_variants() -> BTreeSet<Variant> {
    let software = Caps::BASELINE
        .with_class(AdapterClass::Cpu)
        .with_subgroups(Subgroups::new(8, 8))
        .with_int64(true);
    let plans = |caps: Caps, dim| {
        let problem = Problem::new(Shape::square(1, 8, 4096, dim), Element::F32);
        let (backward, choice) = (
            Backward::new(problem.clone(), Element::F32),
            PlanOptions::default(),
        );
        [
            Plan::attention(&problem, &caps, &choice).expect("a plan"),
            Plan::backward(&backward, &caps, &choice).expect("a plan"),
        ]
    };
    let all =
        [64, 128, 256, 576].map(|dim| [plans(software.clone(), dim), plans(Caps::BASELINE, dim)]);
    let plans = all.iter().flatten().flatten();
    plans
        .flat_map(|plan| plan.steps().iter().map(|step| step.variant()))
        .collect()
}

/// What may pass before the driver's own compiler, in units of the time that [`reference`] takes: on two cores of a Xeon
/// with AVX-512 that is 15.2 ms, and the slowest variant takes 1.22 of it (18.5 ms).
const ALLOWED: f64 = 1.6;

/// A text about as long as the longest kernels, that no change of the crate's makes longer: parsed and validated it says how
/// fast this machine is at this moment.
fn reference() -> String {
    let mut text =
        String::from("@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;\n");
    for n in 0..120 {
        text += &format!(
            "fn part{n}(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {{\n    var s = vec4<f32>();\n"
        );
        for m in 0..12 {
            text += &format!(
                "    s += a * b.{} + vec4<f32>({n}.0, {m}.0, dot(a, b), s.x);\n",
                ["x", "y", "z", "w"][m % 4]
            );
        }
        text += "    return s;\n}\n";
    }
    text += "@compute @workgroup_size(1) fn main() {\n    var s = x[0];\n";
    for n in 0..120 {
        text += &format!("    s = part{n}(s, x[{n}u]);\n");
    }
    text + "    x[0] = s;\n}\n"
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Composing, parsing and validating, against a text that stays the same, in turns: the median of several runs, so that
/// neither a lucky one counts nor what else the machine does.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "naga is many times slower when it is not optimised"
)]
fn composing_takes_about_as_long_as_a_fixed_text() {
    let text = reference();
    let timed = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let fixed = || {
        let module = naga::front::wgsl::parse_str(&text).expect("WGSL");
        let flags = naga::valid::ValidationFlags::all();
        let mut validator = naga::valid::Validator::new(flags, Default::default());
        validator.validate(&module).expect("valid");
    };
    let ratio = |variant: &Variant, runs: usize| {
        let own = || {
            let shader = variant.compose(None).expect("composed");
            shader.validate(variant.needs()).expect("valid");
        };
        median((0..runs).map(|_| timed(&own) / timed(&fixed)).collect())
    };
    let mut variants: Vec<Variant> = default_variants().into_iter().collect();
    variants.extend(crate::support::covering::forward());
    variants.extend(crate::support::covering::backward::all());
    let slow: Vec<String> = variants
        .iter()
        // Of hundreds of variants some have a median of five that the machine's other work made: more runs tell.
        .filter(|variant| ratio(variant, 5) > ALLOWED)
        .map(|variant| (ratio(variant, 31), variant))
        .filter(|(ratio, _)| *ratio > ALLOWED)
        .map(|(ratio, variant)| format!("{ratio:.2} {variant}"))
        .collect();
    assert!(
        slow.is_empty(),
        "{:.1} ms for the fixed text, and as many times as long:\n{}",
        1e3 * timed(&fixed),
        slow.join("\n")
    );
}
