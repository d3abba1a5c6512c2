//! Every way there is to hide a pair, and behind it what may not matter: NaN, infinities, numbers that overflow.

use wgpu_attention::Element;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, DenseMask, Layout, Lengths, Mask, Mods, Offsets, Segments, Select, Tree,
};
use wgpu_attention::reference::{forward, visible};

use crate::device::gpu;
use crate::run::{forward_strategies, run};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, DenseBias, Inputs};
use crate::support::tensor::{encode, round};

pub const QUERIES: u32 = 35;
pub const KEYS: u32 = 43;
/// The key that no query sees.
pub const HIDDEN: u32 = 29;
/// What is put there.
pub const POISONS: [f64; 3] = [f64::NAN, f64::INFINITY, 3e38];

/// One way to hide key [`HIDDEN`] from every query.
pub struct Way {
    pub case: Case,
    pub inputs: Inputs,
    /// Its keys have a say in what is visible, and so hold no poison.
    chooses: bool,
}

impl Way {
    fn new(name: &str, n: usize, change: impl FnOnce(&mut wgpu_attention::Problem)) -> Self {
        // Rows that are loaded by fours and by eights of channels.
        let (d, dv) = [(20, 12), (24, 16)][n % 2];
        let setting = Setting::new(d, dv, Element::F32);
        let case = Case::new(name, &setting, Sizes::one(QUERIES, KEYS));
        let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
        Self {
            case: case.with(change),
            inputs,
            chooses: false,
        }
    }

    fn with_bias(mut self, value: f64) -> Self {
        let hides = |n: u32| {
            if n % KEYS == HIDDEN {
                value
            } else {
                0.1 * (n % 7) as f64
            }
        };
        let element = self.case.problem.score.bias_element;
        let values: Vec<f64> = (0..QUERIES * KEYS)
            .map(|n| round(element, hides(n)))
            .collect();
        let mut buffer = encode(element, &values);
        buffer.resize(buffer.len().next_multiple_of(4), 0);
        self.inputs.bias = Some(DenseBias { values, buffer });
        self
    }

    /// The bias of a key-padding mask: a number per key.
    fn with_padding(mut self) -> Self {
        let row = (0..KEYS).map(|j| match j == HIDDEN {
            true => f64::NEG_INFINITY,
            false => 0.1 * f64::from(j % 7),
        });
        let row: Vec<f64> = row.collect();
        self.inputs.bias = Some(DenseBias {
            buffer: encode(Element::F32, &row),
            values: row.repeat(QUERIES as usize),
        });
        self
    }

    /// The same inputs with `poison` in every channel of the hidden key and value.
    pub fn poisoned(&self, poison: f64) -> Inputs {
        let (mut inputs, shape) = (self.inputs.clone(), &self.case.problem.shape);
        let (d, dv) = (shape.head_dim as usize, shape.value_dim as usize);
        if !self.chooses {
            inputs.k[HIDDEN as usize * d..][..d].fill(poison);
            inputs.buffers[1] = encode(Element::F32, &inputs.k);
        }
        inputs.v[HIDDEN as usize * dv..][..dv].fill(poison);
        inputs.buffers[2] = encode(Element::F32, &inputs.v);
        inputs
    }
}

fn mods(text: &str) -> Option<Mods> {
    Some(Mods::new(text).expect("a sound text"))
}

pub fn ways() -> Vec<Way> {
    let shape = Case::new(
        "",
        &Setting::new(8, 8, Element::F32),
        Sizes::one(QUERIES, KEYS),
    );
    let grid = BlockGrid::of(16, &shape.problem.shape);
    let blocks = |sees: &dyn Fn(u32) -> bool| {
        BlockMask::from_fn(grid, |_, _, _, j| sees(j)).expect("a sound mask")
    };
    let ids = |of_key: &dyn Fn(u32) -> i32| Segments::Host {
        q: vec![1; QUERIES as usize],
        k: (0..KEYS).map(of_key).collect(),
    };
    let at = |offset| Offsets::Host(vec![offset]);
    vec![
        Way::new("lengths", 0, |p| {
            p.mask.kv_lens = Lengths::Host(vec![HIDDEN])
        }),
        Way::new("causal", 1, |p| {
            p.mask = Mask::causal().with_q_offset(at(-7));
        }),
        Way::new("window", 2, |p| {
            p.mask = Mask::window(5, 0).with_q_offset(at(36)).with_first(3);
        }),
        Way::new("segments that rise", 3, |p| {
            p.mask.segments = Some(ids(&|j| if j < HIDDEN { 1 } else { 2 }));
        }),
        Way::new("segments", 4, |p| {
            p.mask.segments = Some(ids(&|j| if j == HIDDEN { 7 } else { 1 }));
        }),
        Way::new("a block's bits", 5, |p| {
            p.mask.blocks = Some(blocks(&|j| j != HIDDEN).into());
        }),
        Way::new("a block", 6, |p| {
            p.mask.blocks = Some(blocks(&|j| j / 16 != HIDDEN / 16).into())
        }),
        Way::new("a boolean mask", 13, |p| {
            let sees: Vec<bool> = (0..QUERIES * KEYS)
                .map(|n| n % KEYS != HIDDEN && (n % KEYS < 2 || n % 7 != 3))
                .collect();
            p.mask.dense = DenseMask::from_bools([1, 1, QUERIES], KEYS, &sees).ok();
        }),
        device_mask(),
        Way::new("keys past a tree", 18, |p| {
            p.mask = Mask::default().with_q_offset(at(-7));
            p.mask.tree = Some(Tree::Host((0..QUERIES as i32).map(|i| i / 3 - 1).collect()));
        }),
        tree(),
        chosen(),
        Way::new("a bias of −∞", 8, bias).with_bias(f64::NEG_INFINITY),
        Way::new("a low bias", 9, bias).with_bias(-2.5e38),
        Way::new("a bias of f16", 16, |p| {
            bias(p);
            p.score.bias_element = Element::F16;
        })
        .with_bias(f64::NEG_INFINITY),
        Way::new("a bias of bf16", 17, |p| {
            bias(p);
            p.score.bias_element = Element::BF16;
        })
        .with_bias(half::bf16::MIN.to_f64()),
        Way::new("a bias of keys", 12, |p| {
            p.score.bias = Some(Layout {
                row: 0,
                ..Layout::heads_first(1, 1, KEYS)
            });
        })
        .with_padding(),
        Way::new("a bias before softcap", 15, |p| {
            bias(p);
            p.score.softcap = Some(4.0);
            p.score.bias_before_softcap = true;
        })
        .with_bias(f64::NEG_INFINITY),
        Way::new("score_mod", 10, |p| {
            p.mods = mods(&format!(
                "fn score_mod(x: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {{ return select(x, -3e38, j == {HIDDEN}u); }}
fn score_mod_grad(x: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {{ return 1.0; }}"
            ));
        }),
        Way::new("mask_mod", 11, |p| {
            p.mods = mods(&format!(
                "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{ return j != {HIDDEN}u; }}"
            ));
        }),
    ]
}

fn bias(problem: &mut wgpu_attention::Problem) {
    problem.score.bias = Some(Layout::heads_first(1, QUERIES, KEYS));
}

/// A number of keys for all queries, in a buffer.
fn device_mask() -> Way {
    let mut way = Way::new("a boolean mask of keys", 14, |p| {
        p.mask.dense = Some(DenseMask::device([1, 1, 1], KEYS));
    });
    let sees: Vec<bool> = (0..KEYS).map(|j| j != HIDDEN).collect();
    way.case.values.mask = Some(DenseMask::pack(KEYS, &sees));
    way
}

/// Bits in a buffer, that of the hidden key in none: key 8 is that of query 0.
fn tree() -> Way {
    let mut way = Way::new("a tree", 19, |p| p.mask.tree = Some(Tree::Device));
    let all = !(1_u128 << (HIDDEN + QUERIES - KEYS));
    let words = [0, 32, 64, 96].map(|shift| (all >> shift) as u32);
    way.case.values.tree = Some(words.repeat(QUERIES as usize));
    way
}

/// Blocks that queries choose, of which the hidden key's scores least.
fn chosen() -> Way {
    let mut way = Way::new("select", 7, |p| {
        let select = Select::new(16, 2).with_local(0);
        // No block of keys is kept for the diagonal's sake.
        p.mask.q_offset = Offsets::Host(vec![-100]);
        p.mask.blocks = Some(wgpu_attention::problem::Blocks::Select(select));
    });
    let d = way.case.problem.shape.head_dim as usize;
    way.inputs.q.iter_mut().for_each(|x| *x = x.abs());
    for (n, x) in way.inputs.k.iter_mut().enumerate() {
        if (n / d) as u32 / 16 == HIDDEN / 16 {
            *x = -x.abs();
        }
    }
    way.inputs.buffers[0] = encode(Element::F32, &way.inputs.q);
    way.inputs.buffers[1] = encode(Element::F32, &way.inputs.k);
    way.chooses = true;
    way
}

#[test]
fn what_is_hidden_changes_nothing() {
    for way in ways() {
        for choice in forward_strategies(gpu()) {
            let of = |inputs: &Inputs| run(gpu(), &gpu().attention, &way.case, inputs, &choice);
            let (plan, clean) = of(&way.inputs);
            let finite = clean.forward(&way.case).o.iter().all(|x| x.is_finite());
            assert!(finite, "{}\n{plan}", way.case.name);
            for poison in POISONS {
                let (_, got) = of(&way.poisoned(poison));
                assert!(got == clean, "{poison} behind {}\n{plan}", way.case.name);
            }
        }
    }
}

/// A bias that hides what causal would: each row is as without, until the one that sees the poison.
#[test]
fn a_triangular_bias_is_causal() {
    const N: u32 = 40;
    const AT: usize = 20;
    let causal = Case::new(
        "causal",
        &Setting::new(16, 16, Element::F32),
        Sizes::one(N, N),
    )
    .with(|p| p.mask = Mask::causal());
    let biased = causal.clone().with(|p| {
        p.mask = Mask::default();
        p.score.bias = Some(Layout::heads_first(1, N, N));
    });
    let hides = |n: u32| {
        if n % N > n / N {
            f64::NEG_INFINITY
        } else {
            0.0
        }
    };
    let values: Vec<f64> = (0..N * N).map(hides).collect();
    let clean = Inputs::new(&causal, Data::Normal(1.0), 3);
    let want = forward(&causal.problem, &clean.tensors(&causal));
    for (slot, poison) in [1, 2].into_iter().flat_map(|n| POISONS.map(|x| (n, x))) {
        let mut inputs = clean.clone();
        let values_of = if slot == 1 {
            &mut inputs.k
        } else {
            &mut inputs.v
        };
        values_of[AT * 16..][..16].fill(poison);
        inputs.buffers[slot] = encode(Element::F32, values_of);
        for choice in forward_strategies(gpu()) {
            let of = |case, inputs: &Inputs| {
                run(gpu(), &gpu().attention, case, inputs, &choice)
                    .1
                    .forward(case)
            };
            let own = of(&causal, &inputs);
            let bias = DenseBias {
                buffer: encode(Element::F32, &values),
                values: values.clone(),
            };
            let got = of(
                &biased,
                &Inputs {
                    bias: Some(bias),
                    ..inputs.clone()
                },
            );
            let near = |a: f64, b: f64| (a - b).abs() < 1e-5;
            for row in 0..N as usize {
                let context = || format!("{poison} in {slot}, row {row}, {choice:?}");
                let cells = row * 16..(row + 1) * 16;
                if row < AT {
                    for c in cells {
                        assert!(
                            near(got.o[c], want.o[c]) && near(own.o[c], want.o[c]),
                            "{}",
                            context()
                        );
                    }
                    assert!(near(got.lse[row], want.lse[row]), "{}", context());
                } else if poison != 3e38 {
                    let finite = |x: &[f64]| x[cells.clone()].iter().any(|x| x.is_finite());
                    assert_eq!(finite(&got.o), finite(&own.o), "{}", context());
                    assert_eq!(
                        got.lse[row].is_finite(),
                        own.lse[row].is_finite(),
                        "{}",
                        context()
                    );
                }
            }
        }
    }
}

/// The ways hide what they say: the reference sees no such pair, but where a score hides it.
#[test]
fn the_hidden_key_is_hidden() {
    for way in ways().into_iter().filter(|way| !way.chooses) {
        let tensors = way.inputs.tensors(&way.case);
        let mask = &way.case.problem;
        let by_score = mask.score.bias.is_some() || mask.mods.is_some();
        let is_visible = (0..QUERIES).any(|i| visible(mask, &tensors, 0, 0, i, HIDDEN));
        assert!(by_score || !is_visible, "{}", way.case.name);
        let others = (0..QUERIES).any(|i| {
            visible(mask, &tensors, 0, 0, i, KEYS - 1) || visible(mask, &tensors, 0, 0, i, 1)
        });
        assert!(others, "{} hides everything", way.case.name);
    }
}
