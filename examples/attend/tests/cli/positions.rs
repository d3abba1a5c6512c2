//! Position schemes and biases: every option and tensor against the reference.

mod bad_input;
mod configs;

use std::path::PathBuf;

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

    /// Rotated as this config says.
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
    let tensors = Tensors::new(&q, &k, &v).with_bias(
        bias.as_ref()
            .map(|(values, sizes)| Bias::new(values, [sizes[0], sizes[1], sizes[2]])),
    );
    let got = Forward::new(output.floats("o")?, output.floats("lse")?);
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
                    p.position.rotary = Some(rotary.with_layout(layout));
                    p.mask = mask;
                })?;
        }
    }
    Setup::new("rope-partial", "")
        .rope(PARTIAL)
        .check(|p| p.position.rotary = Some(rotary(PARTIAL)))
}

/// A config that has a rotation for each type of layer; without a choice of one it says how to choose.
#[test]
fn rope_of_one_type_of_layer() -> Result<()> {
    const LAYERS: &str = r#"{"head_dim": 12, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}"#;
    for layer in ["full_attention", "sliding_attention"] {
        Setup::new(layer, &format!("--rope-layer {layer}"))
            .rope(LAYERS)
            .check(|p| {
                let rotary = Rotary::from_hf_layer(LAYERS, layer).expect("a layer of the config");
                p.position.rotary = Some(rotary);
            })?;
    }
    let directory = directory("positions-no-layer");
    let input = write(&directory, "in.safetensors", &qkv(Element::F32));
    let config = directory.join("config.json");
    std::fs::write(&config, LAYERS)?;
    let config = text(&config);
    let run = |more: &[&str]| attend(&[&[&input, "--rope", &config], more].concat());
    run(&[]).refused(1, &["--rope-layer", "sliding_attention"]);
    let named = ["no layer type other", "full_attention, sliding_attention"];
    run(&["--rope-layer", "other"]).refused(1, &named);
    std::fs::write(&config, PARTIAL)?;
    run(&["--rope-layer", "full_attention"]).refused(1, &["one rotation", "leave the choice out"]);
    Ok(())
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
    let per_batch = [0.25, -0.5, 0.0, 1.5, 0.1, 0.2, 0.3, 0.4];
    Setup::new("slopes-per-batch", "")
        .with(Tensor::floats("slopes", &per_batch).shaped(&[2, 4]))
        .check(|p| {
            p.score.slopes = Some(Values::Host(per_batch.to_vec()));
            p.score.slopes_per_batch = true;
        })
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
                p.score.t5 = Some(T5Bias::new(
                    T5::causal()
                        .with_buckets(8)
                        .with_distance(distance)
                        .with_bidirectional(bidirectional),
                    Values::Host(table.clone()),
                ));
            })?;
    }
    Ok(())
}

#[test]
fn biases_of_every_shape() -> Result<()> {
    let shapes = [9, 1].map(|rows| [(1, 1), (2, 1), (1, 4), (2, 4)].map(|(b, h)| [b, h, rows]));
    for [batch, heads, rows] in shapes.into_iter().flatten() {
        let name = format!("bias-{batch}-{heads}-{rows}");
        let bias = Tensor::normal("bias", Element::F32, &[batch, heads, rows, 21], 9);
        Setup::new(&name, "--causal --splits 2")
            .with(bias.hiding(|n| n % 5 == 2 || n < 10))
            .check(|p| {
                p.mask = Mask::causal();
                p.score.bias = Some(bias_layout([batch, heads, rows]));
            })?;
    }
    let bias = Tensor::normal("bias", Element::F32, &[1, 4, 9, 21], 9);
    Setup::new("bias-first", "--softcap 1.5 --bias-before-softcap")
        .with(bias.hiding(|n| n % 5 == 2))
        .check(|p| {
            p.score.softcap = Some(1.5);
            p.score.bias = Some(bias_layout([1, 4, 9]));
            p.score.bias_before_softcap = true;
        })?;
    for element in [Element::F16, Element::BF16] {
        let bias = Tensor::normal("bias", element, &[1, 1, 9, 21], 9);
        Setup::new(&format!("bias-{element}"), "--causal")
            .with(bias.hiding(|n| n % 5 == 2))
            .check(|p| {
                p.mask = Mask::causal();
                p.score.bias = Some(bias_layout([1, 1, 9]));
                p.score.bias_element = element;
            })?;
    }
    let whole: Vec<i32> = (0..9 * 21).map(|n| n % 4 - 2).collect();
    Setup::new("bias-i32", "")
        .with(Tensor::integers("bias", &whole).shaped(&[1, 1, 9, 21]))
        .check(|p| p.score.bias = Some(bias_layout([1, 1, 9])))
}

fn bias_layout([batch, heads, rows]: [usize; 3]) -> Layout {
    let layout = Layout::heads_first(heads as u32, rows as u32, 21);
    Layout {
        batch: if batch == 1 { 0 } else { layout.batch },
        head: if heads == 1 { 0 } else { layout.head },
        row: if rows == 1 { 0 } else { layout.row },
        ..layout
    }
}

#[test]
fn sinks_with_fully_masked_rows_and_splits() -> Result<()> {
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
        p.mask = Mask::window(6, 0).with_causal(true).with_first(2);
        p.score.softcap = Some(5.0);
        p.score.bias = Some(bias_layout([1, 4, 9]));
        p.score.slopes = Some(Values::Host(alibi_slopes(4)));
        p.score.sinks = Some(Values::Host(vec![1.0, 2.0, -1.0, 0.0]));
        p.score.t5 = Some(T5Bias::new(
            T5::both().with_buckets(6).with_distance(20),
            Values::Host(table),
        ));
        p.position.rotary = Some(rotary(YARN));
        place(p, given);
    })
}
