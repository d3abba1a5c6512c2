//! `--mod`: the user's own functions against the options that do the same, and faults by the user's own line.

use anyhow::Result;
use wgpu_attention::problem::Element;

use super::support::compare::error;
use super::support::golden::Golden;
use super::tool::{Run, Tensor, attend, directory, qkv, text, write};

/// Runs `attend` on [`qkv`] with `more`, a file of functions where there is one, and options; answers o, dq, dk, dv.
fn gradients(
    name: &str,
    more: Vec<Tensor>,
    wgsl: Option<&str>,
    options: &[&str],
) -> Result<Vec<Vec<f64>>> {
    let directory = directory(&format!("mod-{name}"));
    let d_o = Tensor::normal("do", Element::F32, &[2, 4, 9, 6], 4);
    let tensors: Vec<_> = qkv(Element::F32)
        .into_iter()
        .chain([d_o])
        .chain(more)
        .collect();
    let input = write(&directory, "in.safetensors", &tensors);
    let output = text(&directory.join("out.safetensors"));
    let mut arguments = vec![input.as_str(), output.as_str(), "--grad"];
    arguments.extend(options);
    let file = text(&directory.join("mod.wgsl"));
    if let Some(wgsl) = wgsl {
        std::fs::write(&file, wgsl)?;
        arguments.extend(["--mod", &file]);
    }
    attend(&arguments).succeeded();
    let output = Golden::open(&output)?;
    ["o", "dq", "dk", "dv"]
        .map(|x| output.floats(x))
        .into_iter()
        .collect()
}

fn same(own: Vec<Vec<f64>>, built_in: Vec<Vec<f64>>) {
    for (own, built_in) in own.iter().zip(&built_in) {
        assert!(error(own, built_in) < 1e-5, "{}", error(own, built_in));
    }
}

#[test]
fn a_mask_of_ones_own_is_causal() -> Result<()> {
    let wgsl = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {\n\
        return i32(j) <= query_offset(b) + i32(i);\n}\n";
    same(
        gradients("causal", vec![], Some(wgsl), &[])?,
        gradients("built-in-causal", vec![], None, &["--causal"])?,
    );
    Ok(())
}

#[test]
fn a_score_of_ones_own_is_alibi() -> Result<()> {
    let slopes = [0.5f32, 0.25, 0.1, 0.05];
    let wgsl = "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {\n\
        return score - mod_data(h) * f32(abs(query_offset(b) + i32(i) - i32(j)));\n}\n\
        fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }\n";
    same(
        gradients(
            "alibi",
            vec![Tensor::floats("mod_data", &slopes)],
            Some(wgsl),
            &["--causal"],
        )?,
        gradients(
            "built-in-alibi",
            vec![Tensor::floats("slopes", &slopes)],
            None,
            &["--causal"],
        )?,
    );
    Ok(())
}

fn refused(name: &str, more: Vec<Tensor>, wgsl: Option<&str>) -> Run {
    let directory = directory(&format!("mod-bad-{name}"));
    let tensors: Vec<_> = qkv(Element::F32).into_iter().chain(more).collect();
    let input = write(&directory, "in.safetensors", &tensors);
    let file = text(&directory.join("mod.wgsl"));
    let mut arguments = vec![input.as_str()];
    if let Some(wgsl) = wgsl {
        std::fs::write(&file, wgsl).expect("a file for the test");
        arguments.extend(["--mod", &file]);
    }
    let run = attend(&arguments);
    assert_eq!(run.status, Some(1), "{run:?}");
    run
}

#[test]
fn faults_are_told_by_line_and_column() {
    let wgsl = "// a comment\nfn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {\n  return nothing;\n}\n";
    let run = refused("fault", vec![], Some(wgsl));
    assert!(
        run.stderr.contains("line 3") && run.stderr.contains("nothing"),
        "{run:?}"
    );
    let run = refused("data", vec![Tensor::floats("mod_data", &[1.0])], None);
    assert!(run.stderr.contains("--mod FILE.wgsl"), "{run:?}");
}
