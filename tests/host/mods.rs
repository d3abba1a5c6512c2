//! The user's functions: what is refused and where, and that nothing of theirs meets a name of the library's.

mod refusals;

use wgpu_attention::Plan;
use wgpu_attention::problem::{MAX_MODS_BYTES, ModFault, ModText, Mods};
use wgpu_attention::{Caps, Element, Error, PlanOptions, Problem, Shape};

const MASK: &str = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return j <= i; }";
const SCORE: &str =
    "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return score; }";

fn text(wgsl: &str) -> ModText {
    ModText::new(wgsl).unwrap_or_else(|e| panic!("{e}\n{wgsl}"))
}

/// The fault of a text, with line and column.
fn fault(wgsl: &str) -> (usize, usize, ModFault) {
    match ModText::new(wgsl) {
        Err(Error::Mods {
            line,
            column,
            fault,
        }) => (line, column, fault),
        other => panic!("{other:.300?} for {wgsl:.300}"),
    }
}

#[test]
fn which_functions_are_there() {
    let both = format!("{MASK}\n{SCORE}");
    let grad = SCORE.replace("score_mod(", "score_mod_grad(");
    for (wgsl, want) in [
        (MASK.to_string(), [true, false, false]),
        (SCORE.to_string(), [false, true, false]),
        (format!("{both}\n{grad}"), [true, true, true]),
    ] {
        let text = text(&wgsl);
        assert_eq!(
            [text.has_mask(), text.has_score(), text.has_score_grad()],
            want
        );
        assert_eq!(text.wgsl(), wgsl);
    }
}

#[test]
fn texts_are_equal_by_what_they_say() {
    assert_eq!(text(MASK), text(MASK));
    assert_ne!(text(MASK), text(&format!("{MASK} ")));
}

#[test]
fn helpers_and_declarations_of_ones_own() {
    text(
        "// A comment with import and @unroll in it.
/* var<storage> x: f32; /* nested */ workgroupBarrier(); */
alias Index = u32;
struct Pair { i: Index, @align(8) j: Index, mask_mod: f32 }
const SIDES = array<u32, 2>(16u, 0x1e2u);
const_assert SIDES[0] == 16u;
fn near(p: Pair, reach: ptr<function, f32>) -> bool {
    *reach = *reach * 1.5e-3f + p.mask_mod;
    return abs(f32(p.i) - f32(p.j)) < *reach;
}
fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    var reach = mod_data(h) + f32(query_offset(b));
    var sides = array<u32, 2>(i, j);
    for (var n = 0u; n < 4u; n++) { sides[n % 2u] += 1u; }
    return near(Pair(sides[0], sides[1], 1.0), &reach);
}",
    );
}

/// Tint keeps what a variable without one held when a loop comes by again.
#[test]
fn every_variable_of_a_text_gets_its_initial_value() {
    let mods = Mods::new(
        "struct Pair { i: u32, j: u32 }
fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    var count: u32;
    for (var n: u32 = 0u; n < 3u; n++) {
        var /* a comment: = */ seen
            : array<Pair, 2> ;
        var var_: f32 = 1.0;
        seen[n % 2u].i += u32(var_);
        count += seen[n % 2u].i;
    }
    return count == 3u + i * 0u;
}",
    );
    let mut problem = Problem::new(Shape::square(1, 1, 8, 8), Element::F32);
    problem.mods = Some(mods.expect("a sound text"));
    let text = problem.mods.as_ref().map(|mods| &mods.text);
    let plan = Plan::attention(&problem, &Caps::BASELINE, &PlanOptions::default()).expect("a plan");
    let variant = plan.steps()[0].variant();
    let shader = variant.compose(text).expect("composed");
    shader.validate(variant.needs()).expect("valid");
    for line in [
        "var count: u32 = u32()",
        ": array<user_Pair, 2> = array < user_Pair , 2 >()",
        "var var_: f32 = 1.0",
    ] {
        assert!(shader.wgsl().contains(line), "no {line}");
    }
}

#[test]
fn the_longest_text() {
    let long = |bytes: usize| format!("{MASK}{}", " ".repeat(bytes - MASK.len()));
    text(&long(MAX_MODS_BYTES));
    let error = ModText::new(&long(MAX_MODS_BYTES + 1)).expect_err("too long");
    let message = error.to_string();
    assert!(
        message.contains("65537") && message.contains("at most 65536"),
        "{message}"
    );
}

/// Texts that would exhaust the stack of a compiler that recurses.
#[test]
fn deep_and_long_texts_are_refused_or_compiled() {
    let body = |expression: &str| {
        format!("fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{ {expression} }}")
    };
    let nested = |n, open: &str, close: &str| {
        let (open, close) = (open.repeat(n), close.repeat(n));
        body(&format!("return {open}true{close};"))
    };
    let ifs = |n| {
        body(&format!(
            "if j == 0u {{ }} {} return true;",
            "else if j == 1u { }".repeat(n)
        ))
    };
    let sum = |n| body(&format!("return j < i{};", " + j".repeat(n)));
    text(&nested(22, "(", ")"));
    text(&nested(150, "!", ""));
    text(&ifs(24));
    text(&sum(450));
    for (wgsl, what) in [
        (nested(1000, "(", ")"), "deep"),
        (nested(30_000, "(", ")"), "deep"),
        (nested(30_000, "!", ""), "words and signs"),
        (ifs(2000), "deep"),
        (sum(12_000), "words and signs"),
    ] {
        let (line, column, fault) = fault(&wgsl);
        assert!(fault.to_string().contains(what), "{fault}");
        assert!(line == 1 && column > 50, "{line}:{column}");
    }
    let types = format!(
        "fn f(x: {}f32{}) {{}} {MASK}",
        "array<".repeat(240),
        ", 1>".repeat(240)
    );
    assert!(ModText::new(&types).is_err());
}
