//! `--grad`: the gradients against the reference's, what the reports say of both plans, and bad input.

use anyhow::Result;
use safetensors::Dtype;
use serde_json::Value;
use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::reference::{self, Tensors};

use super::options::problem;
use super::support::compare::error;
use super::support::golden::Golden;
use super::tool::{Tensor, attend, directory, qkv, text, write};

/// dO of [`qkv`].
fn d_o(element: Element) -> Tensor {
    Tensor::normal("do", element, &[2, 4, 9, 6], 4)
}

fn dlse() -> Tensor {
    Tensor::normal("dlse", Element::F32, &[2, 4, 9], 5)
}

/// The path of [`qkv`] with `more` in a file of a directory's own, and the path for its output.
fn file(name: &str, element: Element, more: Vec<Tensor>) -> (String, String) {
    let directory = directory(&format!("grad-{name}"));
    let tensors: Vec<_> = qkv(element).into_iter().chain(more).collect();
    let input = write(&directory, "in.safetensors", &tensors);
    (input, text(&directory.join("out.safetensors")))
}

/// How far the gradients may be from f64's, in units of their RMS, when o is stored as `element`: Δ is made of the o
/// that is stored.
fn allowed(element: Element) -> f64 {
    match element {
        Element::F32 => 2e-5,
        Element::F16 => 2e-3,
        Element::BF16 => 2e-2,
        _ => unreachable!("{element} is no type that stores number by number"),
    }
}

fn check(
    name: &str,
    element: Element,
    more: Vec<Tensor>,
    options: &[&str],
    change: impl FnOnce(&mut Problem),
) -> Result<()> {
    let has_dlse = more.iter().any(|tensor| tensor.name == "dlse");
    let (input, output) = file(name, element, more);
    attend(&[&[input.as_str(), output.as_str(), "--grad"], options].concat()).succeeded();
    let mut problem = problem(element);
    change(&mut problem);
    let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
    let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
    let dlse = has_dlse.then(|| input.floats("dlse")).transpose()?;
    let tensors = Tensors::new(&q, &k, &v);
    let want = reference::backward(&problem, &tensors, &input.floats("do")?, dlse.as_deref());
    for (tensor, want) in [("dq", want.dq), ("dk", want.dk), ("dv", want.dv)] {
        let off = error(&output.floats(tensor)?, &want);
        let allowed = allowed(problem.o.element);
        assert!(
            off <= allowed,
            "{name} {tensor}: {off:e}, allowed {allowed:e}"
        );
    }
    Ok(())
}

#[test]
fn with_and_without_a_gradient_by_lse() -> Result<()> {
    check("plain", Element::F32, vec![d_o(Element::F32)], &[], |_| {})?;
    let both = vec![d_o(Element::F32), dlse()];
    check("dlse", Element::F32, both, &["--causal"], |p| {
        p.mask.causal = true
    })
}

#[test]
fn forced_paths() -> Result<()> {
    for (name, options) in [
        ("workgroup", &["--strategy", "workgroup"][..]),
        ("splits", &["--splits", "3"]),
        ("slices", &["--slice-rows", "4"]),
    ] {
        let given = vec![d_o(Element::F32), dlse()];
        check(name, Element::F32, given, options, |_| {})?;
    }
    Ok(())
}

/// dO may be of another type than o.
#[test]
fn sixteen_bit_types() -> Result<()> {
    for (name, element) in [("f16", Element::F16), ("bf16", Element::BF16)] {
        check(name, element, vec![d_o(element)], &[], |_| {})?;
        let mixed = format!("{name}-mixed");
        let given = vec![d_o(Element::F32)];
        check(&mixed, element, given, &["--output", "f32"], |p| {
            p.o.element = Element::F32
        })?;
    }
    Ok(())
}

#[test]
fn types_and_names_of_the_output() -> Result<()> {
    let (input, output) = file("types", Element::BF16, vec![d_o(Element::BF16), dlse()]);
    attend(&[&input, &output, "--grad"]).succeeded();
    let bytes = std::fs::read(&output)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let mut names = file.names();
    names.sort();
    assert_eq!(names, ["dk", "dq", "dv", "lse", "o"]);
    assert_eq!(file.tensor("o")?.dtype(), Dtype::BF16);
    for (name, shape) in [
        ("dq", [2, 4, 9, 12]),
        ("dk", [2, 2, 21, 12]),
        ("dv", [2, 2, 21, 6]),
    ] {
        let tensor = file.tensor(name)?;
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &shape[..]));
    }
    Ok(())
}

/// B, Nq or Nk = 0: what has rows is 0.
#[test]
fn nothing_to_compute() -> Result<()> {
    for [batch, q_len, kv_len] in [[0, 3, 4], [1, 0, 4], [1, 3, 0]] {
        let directory = directory(&format!("grad-empty-{batch}-{q_len}-{kv_len}"));
        let tensors = [
            Tensor::normal("q", Element::F32, &[batch, 2, q_len, 3], 1),
            Tensor::normal("k", Element::F32, &[batch, 1, kv_len, 3], 2),
            Tensor::normal("v", Element::F32, &[batch, 1, kv_len, 5], 3),
            Tensor::normal("do", Element::F32, &[batch, 2, q_len, 5], 4),
        ];
        let input = write(&directory, "in.safetensors", &tensors);
        let output = text(&directory.join("out.safetensors"));
        attend(&[&input, &output, "--grad"]).succeeded();
        let output = Golden::open(&output)?;
        for (name, count) in [
            ("dq", batch * 2 * q_len * 3),
            ("dk", batch * kv_len * 3),
            ("dv", batch * kv_len * 5),
        ] {
            assert_eq!(output.floats(name)?, vec![0.0; count], "{name}");
        }
    }
    Ok(())
}

/// Both plans are reported and timed, and the work is counted for both.
#[test]
fn reports_hold_both_plans() -> Result<()> {
    let args = [
        "--random",
        "1,2,1,16,24,8,4",
        "--grad",
        "--time",
        "1",
        "--json",
    ];
    let report: Value = serde_json::from_str(&attend(&args).succeeded().stdout)?;
    let steps = report["steps"].as_array().expect("steps");
    for (kernel, flops) in [
        ("prefill", 2 * (8 + 4)),
        ("grad_q", 2 * (2 * 8 + 4)),
        ("grad_kv", 2 * (2 * 8 + 2 * 4)),
    ] {
        let counted: u64 = steps
            .iter()
            .filter(|step| step["kernel"] == kernel)
            .filter_map(|step| step["flops"].as_u64())
            .sum();
        assert_eq!(counted, 16 * 24 * 2 * flops, "{kernel}: {report}");
    }
    assert!(report["time"]["min_ms"].as_f64() > Some(0.0));
    let explained = attend(&["--random", "1,2,1,16,24,8,4", "--grad", "--explain"]).succeeded();
    for words in ["attention of q", "gradients of attention of q"] {
        assert!(explained.stdout.contains(words), "{explained:?}");
    }
    Ok(())
}

#[test]
fn bad_input() {
    let refused = |name: &str, words: &[&str], more: Vec<Tensor>| {
        let (input, output) = file(name, Element::F32, more);
        attend(&[&input, &output, "--grad"]).refused(1, words);
        assert!(!std::path::Path::new(&output).exists());
    };
    refused("no-do", &["--grad needs", "add a tensor do"], vec![]);
    refused(
        "do-shape",
        &["do has shape [2, 4, 9, 12]", "[2, 4, 9, 6]"],
        vec![Tensor::normal("do", Element::F32, &[2, 4, 9, 12], 4)],
    );
    let mut wrong = d_o(Element::F32);
    wrong.dtype = Dtype::I32;
    refused("do-type", &["do is of type I32", "convert it"], vec![wrong]);
    refused(
        "dlse-shape",
        &["dlse has shape [2, 9]", "[2, 4, 9]"],
        vec![
            d_o(Element::F32),
            Tensor::normal("dlse", Element::F32, &[2, 9], 5),
        ],
    );
    refused(
        "dlse-type",
        &["dlse is of type F16", "F32"],
        vec![
            d_o(Element::F32),
            Tensor::normal("dlse", Element::F16, &[2, 4, 9], 5),
        ],
    );
}

/// Slopes of each batch have a gradient of their shape, which adds up to that of shared ones.
#[test]
fn slopes_of_each_batch() -> Result<()> {
    let one = [0.5, 0.25, 0.1, 0.7];
    let gradient = |name: &str, slopes: Tensor| {
        let (input, output) = file(name, Element::F32, vec![d_o(Element::F32), slopes]);
        attend(&[input.as_str(), output.as_str(), "--grad"]).succeeded();
        Golden::open(&output)?.floats("dslopes")
    };
    let shared = gradient("slopes", Tensor::floats("slopes", &one))?;
    let two = Tensor::floats("slopes", &[one, one].concat()).shaped(&[2, 4]);
    let got = gradient("slopes-per-batch", two)?;
    assert_eq!((shared.len(), got.len()), (4, 8));
    for (h, want) in shared.into_iter().enumerate() {
        let sum = got[h] + got[4 + h];
        assert!((sum - want).abs() < 1e-4, "dslopes[{h}]: {sum}, {want}");
        assert!(got[h] != 0.0 && got[4 + h] != 0.0);
    }
    Ok(())
}

/// Slopes and T5's table; bias and sinks are those of g5.
#[test]
fn parameters_of_the_score() -> Result<()> {
    let given = vec![
        d_o(Element::F32),
        Tensor::floats("slopes", &[0.5, 0.25, 0.1, 0.7]),
        Tensor::normal("t5", Element::F32, &[8, 4], 6),
    ];
    let (input, output) = file("parameters", Element::F32, given);
    attend(&[input.as_str(), output.as_str(), "--grad", "--t5", "both"]).succeeded();
    let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
    let loss = |slope: f64, t5: f64, n: usize| -> Result<f64> {
        let mut slopes = input.floats("slopes")?;
        let mut table = input.floats("t5")?;
        slopes[n % 4] += slope;
        table[n] += t5;
        let mut problem = problem(Element::F32);
        let values = |x: Vec<f64>| {
            wgpu_attention::problem::Values::Host(x.into_iter().map(|x| x as f32).collect())
        };
        problem.score.slopes = Some(values(slopes));
        problem.score.t5 = Some(wgpu_attention::problem::T5Bias::new(
            wgpu_attention::problem::T5::causal()
                .with_buckets(8)
                .with_bidirectional(true),
            values(table),
        ));
        let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
        let o = reference::forward(&problem, &Tensors::new(&q, &k, &v)).o;
        Ok(o.iter().zip(input.floats("do")?).map(|(o, d)| o * d).sum())
    };
    // Parameters are f32, so the steps are long, and second differences of loss cost some digits.
    const STEP: f64 = 1.0 / 128.0;
    for (name, count) in [("dslopes", 4), ("dt5", 32)] {
        let got = output.floats(name)?;
        assert_eq!(got.len(), count, "{name}");
        for (n, got) in got.into_iter().enumerate() {
            let (slope, t5) = if name == "dt5" {
                (0.0, STEP)
            } else {
                (STEP, 0.0)
            };
            let want = (loss(slope, t5, n)? - loss(-slope, -t5, n)?) / (2.0 * STEP);
            assert!(
                (got - want).abs() < 0.02 * want.abs().max(1.0),
                "{name}[{n}]: {got}, {want}"
            );
        }
    }
    Ok(())
}
