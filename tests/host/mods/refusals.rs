//! Every refusal, with the user's own line and column.

use super::{MASK, ModFault, SCORE, fault};

/// Holds fault and place of `wgsl`, in which `»` stands before the fault.
#[track_caller]
fn refused(wgsl: &str, is: impl Fn(&ModFault) -> bool, words: &[&str]) {
    let at = wgsl.find('»').expect("a marked place");
    let before = &wgsl[..at];
    let want = (
        before.lines().count() + usize::from(before.is_empty() || before.ends_with('\n')),
        before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
    );
    let (line, column, fault) = fault(&wgsl.replace('»', ""));
    assert!(is(&fault), "{fault:?}");
    assert_eq!((line, column), want, "{fault}\n{wgsl}");
    let message = fault.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

fn wgsl(fault: &ModFault) -> bool {
    matches!(fault, ModFault::Wgsl(_))
}

#[test]
fn what_does_not_parse_or_type_check() {
    refused(&format!("{MASK}\n\n  »bogus"), wgsl, &["bogus"]);
    refused(
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {\n    return »nothing;\n}",
        wgsl,
        &["nothing"],
    );
    // Columns count characters, not bytes.
    refused(
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {\n  /* ünïcode */ return »nothing;\n}",
        wgsl,
        &["nothing"],
    );
    refused(
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return true; »",
        wgsl,
        &["expected"],
    );
    refused(&format!("{MASK}\nfn »mask_mod() {{}}"), wgsl, &["mask_mod"]);
    refused(
        &format!("{MASK}\nfn »mod_data(n: u32) -> f32 {{ return 1.0; }}"),
        wgsl,
        &["mod_data"],
    );
    refused(
        &format!("{MASK}\nfn »again(x: f32) -> f32 {{ return again(x); }}"),
        wgsl,
        &["again"],
    );
    refused(&format!("{MASK}\n@group(0) @binding(0) »x"), wgsl, &["x"]);
}

/// Not where the parameter stands that is returned, and not by the front end's numbers.
#[test]
fn a_result_of_another_type() {
    refused(
        "fn mask_mod(b: u32, h: u32,\n  i: u32, j: u32) -> bool {\n  if j < i {\n    »return i;\n  }\n  return true;\n}",
        wgsl,
        &["mask_mod", "type"],
    );
}

/// Nothing of the library can be named.
#[test]
fn names_of_the_library() {
    for name in [
        "params.kv_len",
        "aux[0]",
        "LOG2_E",
        "row_start(0u)",
        "diagonal(b, i)",
    ] {
        let text = format!(
            "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{\n return f32(»{name}) > 0.0;\n}}"
        );
        refused(&text, wgsl, &[]);
    }
}

#[test]
fn other_signatures() {
    let is = |fault: &ModFault| matches!(fault, ModFault::Signature { .. });
    for (wrong, expected) in [
        (
            "»fn mask_mod(b: u32, h: u32, i: u32) -> bool { return true; }",
            "mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool",
        ),
        (
            "»fn mask_mod(b: u32, h: u32, i: u32, j: i32) -> bool { return true; }",
            "j: u32",
        ),
        (
            "»fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> u32 { return 1u; }",
            "-> bool",
        ),
        (
            "»fn mask_mod(b: u32, h: u32, i: u32, j: u32) { }",
            "-> bool",
        ),
        (
            "»fn score_mod(b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }",
            "score_mod(score: f32, b: u32",
        ),
        (
            "»fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> bool { return true; }",
            "score_mod_grad(score: f32",
        ),
    ] {
        refused(&format!("const X = 1;\n  {wrong}"), is, &[expected]);
    }
}

#[test]
fn functions_missing() {
    let neither = |fault: &ModFault| matches!(fault, ModFault::Neither { .. });
    refused("»", neither, &["mask_mod", "score_mod"]);
    refused(
        "fn maskmod(b: u32) -> bool { return true; }»\n",
        neither,
        &["mask_mod"],
    );
    let grad = SCORE.replace("score_mod(", "score_mod_grad(");
    refused(
        &format!("{grad}\n{MASK}»"),
        |x| *x == ModFault::GradAlone,
        &["score_mod"],
    );
}

#[test]
fn declarations_that_are_not_allowed() {
    let variable = |fault: &ModFault| *fault == ModFault::Variable;
    for declaration in [
        "@group(0) @binding(0) »var<storage, read> x: array<f32>;",
        "@group(0) @binding(0) »var<storage, read_write> x: array<f32>;",
        "@group(0) @binding(0) »var<uniform> x: f32;",
        "»var<private> x: f32;",
        "  »var<workgroup> x: f32;",
        "»var<workgroup> x: atomic<u32>;",
        "@group(0) @binding(0) »var x: texture_2d<f32>;",
        "@group(0) @binding(0) »var x: sampler;",
    ] {
        refused(&format!("{MASK}\n{declaration}"), variable, &["mod_data"]);
    }
    refused(
        &format!("{MASK}\n»override x = 1.0;"),
        |x| *x == ModFault::Override,
        &["const"],
    );
    // Accepted, the text would not be what stands in a kernel, where the helper answers the real type.
    let of_types = format!(
        "»alias f32 = u32;\n{}",
        MASK.replace("j <= i", "mod_data(j) <= i")
    );
    let types = |fault: &ModFault| matches!(fault, ModFault::Builtin(_));
    refused(&of_types, types, &["f32", "another name"]);
    let entry = |fault: &ModFault| matches!(fault, ModFault::EntryPoint(_));
    refused(
        &format!("{MASK}\n»@compute @workgroup_size(1) fn main() {{}}"),
        entry,
        &["compute"],
    );
    let directive = |fault: &ModFault| matches!(fault, ModFault::Directive(_));
    for text in [
        "»enable f16;",
        "»requires readonly_and_readwrite_storage_textures;",
        "»diagnostic(off, derivative_uniformity);",
        "»import part::numbers;",
        "const X = 1;\n »import part::numbers;",
        "fn f() { }\n»enable subgroups;",
    ] {
        refused(&format!("{text}\n{MASK}"), directive, &["not allowed"]);
    }
}

fn body(statement: &str) -> String {
    format!(
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{\n    {statement}\n    return true;\n}}"
    )
}

#[test]
fn calls_that_are_not_allowed() {
    let barrier = |fault: &ModFault| matches!(fault, ModFault::Barrier(_));
    for call in [
        "»workgroupBarrier();",
        "if j > 0u { »storageBarrier(); }",
        "»textureBarrier();",
    ] {
        refused(&body(call), barrier, &["Barrier"]);
    }
    let subgroup = |fault: &ModFault| matches!(fault, ModFault::Subgroup(_));
    for call in [
        "let x = »subgroupAdd(j);",
        "»subgroupBarrier();",
        "let x = »subgroupBallot(true);",
    ] {
        refused(&body(call), subgroup, &["subgroup"]);
    }
    let stage = |fault: &ModFault| matches!(fault, ModFault::Stage(_));
    refused(&body("let x = »dpdx(1.0);"), stage, &["dpdx"]);
    refused(&body("»discard;"), stage, &["discard"]);
}

#[test]
fn memory_that_is_not_ones_own() {
    let memory = |fault: &ModFault| matches!(fault, ModFault::Memory(_));
    for space in ["workgroup", "private", "storage", "uniform"] {
        let text = format!("{MASK}\nfn f(x: »ptr<{space}, f32>) -> f32 {{ return *x; }}");
        refused(&text, memory, &[space]);
    }
    let part = |fault: &ModFault| *fault == ModFault::PartPointer;
    let add = "fn add(x: ptr<function, u32>) { *x += 1u; }\n";
    let call = body("var a = array<u32, 4>(); »add(&a[j % 4u]);");
    refused(&format!("{add}{call}"), part, &["whole variable"]);
    let call = body("var a = array<u32, 4>(); if j > 1u { loop { »add(&a[1]); break; } }");
    refused(&format!("{add}{call}"), part, &["whole variable"]);
}

/// A short text that no compiler gets through is refused, and soon.
#[test]
fn texts_that_explode() {
    let start = std::time::Instant::now();
    let large = |fault: &ModFault| matches!(fault, ModFault::Type { allowed: 16384, .. });
    let words = ["allowed is 16384", "mod_data"];
    // Of the first no value is left, but its type would be laid out in the kernel.
    for (constant, used) in [
        ("array<u32, 1000000000>()[5]", "x"),
        ("array<u32, 1000 * 1000 * 1000>()[5]", "1u"),
        ("array<u32, 5000>()", "x[i]"),
        ("array<array<u32, 4000>, 4000>()", "x[i][j]"),
    ] {
        let mask = MASK.replace("j <= i", &format!("j <= {used}"));
        refused(&format!("{mask}\nconst x = »{constant};"), large, &words);
    }
    let mut structures = String::from("struct S0 { a: f32, b: u32 }\n");
    for n in 1..24 {
        let mark = if n == 13 { "»" } else { "" };
        let before = n - 1;
        structures += &format!("struct {mark}S{n} {{ a: S{before}, b: S{before} }}\n");
    }
    refused(&format!("{structures}{MASK}"), large, &words);
    let mut calls = String::from("fn f0(x: u32) -> u32 { return x * x; }\n");
    for n in 1..24 {
        let before = n - 1;
        calls +=
            &format!("fn f{n}(x: u32) -> u32 {{ return f{before}(x) + f{before}(x + 1u); }}\n");
    }
    let (line, _, fault) = fault(&format!("{calls}{MASK}"));
    assert!(
        matches!(fault, ModFault::Inlined { .. }) && line > 10,
        "{line}: {fault}"
    );
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}
