//! Position schemes and biases: every option and tensor against the reference.

use std::path::{Path, PathBuf};

use anyhow::Result;
use wgpu_attention::problem::position::{Rotary, RotaryLayout};
use wgpu_attention::problem::{
    Element, Layout, Mask, Positions, Problem, T5, T5Bias, Values, alibi_slopes,
};
use wgpu_attention::reference::{Bias, Forward, Tensors};

use super::options::problem;
use super::support::compare::assert_forward;
use super::support::golden::Golden;
use super::tool::{Tensor, attend, directory, qkv, text, write};

const YARN: &str = r#"{"hidden_size": 48, "num_attention_heads": 4, "max_position_embeddings": 64, "rope_theta": 5000.0,
    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}"#;
const DYNAMIC: &str = r#"{"head_dim": 12, "max_position_embeddings": 8,
    "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}"#;
const PARTIAL: &str = r#"{"head_dim": 12, "rope_theta": 100.0, "partial_rotary_factor": 0.5}"#;

/// A run of the tool over [`qkv`] and more.
struct Setup {
    directory: PathBuf,
    element: Element,
    more: Vec<Tensor>,
    options: Vec<String>,
}

impl Setup {
    fn new(name: &str, options: &str) -> Self {
        Self {
            directory: directory(&format!("positions-{name}")),
            element: Element::F32,
            more: Vec::new(),
            options: options.split_whitespace().map(String::from).collect(),
        }
    }

    fn with(mut self, tensor: Tensor) -> Self {
        self.more.push(tensor);
        self
    }

    /// Turned as this config says.
    fn rope(mut self, config: &str) -> Self {
        let path = self.directory.join("config.json");
        std::fs::write(&path, config).expect("a file for the test");
        self.options.extend(["--rope".into(), text(&path)]);
        self
    }

    /// Holds the answer against the reference's for [`problem`], changed.
    fn check(self, change: impl FnOnce(&mut Problem)) -> Result<()> {
        let tensors: Vec<_> = qkv(self.element).into_iter().chain(self.more).collect();
        let input = write(&self.directory, "in.safetensors", &tensors);
        let output = text(&self.directory.join("out.safetensors"));
        let files = [input.clone(), output.clone()];
        attend(&files.into_iter().chain(self.options).collect::<Vec<_>>()).succeeded();
        let mut problem = problem(self.element);
        change(&mut problem);
        compare(&problem, &input, &output)
    }
}

fn compare(problem: &Problem, input: &str, output: &str) -> Result<()> {
    let (input, output) = (Golden::open(input)?, Golden::open(output)?);
    let [q, k, v] = [input.floats("q")?, input.floats("k")?, input.floats("v")?];
    let bias = match problem.score.bias {
        Some(_) => Some((numbers(&input, "bias")?, input.sizes("bias")?)),
        None => None,
    };
    let tensors = Tensors {
        bias: bias.as_ref().map(|(values, sizes)| Bias {
            values,
            batch: sizes[0],
            heads: sizes[1],
        }),
        ..Tensors::new(&q, &k, &v)
    };
    let got = Forward {
        o: output.floats("o")?,
        lse: output.floats("lse")?,
    };
    assert_forward(problem, &tensors, &got, &format!("{problem:?}"));
    Ok(())
}

/// Of a tensor of either type.
fn numbers(file: &Golden, name: &str) -> Result<Vec<f64>> {
    let whole = |name| Ok::<_, anyhow::Error>(file.integers(name)?.into_iter().map(f64::from));
    file.floats(name).or_else(|_| Ok(whole(name)?.collect()))
}

fn rotary(config: &str) -> Rotary {
    Rotary::from_hf_config(config).expect("a config of these tests")
}

/// `[B, Nq]` and `[B, Nk]` as tensors and as the problem has them.
fn positions(q: impl Fn(i32) -> i32, k: impl Fn(i32) -> i32) -> [Vec<i32>; 2] {
    [(0..18).map(q).collect(), (0..42).map(k).collect()]
}

fn tensors([q, k]: &[Vec<i32>; 2]) -> [Tensor; 2] {
    let floats: Vec<f32> = k.iter().map(|&p| p as f32).collect();
    [
        Tensor::integers("q_positions", q).shaped(&[2, 9]),
        Tensor::floats("k_positions", &floats).shaped(&[2, 21]),
    ]
}

fn place(p: &mut Problem, [q, k]: [Vec<i32>; 2]) {
    p.position.q_positions = Positions::Host(q);
    p.position.k_positions = Positions::Host(k);
}

#[test]
fn rope_of_either_layout_with_masks_and_forced_paths() -> Result<()> {
    let setups = [
        ("plain", "", Mask::default()),
        ("causal", "--causal", Mask::causal()),
        ("window", "--window 4,2 --splits 3", Mask::window(4, 2)),
        ("slices", "--causal --slice-rows 4", Mask::causal()),
    ];
    for (layout, name) in [
        (RotaryLayout::Half, "half"),
        (RotaryLayout::Interleaved, "interleaved"),
    ] {
        for (what, options, mask) in setups.clone() {
            let options = format!("{options} --rope-layout {name}");
            Setup::new(&format!("rope-{name}-{what}"), &options)
                .rope(YARN)
                .check(|p| {
                    let rotary = rotary(YARN);
                    p.position.rotary = Some(Rotary { layout, ..rotary });
                    p.mask = mask;
                })?;
        }
    }
    Setup::new("rope-partial", "")
        .rope(PARTIAL)
        .check(|p| p.position.rotary = Some(rotary(PARTIAL)))
}

#[test]
fn rope_of_sixteen_bit_types() -> Result<()> {
    for element in [Element::F16, Element::BF16] {
        let setup = Setup::new(&format!("rope-{element}"), "--causal").rope(YARN);
        Setup { element, ..setup }.check(|p| {
            p.position.rotary = Some(rotary(YARN));
            p.mask = Mask::causal();
        })?;
    }
    Ok(())
}

/// By default the length is the largest position of the call + 1.
#[test]
fn rope_by_length() -> Result<()> {
    for (name, options, length) in [
        ("default", "", None),
        ("stated", "--rope-length 100", Some(100)),
        ("short", "--rope-length 3", Some(3)),
    ] {
        Setup::new(&format!("length-{name}"), options)
            .rope(DYNAMIC)
            .check(|p| {
                p.position.rotary = Some(rotary(DYNAMIC));
                p.position.length = length;
            })?;
    }
    Ok(())
}

#[test]
fn given_positions() -> Result<()> {
    let schemes = [
        positions(|n| n % 9 - 4, |n| 5 - n % 21),
        positions(|n| 1_000_003 + n, |n| 1_000_003 - 7 * n),
        positions(|n| 1_000_003 - 90_000 * n, |n| -1_000_003 + 50_000 * n),
    ];
    for (n, given) in schemes.into_iter().enumerate() {
        let [q, k] = tensors(&given);
        let setup = Setup::new(&format!("given-rope-{n}"), "--causal")
            .with(q)
            .with(k);
        setup.rope(PARTIAL).check(|p| {
            p.mask = Mask::causal();
            p.position.rotary = Some(rotary(PARTIAL));
            place(p, given.clone());
        })?;
        let [q, k] = tensors(&given);
        let setup = Setup::new(&format!("given-alibi-{n}"), "--alibi")
            .with(q)
            .with(k);
        setup.check(|p| {
            p.score.slopes = Some(Values::Host(alibi_slopes(4)));
            place(p, given);
        })?;
    }
    Ok(())
}

/// A few queries far out, keys by their indices: the table must not hold all that lies between.
#[test]
fn one_side_far_out() -> Result<()> {
    let [q, _] = positions(|n| (1 << 30) - n, |_| 0);
    Setup::new("far-queries", "")
        .with(Tensor::integers("q_positions", &q).shaped(&[2, 9]))
        .rope(PARTIAL)
        .check(|p| {
            p.position.rotary = Some(rotary(PARTIAL));
            p.position.q_positions = Positions::Host(q);
        })?;
    let offsets = vec![100_000_000, -200_000_000];
    Setup::new("far-offsets", "")
        .with(Tensor::integers("q_offset", &offsets))
        .rope(PARTIAL)
        .check(|p| {
            p.position.rotary = Some(rotary(PARTIAL));
            p.mask.q_offset = wgpu_attention::problem::Offsets::Host(offsets);
        })
}

#[test]
fn slopes_of_the_paper_and_of_the_file() -> Result<()> {
    let own = [0.25, -0.5, 0.0, 1.5];
    Setup::new("alibi", "--alibi --causal").check(|p| {
        p.score.slopes = Some(Values::Host(alibi_slopes(4)));
        p.mask = Mask::causal();
    })?;
    for options in ["", "--alibi"] {
        Setup::new(&format!("slopes{options}"), options)
            .with(Tensor::floats("slopes", &own))
            .check(|p| p.score.slopes = Some(Values::Host(own.to_vec())))?;
    }
    Ok(())
}

#[test]
fn t5_of_either_direction() -> Result<()> {
    let table: Vec<f32> = (0..8 * 4).map(|n| (n as f32 * 0.7).sin()).collect();
    for (options, bidirectional, distance) in [
        ("--t5 causal", false, 128),
        ("--t5 both --t5-distance 9", true, 9),
        ("--t5 causal --t5-distance 10 --softcap 2", false, 10),
    ] {
        Setup::new(&format!("t5-{bidirectional}-{distance}"), options)
            .with(Tensor::floats("t5", &table).shaped(&[8, 4]))
            .check(|p| {
                p.score.softcap = (options.contains("softcap")).then_some(2.0);
                p.score.t5 = Some(T5Bias {
                    buckets: T5 {
                        buckets: 8,
                        distance,
                        bidirectional,
                    },
                    table: Values::Host(table.clone()),
                });
            })?;
    }
    Ok(())
}

#[test]
fn biases_of_every_shape() -> Result<()> {
    for (batch, heads) in [(1, 1), (2, 1), (1, 4), (2, 4)] {
        let name = format!("bias-{batch}-{heads}");
        let bias = Tensor::normal("bias", Element::F32, &[batch, heads, 9, 21], 9);
        Setup::new(&name, "--causal --splits 2")
            .with(bias.hiding(|n| n % 5 == 2 || n < 21))
            .check(|p| {
                p.mask = Mask::causal();
                p.score.bias = Some(bias_layout(batch, heads));
            })?;
    }
    let whole: Vec<i32> = (0..9 * 21).map(|n| n % 4 - 2).collect();
    Setup::new("bias-i32", "")
        .with(Tensor::integers("bias", &whole).shaped(&[1, 1, 9, 21]))
        .check(|p| p.score.bias = Some(bias_layout(1, 1)))
}

fn bias_layout(batch: usize, heads: usize) -> Layout {
    let layout = Layout::heads_first(heads as u32, 9, 21);
    Layout {
        batch: if batch == 1 { 0 } else { layout.batch },
        head: if heads == 1 { 0 } else { layout.head },
        ..layout
    }
}

#[test]
fn sinks_with_dead_rows_and_splits() -> Result<()> {
    let sinks = vec![0.5, -3.0, 4.0, 0.0];
    for options in ["", "--splits 3"] {
        Setup::new(&format!("sinks{options}"), options)
            .with(Tensor::floats("sinks", &sinks))
            .with(Tensor::integers("kv_lens", &[0, 13]))
            .check(|p| {
                p.mask.kv_lens = wgpu_attention::problem::Lengths::Host(vec![0, 13]);
                p.score.sinks = Some(Values::Host(sinks.clone()));
            })?;
    }
    Ok(())
}

/// All at once, with a mask that goes by indices whatever the positions are.
#[test]
fn everything_together() -> Result<()> {
    let given = positions(|n| 3 * n - 20, |n| 11 - 2 * n);
    let [q, k] = tensors(&given);
    let table: Vec<f32> = (0..6 * 4).map(|n| 0.1 * n as f32).collect();
    let bias = Tensor::normal("bias", Element::F32, &[1, 4, 9, 21], 9);
    Setup::new(
        "everything",
        "--causal --window 6,0 --first 2 --softcap 5 --alibi --t5 both --t5-distance 20",
    )
    .with(q)
    .with(k)
    .with(bias.hiding(|n| n % 7 == 3))
    .with(Tensor::floats("t5", &table).shaped(&[6, 4]))
    .with(Tensor::floats("sinks", &[1.0, 2.0, -1.0, 0.0]))
    .rope(YARN)
    .check(|p| {
        p.mask = Mask {
            causal: true,
            first: 2,
            ..Mask::window(6, 0)
        };
        p.score.softcap = Some(5.0);
        p.score.bias = Some(bias_layout(1, 4));
        p.score.slopes = Some(Values::Host(alibi_slopes(4)));
        p.score.sinks = Some(Values::Host(vec![1.0, 2.0, -1.0, 0.0]));
        p.score.t5 = Some(T5Bias {
            buckets: T5 {
                buckets: 6,
                distance: 20,
                bidirectional: true,
            },
            table: Values::Host(table),
        });
        p.position.rotary = Some(rotary(YARN));
        place(p, given);
    })
}

/// Holds the sentence about a config, and that no output was written.
#[track_caller]
fn refused_config(name: &str, config: &str, words: &[&str]) {
    let setup = Setup::new(&format!("config-{name}"), "").rope(config);
    refused(&setup.directory, qkv(Element::F32), &setup.options, words);
}

#[track_caller]
fn refused(directory: &Path, tensors: Vec<Tensor>, options: &[String], words: &[&str]) {
    let output = directory.join("out.safetensors");
    let files = [write(directory, "in.safetensors", &tensors), text(&output)];
    let args: Vec<_> = files.iter().chain(options).collect();
    attend(&args).refused(1, words);
    assert!(!output.exists());
}

#[test]
fn configs_that_are_refused() {
    refused_config("size", r#"{"head_dim": 64}"#, &["config.json", "64", "12"]);
    refused_config("no-size", "{}", &["hidden_size", "missing"]);
    refused_config("prose", "once", &["config.json", "JSON"]);
    refused_config(
        "type",
        r#"{"head_dim": 12, "rope_scaling": {"type": "banana", "factor": 2.0}}"#,
        &["rope_scaling.type", "banana", "yarn", "llama3", "longrope"],
    );
    refused_config(
        "factor",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear"}}"#,
        &["rope_scaling.factor", "missing"],
    );
    refused_config(
        "below",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear", "factor": 0.5}}"#,
        &["factor", "0.5", "at least 1"],
    );
    refused_config(
        "unknown",
        r#"{"head_dim": 12, "rope_scaling": {"type": "linear", "factor": 2.0, "wobble": 1}}"#,
        &["rope_scaling.wobble", "not known"],
    );
    let none = directory("config-none");
    let options = ["--rope".into(), text(&none.join("none.json"))];
    refused(
        &none,
        qkv(Element::F32),
        &options,
        &["none.json", "check the path"],
    );
}

#[test]
fn tensors_that_do_not_fit() {
    let with = |tensor: Tensor, options: &str, words: &[&str]| {
        let setup = Setup::new("unfit", options);
        let tensors = qkv(Element::F32).into_iter().chain([tensor]).collect();
        refused(&setup.directory, tensors, &setup.options, words);
    };
    let zeros = |name, shape: &[usize]| {
        Tensor::floats(name, &vec![0.0; shape.iter().product()]).shaped(shape)
    };
    for shape in [
        &[3, 1, 9, 21][..],
        &[1, 2, 9, 21],
        &[1, 1, 1, 21],
        &[1, 1, 9, 1],
        &[9, 21],
    ] {
        with(
            zeros("bias", shape),
            "",
            &["bias has shape", "[2 or 1, 4 or 1, 9, 21]"],
        );
    }
    let infinite = Tensor::floats("bias", &[f32::INFINITY; 9 * 21]).shaped(&[1, 1, 9, 21]);
    with(infinite, "", &["bias[0] is inf", "-inf"]);
    with(zeros("slopes", &[2]), "", &["slopes has shape [2]", "[4]"]);
    with(
        zeros("sinks", &[4, 1]),
        "",
        &["sinks has shape [4, 1]", "[4]"],
    );
    with(
        Tensor::floats("sinks", &[0.0, f32::NAN, 0.0, 0.0]),
        "",
        &["sinks[1] is NaN"],
    );
    with(
        zeros("t5", &[32]),
        "--t5 both",
        &["t5 has shape [32]", "[buckets, 4]"],
    );
    with(zeros("t5", &[1, 4]), "--t5 both", &["t5 buckets is 1"]);
    with(
        zeros("t5", &[32, 4]),
        "--t5 causal --t5-distance 16",
        &["t5 distance is 16"],
    );
    with(zeros("t5", &[32, 4]), "", &["tensor t5", "--t5 causal"]);
    with(
        zeros("q_positions", &[9]),
        "",
        &["q_positions has shape [9]", "[2, 9]"],
    );
    with(
        Tensor::floats("k_positions", &[0.5; 42]).shaped(&[2, 21]),
        "",
        &["k_positions[0] is 0.5", "whole number"],
    );
    with(
        Tensor::floats("k_positions", &[2e9; 42]).shaped(&[2, 21]),
        "--alibi",
        &["k_positions[0] is 2000000000", "1073741824"],
    );
    with(
        zeros("slopes", &[4]),
        "--t5 both",
        &["--t5", "add a tensor t5"],
    );
}

#[test]
fn options_that_need_another() {
    for option in [
        "--rope-layout=half",
        "--rope-length=5",
        "--t5-distance=4",
        "--t5=maybe",
    ] {
        let run = attend(&["--random", "1,1,1,4,4,8", option]);
        assert_eq!(run.status, Some(2), "{run:?}");
    }
}
