//! Blocks chosen by `--top-k`: the tensor that is written, the answer over it, its coverage, and bad input.

use anyhow::Result;
use serde_json::Value;
use wgpu_attention::problem::{Blocks, Element, Problem, Select, SelectBy, Shape};
use wgpu_attention::reference::{self, Forward, Tensors};

use super::support::compare::{assert_forward, error};
use super::support::golden::Golden;
use super::tool::{Tensor, attend, directory, text, write};

const SHAPE: Shape = Shape {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 100,
    kv_len: 150,
    head_dim: 12,
    value_dim: 6,
};

fn tensors() -> Vec<Tensor> {
    let normal = |name, shape: &[usize], seed| Tensor::normal(name, Element::F32, shape, seed);
    vec![
        normal("q", &[2, 4, 100, 12], 1),
        normal("k", &[2, 2, 150, 12], 2),
        normal("v", &[2, 2, 150, 6], 3),
        normal("do", &[2, 4, 100, 6], 4),
    ]
}

#[test]
fn the_choice_its_answer_and_its_gradients() -> Result<()> {
    for (name, by, local) in [("mean", SelectBy::Mean, 1), ("minmax", SelectBy::MinMax, 0)] {
        let directory = directory(&format!("select-{name}"));
        let input = write(&directory, "in.safetensors", &tensors());
        let output = text(&directory.join("out.safetensors"));
        let options =
            format!("--causal --grad --block-size 16 --top-k 4 --select {name} --local {local}");
        let args = [input.as_str(), &output].into_iter();
        attend(&args.chain(options.split_whitespace()).collect::<Vec<_>>()).succeeded();

        let mut problem = Problem::new(SHAPE, Element::F32);
        problem.mask.causal = true;
        problem.mask.blocks = Some(Blocks::Select(
            Select::new(16, 4).with_by(by).with_local(local),
        ));
        let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
        let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
        let tensors = Tensors::new(&q, &k, &v);
        let lists = reference::selection(&problem, &tensors);
        let listed = lists
            .iter()
            .flat_map(|list| (0..10).map(|j| u8::from(list.contains(&j))));
        assert_eq!(
            output.bytes("blocks")?,
            listed.collect::<Vec<_>>(),
            "{name}"
        );

        let problem = reference::selected(&problem, &tensors);
        let got = Forward::new(output.floats("o")?, output.floats("lse")?);
        assert_forward(&problem, &tensors, &got, name);
        let want = reference::backward(&problem, &tensors, &input.floats("do")?, None);
        for (tensor, want) in [("dq", want.dq), ("dk", want.dk), ("dv", want.dv)] {
            let off = error(&output.floats(tensor)?, &want);
            assert!(off <= 2e-5, "{name} {tensor}: {off:e}");
        }
    }
    Ok(())
}

#[test]
fn coverage_grows_with_the_blocks() -> Result<()> {
    let share = |count: &str| -> Result<f64> {
        let args = [
            "--random",
            "1,2,2,256,256,16",
            "--block-size",
            "16",
            "--coverage",
        ];
        let more = ["--top-k", count, "--json", "--time", "1"];
        let run = attend(&args.into_iter().chain(more).collect::<Vec<_>>()).succeeded();
        let report: Value = serde_json::from_str(&run.stdout)?;
        assert_eq!(report["coverage"]["rows"], 512);
        Ok(report["coverage"]["mean"].as_f64().expect("a share"))
    };
    let (few, half, all) = (share("4")?, share("8")?, share("16")?);
    assert!(0.2 < few && few < half && half < all, "{few} {half} {all}");
    assert!((all - 1.0).abs() < 1e-5, "{all}");
    // It is computed where nothing else asks for an answer.
    let options = "--random 1,2,2,64,64,16 --block-size 16 --top-k 4 --coverage --json";
    let run = attend(&options.split(' ').collect::<Vec<_>>()).succeeded();
    let report: Value = serde_json::from_str(&run.stdout)?;
    assert_eq!(report["coverage"]["rows"], 128);
    Ok(())
}

#[test]
fn bad_input() {
    let directory = directory("select-bad");
    let input = write(&directory, "in.safetensors", &tensors());
    for (options, status, says) in [
        ("--top-k 0", 1, "1 to 3, the blocks of 150 keys"),
        ("--top-k 4", 1, "1 to 3, the blocks of 150 keys"),
        ("--top-k 2 --block-size 24", 1, "a multiple of 16"),
        ("--top-k two", 2, "top-k"),
        (
            "--top-k 2 --local -1",
            2,
            "invalid value '-1' for '--local <N>'",
        ),
        ("--local 2", 2, "top-k"),
        ("--top-k 1 --select best", 2, "select"),
        ("--block-size 16", 1, "--top-k"),
    ] {
        let args = std::iter::once(input.as_str()).chain(options.split(' '));
        let run = attend(&args.collect::<Vec<_>>());
        if status == 2 {
            assert!(
                run.status == Some(2) && run.stderr.contains(says),
                "{run:?}"
            );
        } else {
            run.refused(status, &[says]);
        }
    }
}
