//! Blocks and documents: the answer and the gradients against a dense bias that hides the same pairs, and bad input.

use anyhow::Result;
use safetensors::Dtype;
use serde_json::Value;
use wgpu_attention::problem::{Element, Layout, Lengths, Problem, Shape, Window};
use wgpu_attention::reference::{self, Bias, Forward, Tensors};

use super::support::compare::{assert_forward, error};
use super::support::golden::Golden;
use super::tool::{Tensor, attend, directory, text, write};

/// Three blocks of 16 queries and five of 16 keys, the last of each ragged.
const SHAPE: Shape = Shape {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 40,
    kv_len: 70,
    head_dim: 12,
    value_dim: 6,
};

/// q, k, v and dO.
fn tensors() -> Vec<Tensor> {
    let normal = |name, shape: &[usize], seed| Tensor::normal(name, Element::F32, shape, seed);
    vec![
        normal("q", &[2, 4, 40, 12], 1),
        normal("k", &[2, 2, 70, 12], 2),
        normal("v", &[2, 2, 70, 6], 3),
        normal("do", &[2, 4, 40, 6], 4),
    ]
}

fn blocks(shape: &[usize], values: impl Fn(usize) -> u8) -> Tensor {
    Tensor {
        name: "blocks",
        dtype: Dtype::U8,
        shape: shape.to_vec(),
        bytes: (0..shape.iter().product()).map(values).collect(),
    }
}

/// Some two thirds of the blocks, and of the third block of queries none.
fn some(n: usize) -> u8 {
    u8::from(n % 3 != 1 && n % 15 < 10) * (1 + n as u8 % 2)
}

/// Whether pair `(b, h, i, j)` is visible.
type Sees<'a> = &'a dyn Fn(usize, usize, usize, usize) -> bool;

/// Holds o, lse and gradients against the reference's, which knows neither blocks nor documents but a bias of −∞.
fn check(
    name: &str,
    more: Vec<Tensor>,
    options: &str,
    sees: Sees,
    change: impl FnOnce(&mut Problem),
) -> Result<()> {
    let directory = directory(&format!("sparse-{name}"));
    let all: Vec<_> = tensors().into_iter().chain(more).collect();
    let input = write(&directory, "in.safetensors", &all);
    let output = text(&directory.join("out.safetensors"));
    let options = options.split_whitespace();
    let args = [input.as_str(), &output, "--grad"].into_iter();
    attend(&args.chain(options).collect::<Vec<_>>()).succeeded();

    let mut problem = Problem::new(SHAPE, Element::F32);
    problem.score.bias = Some(Layout::heads_first(4, 40, 70));
    change(&mut problem);
    let (input, output) = (Golden::open(&input)?, Golden::open(&output)?);
    let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
    let bias = hiding(sees);
    let tensors = Tensors::new(&q, &k, &v).with_bias(Bias::new(&bias, [2, 4, 40]));
    let got = Forward::new(output.floats("o")?, output.floats("lse")?);
    assert_forward(&problem, &tensors, &got, name);
    let want = reference::backward(&problem, &tensors, &input.floats("do")?, None);
    for (tensor, want) in [("dq", want.dq), ("dk", want.dk), ("dv", want.dv)] {
        let off = error(&output.floats(tensor)?, &want);
        assert!(off <= 2e-5, "{name} {tensor}: {off:e}");
    }
    Ok(())
}

/// A `[2, 4, 40, 70]` of 0 and −∞.
fn hiding(sees: Sees) -> Vec<f64> {
    let value = |n: usize| {
        let (row, j) = (n / 70, n % 70);
        let (head, i) = (row / 40, row % 40);
        match sees(head / 4, head % 4, i, j) {
            true => 0.0,
            false => f64::NEG_INFINITY,
        }
    };
    (0..2 * 4 * 40 * 70).map(value).collect()
}

#[test]
fn blocks_of_every_broadcast() -> Result<()> {
    for [batch, heads] in [[1, 1], [2, 1], [1, 4], [2, 4]] {
        let tensor = blocks(&[batch, heads, 3, 5], some);
        let sees = |b: usize, h: usize, i, j| {
            let head = b % batch * heads + h % heads;
            some((head * 3 + i / 16) * 5 + j / 16) != 0
        };
        let name = format!("blocks-{batch}-{heads}");
        check(&name, vec![tensor], "--block-size 16", &sees, |_| {})?;
    }
    Ok(())
}

#[test]
fn blocks_of_another_side() -> Result<()> {
    for (side, rows, columns) in [(48, 1, 2), (128, 1, 1)] {
        let tensor = blocks(&[1, 4, rows, columns], some);
        let sees = |_, h, i, j| some((h * rows + i / side) * columns + j / side) != 0;
        let options = format!("--block-size {side}");
        check(&options, vec![tensor], &options, &sees, |_| {})?;
    }
    Ok(())
}

/// Documents of 25 tokens whose ids rise, the queries being the last tokens.
fn rising(token: usize) -> i32 {
    (token / 25) as i32 - 1
}

/// Ids in no order.
fn mixed(token: usize) -> i32 {
    [7, -3, 7, i32::MIN, 0][token * token % 5]
}

/// segments_q as I32 and segments_k as F32.
fn segments(id: fn(usize) -> i32) -> Vec<Tensor> {
    let q: Vec<i32> = (0..80).map(|n| id(n % 40 + 30)).collect();
    let k: Vec<f32> = (0..140).map(|n| id(n % 70) as f32).collect();
    vec![
        Tensor::integers("segments_q", &q).shaped(&[2, 40]),
        Tensor::floats("segments_k", &k).shaped(&[2, 70]),
    ]
}

#[test]
fn documents_in_and_out_of_order() -> Result<()> {
    for (name, id) in [("rising", rising as fn(usize) -> i32), ("mixed", mixed)] {
        let sees = |_, _, i, j| id(i + 30) == id(j);
        check(name, segments(id), "", &sees, |_| {})?;
    }
    Ok(())
}

#[test]
fn blocks_with_documents_causal_and_lengths() -> Result<()> {
    let mut more = segments(rising);
    more.push(blocks(&[1, 4, 3, 5], some));
    more.push(Tensor::integers("kv_lens", &[70, 43]));
    let sees = |_, h, i, j| some((h * 3 + i / 16) * 5 + j / 16) != 0 && rising(i + 30) == rising(j);
    check("all", more, "--block-size 16 --causal", &sees, |p| {
        p.mask.causal = true;
        p.mask.kv_lens = Lengths::Host(vec![70, 43]);
    })
}

/// The parents of 40 queries per batch.
fn parent(b: usize, i: usize) -> i32 {
    [i / 2, i * 7 % (i + 1), i][(b + i) % 3] as i32 - 1
}

fn tree() -> Tensor {
    let parents: Vec<i32> = (0..80).map(|n| parent(n / 40, n % 40)).collect();
    Tensor::integers("tree", &parents).shaped(&[2, 40])
}

/// Key 30 + n is that of query n.
fn sees_branch(b: usize, i: usize, j: usize) -> bool {
    let mut at = i as i32;
    while at >= 0 && at as usize + 30 != j {
        at = parent(b, at as usize);
    }
    j < 30 || at >= 0
}

#[test]
fn drafts_that_branch() -> Result<()> {
    let sees = |b, _, i, j| sees_branch(b, i, j);
    check("tree", vec![tree()], "", &sees, |_| {})?;
    check(
        "tree-causal",
        vec![tree()],
        "--causal --prefix 50",
        &sees,
        |_| {},
    )?;
    let sees = |b, h, i, j| sees_branch(b, i, j) && some((h * 3 + i / 16) * 5 + j / 16) != 0;
    let more = vec![tree(), blocks(&[1, 4, 3, 5], some)];
    check(
        "tree-blocks",
        more,
        "--block-size 16 --window 25,0 --first 9",
        &sees,
        |p| {
            p.mask.window = Some(Window {
                left: Some(25),
                right: Some(0),
            });
            p.mask.first = 9;
        },
    )
}

#[test]
fn bad_trees() {
    let with = |at: usize, parent: i32| {
        let mut tree = tree();
        tree.bytes[4 * at..][..4].copy_from_slice(&parent.to_le_bytes());
        vec![tree]
    };
    let before = "a query before it: order parents before children";
    let cases = [
        (43, 3, "tree[43] is 3", "-1 or 0 to 2"),
        (5, 9, "tree[5] is 9", "-1 or 0 to 4"),
    ];
    for (at, parent, actual, allowed) in cases {
        refused(
            "tree-order",
            with(at, parent),
            &[],
            &[actual, allowed, before],
        );
    }
    refused(
        "tree-low",
        with(7, -2),
        &[],
        &["tree[7] is -2", "-1 or 0 to 6"],
    );
    refused(
        "tree-first",
        with(40, 0),
        &[],
        &["tree[40] is 0", "allowed is -1"],
    );
    let shape = tree().shaped(&[80]);
    refused(
        "tree-shape",
        vec![shape],
        &[],
        &["tree has shape [80]", "[2, 40]"],
    );
    let directory = directory("sparse-tree-long");
    let input = write(
        &directory,
        "in.safetensors",
        &[
            Tensor::normal("q", Element::F32, &[1, 1, 129, 4], 1),
            Tensor::normal("k", Element::F32, &[1, 1, 129, 4], 2),
            Tensor::normal("v", Element::F32, &[1, 1, 129, 4], 3),
            Tensor::integers("tree", &[-1; 129]).shaped(&[1, 129]),
        ],
    );
    attend(&[&input]).refused(1, &["q_len beneath a tree is 129", "at most 128"]);
}

fn mask(dtype: Dtype, shape: &[usize]) -> Tensor {
    Tensor {
        name: "mask",
        dtype,
        shape: shape.to_vec(),
        bytes: (0..shape.iter().product()).map(sees_byte).collect(),
    }
}

/// 0 hides; of the bytes that do not, a bool has one.
fn sees_byte(n: usize) -> u8 {
    u8::from(n * n % 11 % 3 != 1)
}

#[test]
fn boolean_masks_of_every_broadcast() -> Result<()> {
    for [batch, heads, rows] in [[1, 1, 40], [2, 1, 1], [1, 4, 1], [2, 4, 40]] {
        let sees = |b: usize, h: usize, i: usize, j| {
            let head = b % batch * heads + h % heads;
            sees_byte((head * rows + i % rows) * 70 + j) != 0
        };
        for dtype in [Dtype::BOOL, Dtype::U8] {
            let name = format!("mask-{batch}-{heads}-{rows}-{dtype}");
            let tensor = mask(dtype, &[batch, heads, rows, 70]);
            check(&name, vec![tensor], "--causal", &sees, |p| {
                p.mask.causal = true
            })?;
        }
    }
    Ok(())
}

#[test]
fn bad_boolean_masks() {
    for shape in [&[1, 1, 40, 71][..], &[3, 1, 40, 70], &[40, 70]] {
        let words = [
            &format!("mask has shape {shape:?}"),
            "[2 or 1, 4 or 1, 40 or 1, 70]",
        ];
        refused("mask-shape", vec![mask(Dtype::U8, shape)], &[], &words);
    }
    let floats = Tensor::floats("mask", &[0.0; 70]).shaped(&[1, 1, 1, 70]);
    let words = ["mask is of type F32", "BOOL or U8", "bias"];
    refused("mask-type", vec![floats], &[], &words);
    let bools = Tensor {
        name: "bias",
        ..mask(Dtype::BOOL, &[1, 1, 1, 70])
    };
    let words = ["bias is of type BOOL", "tensor mask", "-inf where hidden"];
    refused("bias-type", vec![bools], &[], &words);
}

/// What is not listed is not visited.
#[test]
fn the_cost_follows_the_blocks() -> Result<()> {
    let flops = |name: &str, value: fn(usize) -> u8| -> Result<u64> {
        let directory = directory(&format!("sparse-cost-{name}"));
        let mut all = tensors();
        all.push(blocks(&[1, 1, 3, 5], value));
        let input = write(&directory, "in.safetensors", &all);
        let run = attend(&[&input, "--block-size", "16", "--json"]).succeeded();
        let report: Value = serde_json::from_str(&run.stdout)?;
        let steps = report["steps"].as_array().expect("steps");
        Ok(steps.iter().filter_map(|step| step["flops"].as_u64()).sum())
    };
    let (all, one) = (flops("all", |_| 1)?, flops("one", |n| u8::from(n == 0))?);
    assert_eq!(all, 2 * 4 * 40 * 70 * 2 * (12 + 6));
    assert_eq!(one, 2 * 4 * 16 * 16 * 2 * (12 + 6));
    Ok(())
}

/// B, Nq or Nk = 0 have no blocks.
#[test]
fn nothing_to_compute() -> Result<()> {
    for [batch, q_len, kv_len] in [[0, 3, 4], [1, 0, 4], [1, 3, 0]] {
        let directory = directory(&format!("sparse-empty-{batch}-{q_len}-{kv_len}"));
        let all = [
            Tensor::normal("q", Element::F32, &[batch, 2, q_len, 3], 1),
            Tensor::normal("k", Element::F32, &[batch, 1, kv_len, 3], 2),
            Tensor::normal("v", Element::F32, &[batch, 1, kv_len, 5], 3),
            blocks(&[batch, 1, q_len.min(1), kv_len.min(1)], |_| 1),
            Tensor::integers("segments_q", &vec![0; batch * q_len]).shaped(&[batch, q_len]),
            Tensor::integers("segments_k", &vec![0; batch * kv_len]).shaped(&[batch, kv_len]),
        ];
        let input = write(&directory, "in.safetensors", &all);
        let output = text(&directory.join("out.safetensors"));
        attend(&[&input, &output, "--block-size", "16"]).succeeded();
        let o = Golden::open(&output)?.floats("o")?;
        assert_eq!(o, vec![0.0; batch * 2 * q_len * 5]);
    }
    Ok(())
}

/// Holds the sentence about `more` in a file.
#[track_caller]
fn refused(name: &str, more: Vec<Tensor>, options: &[&str], words: &[&str]) {
    let directory = directory(&format!("sparse-{name}"));
    let all: Vec<_> = tensors().into_iter().chain(more).collect();
    let input = write(&directory, "in.safetensors", &all);
    let output = directory.join("out.safetensors");
    attend(&[&[input.as_str(), &text(&output)], options].concat()).refused(1, words);
    assert!(!output.exists(), "{name}: an output was written");
}

#[test]
fn bad_blocks() {
    let good = || blocks(&[1, 1, 3, 5], some);
    let size = &["--block-size", "16"][..];
    refused("no-size", vec![good()], &[], &["blocks", "--block-size"]);
    refused("no-blocks", vec![], size, &["--block-size", "add it"]);
    for side in ["0", "8", "24", "144"] {
        let words = [side, "multiple of 16 from 16 to 128"];
        refused("side", vec![good()], &["--block-size", side], &words);
    }
    for shape in [&[1, 1, 5, 3][..], &[3, 1, 3, 5], &[1, 2, 3, 5], &[3, 5]] {
        let words = [&format!("{shape:?}"), "[2 or 1, 4 or 1, 3, 5]"];
        refused("shape", vec![blocks(shape, some)], size, &words);
    }
    let mut wrong = good();
    (wrong.dtype, wrong.bytes) = (Dtype::I32, vec![0; 60]);
    refused("type", vec![wrong], size, &["blocks is of type I32", "U8"]);
}

#[test]
fn bad_documents() {
    let mut tensors = segments(rising);
    let (k, q) = (tensors.remove(1), tensors.remove(0));
    refused(
        "no-k",
        vec![q],
        &[],
        &["segments_q needs segments_k", "add"],
    );
    refused(
        "no-q",
        vec![k],
        &[],
        &["segments_k needs segments_q", "add"],
    );
    let with = |change: fn(&mut Tensor)| {
        let mut tensors = segments(rising);
        change(&mut tensors[1]);
        tensors
    };
    let shape = with(|k| k.shape = vec![70, 2]);
    refused(
        "ids-shape",
        shape,
        &[],
        &["segments_k has shape", "[2, 70]"],
    );
    let half = with(|k| k.bytes[..4].copy_from_slice(&1.5f32.to_le_bytes()));
    refused("ids-half", half, &[], &["segments_k[0] is 1.5", "whole"]);
    let wide = with(|k| k.bytes[4..8].copy_from_slice(&3e9f32.to_le_bytes()));
    refused("ids-wide", wide, &[], &["segments_k[1] is 3000000000"]);
}
