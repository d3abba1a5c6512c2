//! Every option that changes the answer, against the reference.

use anyhow::Result;
use wgpu_attention::problem::{Element, Lengths, Offsets, Prefix, Problem, Shape, Window};
use wgpu_attention::quantize::{dequantize, quantize};
use wgpu_attention::reference::{Forward, Tensors};

use super::support::compare::assert_forward;
use super::support::golden::Golden;
use super::tool::{Tensor, attend, directory, qkv, text, write};

/// The problem of [`qkv`].
pub fn problem(element: Element) -> Problem {
    let shape = Shape {
        batch: 2,
        q_heads: 4,
        kv_heads: 2,
        q_len: 9,
        kv_len: 21,
        head_dim: 12,
        value_dim: 6,
    };
    Problem::new(shape, element)
}

/// Runs [`qkv`] and `more` with `options`, and holds the answer against the reference's for `change`.
fn check(
    name: &str,
    element: Element,
    more: Vec<Tensor>,
    options: &[&str],
    change: impl FnOnce(&mut Problem),
) -> Result<()> {
    let directory = directory(name);
    let tensors: Vec<_> = qkv(element).into_iter().chain(more).collect();
    let input = write(&directory, "in.safetensors", &tensors);
    let output = text(&directory.join("out.safetensors"));
    attend(&[&[input.as_str(), output.as_str()], options].concat()).succeeded();

    let mut problem = problem(element);
    change(&mut problem);
    let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
    let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
    let got = Forward::new(output.floats("o")?, output.floats("lse")?);
    assert_forward(&problem, &Tensors::new(&q, &k, &v), &got, name);
    Ok(())
}

fn check_f32(name: &str, options: &[&str], change: impl FnOnce(&mut Problem)) -> Result<()> {
    check(name, Element::F32, Vec::new(), options, change)
}

#[test]
fn causal_and_prefix() -> Result<()> {
    check_f32("causal", &["--causal"], |p| p.mask.causal = true)?;
    check_f32("prefix", &["--causal", "--prefix", "17"], |p| {
        p.mask.causal = true;
        p.mask.prefix = Prefix::Same(17);
    })?;
    let per_batch = vec![Tensor::integers("prefix", &[17, 4])];
    check("prefixes", Element::F32, per_batch, &["--causal"], |p| {
        p.mask.causal = true;
        p.mask.prefix = Prefix::Host(vec![17, 4]);
    })
}

#[test]
fn windows_and_first() -> Result<()> {
    check_f32("window", &["--window", "4,2"], |p| {
        p.mask.window = Some(Window {
            left: Some(4),
            right: Some(2),
        });
    })?;
    check_f32("window-inf", &["--window", "inf,0", "--first", "3"], |p| {
        p.mask.window = Some(Window {
            left: None,
            right: Some(0),
        });
    })?;
    check_f32("first", &["--window", "2,0", "--first", "3"], |p| {
        p.mask.window = Some(Window {
            left: Some(2),
            right: Some(0),
        });
        p.mask.first = 3;
    })
}

#[test]
fn scale_and_softcap() -> Result<()> {
    check_f32("scale", &["--scale", "-0.5", "--softcap", "1.5"], |p| {
        p.scale = Some(-0.5);
        p.score.softcap = Some(1.5);
    })
}

#[test]
fn lengths_and_offsets_of_either_type() -> Result<()> {
    let change = |p: &mut Problem| {
        p.mask.causal = true;
        p.mask.kv_lens = Lengths::Host(vec![21, 5]);
        p.mask.q_offset = Offsets::Host(vec![-2, 12]);
    };
    let integers = vec![
        Tensor::integers("kv_lens", &[21, 5]),
        Tensor::integers("q_offset", &[-2, 12]),
    ];
    check("lens-i32", Element::F32, integers, &["--causal"], change)?;
    let floats = vec![
        Tensor::floats("kv_lens", &[21.0, 5.0]),
        Tensor::floats("q_offset", &[-2.0, 12.0]),
    ];
    check("lens-f32", Element::F32, floats, &["--causal"], change)
}

#[test]
fn sixteen_bit_types() -> Result<()> {
    for (name, element) in [("f16", Element::F16), ("bf16", Element::BF16)] {
        check(name, element, Vec::new(), &[], |_| {})?;
        let wide = format!("{name}-to-f32");
        check(&wide, element, Vec::new(), &["--output", "f32"], |p| {
            p.o.element = Element::F32
        })?;
    }
    Ok(())
}

/// The answer is that of the rounded keys and values, of every type of the file.
#[test]
fn quantised_keys_and_values() -> Result<()> {
    for (kv, stored) in [("int8", Element::Int8), ("int4", Element::Int4)] {
        for element in Element::ALL {
            let name = format!("{kv}-{element}");
            let directory = directory(&name);
            let input = write(&directory, "in.safetensors", &qkv(element));
            let output = text(&directory.join("out.safetensors"));
            attend(&[&input, &output, "--kv", kv, "--causal", "--output", "f32"]).succeeded();

            let mut problem = problem(element).with_kv_elements(stored, stored);
            problem.mask.causal = true;
            problem.o.element = Element::F32;
            let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
            let round = |name, dim| -> Result<Vec<f64>> {
                let rows = input.floats(name)?.into_iter().map(|x| x as f32);
                let words = quantize(stored, &rows.collect::<Vec<_>>(), dim)?;
                let rows = dequantize(stored, &words, dim)?;
                Ok(rows.into_iter().map(f64::from).collect())
            };
            let (q, k, v) = (input.floats("q")?, round("k", 12)?, round("v", 6)?);
            let got = Forward::new(output.floats("o")?, output.floats("lse")?);
            assert_forward(&problem, &Tensors::new(&q, &k, &v), &got, &name);
        }
    }
    // Gradients read floats.
    let input = write(
        &directory("int8-grad"),
        "in.safetensors",
        &qkv(Element::F32),
    );
    let run = attend(&[&input, "--kv", "int8", "--grad"]);
    assert_eq!(run.status, Some(2), "{run:?}");
    Ok(())
}

#[test]
fn forced_paths() -> Result<()> {
    check_f32("splits", &["--splits", "3"], |_| {})?;
    check_f32("slices", &["--slice-rows", "4", "--decode", "off"], |_| {})
}

/// The types of the output tensors: o as the input unless asked otherwise, lse always F32.
#[test]
fn types_of_the_output() -> Result<()> {
    let directory = directory("types");
    let input = write(&directory, "in.safetensors", &qkv(Element::BF16));
    let output = text(&directory.join("out.safetensors"));
    for (options, wanted) in [(&[][..], "BF16"), (&["--output", "f32"], "F32")] {
        attend(&[&[input.as_str(), output.as_str()], options].concat()).succeeded();
        let bytes = std::fs::read(&output)?;
        let file = safetensors::SafeTensors::deserialize(&bytes)?;
        assert_eq!(file.tensor("o")?.dtype().to_string(), wanted);
        assert_eq!(file.tensor("lse")?.dtype().to_string(), "F32");
        assert_eq!(file.len(), 2);
    }
    Ok(())
}

/// B, Nq or Nk = 0 are legal.
#[test]
fn nothing_to_compute() -> Result<()> {
    for (n, [batch, q_len, kv_len]) in [[0, 3, 4], [1, 0, 4], [1, 3, 0], [0, 0, 0]]
        .into_iter()
        .enumerate()
    {
        let directory = directory(&format!("empty-{n}"));
        let tensors = [
            Tensor::normal("q", Element::F16, &[batch, 2, q_len, 3], 1),
            Tensor::normal("k", Element::F16, &[batch, 1, kv_len, 3], 2),
            Tensor::normal("v", Element::F16, &[batch, 1, kv_len, 5], 3),
        ];
        let input = write(&directory, "in.safetensors", &tensors);
        let output = text(&directory.join("out.safetensors"));
        attend(&[input.as_str(), output.as_str(), "--time", "1"]).succeeded();
        let output = Golden::open(&output)?;
        assert_eq!(output.floats("o")?, vec![0.0; batch * 2 * q_len * 5]);
        assert_eq!(
            output.floats("lse")?,
            vec![f64::NEG_INFINITY; batch * 2 * q_len]
        );
    }
    Ok(())
}
