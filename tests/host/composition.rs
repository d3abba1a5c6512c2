//! The composer: imports, slots, conditions, loops, and errors that name module and line.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::plan::{Output, Plan, Variant};
use wgpu_attention::shader::{self, Shader, Source};
use wgpu_attention::{Backward, Caps, Choice, Element, Error, Problem, Shape};

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
    source.flag("loud", false);
    source.slot("rows", vec!["address::rows"]);
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
                !strides.iter().any(|stride| field.ends_with(stride)),
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
        let plain = Variant::Combine { output };
        let error = shader.validate(&plain).expect_err("no valid WGSL");
        let (module, at) = refused(error);
        assert_eq!((module, at), (format!("kernel::{kernel}"), line));
    }
}

/// What a software adapter and the least device get for long sequences, forward and backward.
fn default_variants() -> BTreeSet<Variant> {
    let software = Caps {
        class: AdapterClass::Cpu,
        subgroups: Some(Subgroups { min: 8, max: 8 }),
        int64: true,
        ..Caps::BASELINE
    };
    let plans = |caps: Caps, dim| {
        let problem = Problem::new(Shape::square(1, 8, 4096, dim), Element::F32);
        let (backward, choice) = (
            Backward::new(problem.clone(), Element::F32),
            Choice::default(),
        );
        [
            Plan::attention(&problem, &caps, &choice).expect("a plan"),
            Plan::backward(&backward, &caps, &choice).expect("a plan"),
        ]
    };
    let all = [64, 128, 256].map(|dim| [plans(software.clone(), dim), plans(Caps::BASELINE, dim)]);
    let plans = all.iter().flatten().flatten();
    plans
        .flat_map(|plan| plan.steps().iter().map(|step| step.variant))
        .collect()
}

/// What may pass before the driver's own compiler: 20 ms; the gradients of 256 channels are twice the text.
fn allowed(variant: &Variant) -> Duration {
    let long = match variant {
        Variant::GradQ(key) | Variant::GradKv(key) => key.chunks + key.value_chunks > 64,
        _ => false,
    };
    Duration::from_millis(if long { 40 } else { 20 })
}

/// Time that this thread had a processor, by the system's tick, where it tells: other programs do not count.
fn thread_time(start: Instant) -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_cpu = schedule.and_then(|text| text.split(' ').next()?.parse().ok());
    on_cpu.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Composing, parsing and validating. What seems too slow is measured again over several times, more than once, because
/// other tests run beside this one.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "naga is many times slower when it is not optimised"
)]
fn a_variant_is_composed_in_20_ms() {
    const TRIES: u32 = 20;
    const TIMES: u32 = 8;
    let start = Instant::now();
    let compose = |variant: &Variant| {
        let shader = shader::compose(variant).expect("composed");
        shader.validate(variant).expect("valid");
    };
    let is_slow = |variant: &Variant| {
        let begin = Instant::now();
        compose(variant);
        if begin.elapsed() <= allowed(variant) {
            return false;
        }
        let before = thread_time(start);
        (0..TIMES).for_each(|_| compose(variant));
        thread_time(start) - before > TIMES * allowed(variant)
    };
    let arrays = [Variant::covering(), Variant::covering_backward()];
    let mut slow: Vec<Variant> = default_variants().into_iter().collect();
    slow.extend(arrays.into_iter().flatten());
    for _ in 0..TRIES {
        slow.retain(is_slow);
    }
    let names: Vec<_> = slow.iter().map(Variant::to_string).collect();
    assert!(slow.is_empty(), "never fast enough:\n{}", names.join("\n"));
}
