//! Operands larger than one binding: the case table with a lowered limit, and one that is larger for real.

use wgpu_attention::problem::{KvAddress, Layout, Lengths, Mask, Offsets, Ring, Values};
use wgpu_attention::{
    Attention, Backward, Element, Error, KvAppend, Operands, Plan, PlanOptions, Problem, Role,
    Shape,
};

use crate::backward::run::{Given, run as run_backward, run_and_check_on};
use crate::device::{Gpu, Pace, gpu, is_part, say};
use crate::run::{buffer, check, forward_strategies, read, run, strategies};
use crate::support::backward::request;
use crate::support::cases::{self, Case, Distance, RotaryCase, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// The same device, whose bindings hold no more than this.
fn limited(gpu: &Gpu, bytes: u64) -> Attention {
    let caps = gpu.attention.caps().clone().with_binding_bytes(bytes);
    Attention::with_caps(&gpu.device, caps).expect("caps of the device")
}

/// With the smallest bindings for which there is a plan: cut as far as it goes.
fn most_limited(gpu: &Gpu, plan: impl Fn(&Attention) -> wgpu_attention::Result<Plan>) -> Attention {
    let limits = [3, 4, 6, 8, 12, 16, 24, 32, 48, 64].map(|n| n << 10);
    limits
        .into_iter()
        .map(|bytes| limited(gpu, bytes))
        .find(|attention| match plan(attention) {
            Ok(_) => true,
            Err(Error::Limit { .. }) => false,
            Err(other) => panic!("{other}"),
        })
        .expect("64 KiB hold every tile")
}

fn settings() -> Vec<Setting> {
    let base = |d, dv, element| Setting::new(d, dv, element);
    vec![
        base(64, 32, Element::F32),
        base(33, 17, Element::F16),
        Setting {
            softcap: Some(3.0),
            bias: true,
            output: Element::F32,
            ..base(16, 40, Element::BF16)
        },
        Setting {
            bias: true,
            bias_element: Element::F16,
            distance: Some(Distance::Alibi),
            positions: true,
            ..base(40, 16, Element::F32)
        },
        Setting {
            distance: Some(Distance::T5),
            dense_mask: true,
            ..base(48, 64, Element::F16)
        },
        Setting {
            rotation: Some(RotaryCase {
                layout: Default::default(),
                temperature: true,
            }),
            positions: true,
            ..base(32, 16, Element::BF16)
        },
    ]
}

/// Every sixth of the table's cases (of a part of the suite every 18th), other ones for each setting, and some whose axes are all worth a cut.
fn some_cases(setting: &Setting, nth: usize) -> Vec<Case> {
    let sinks = |p: &mut Problem| {
        let sinks = (0..p.shape.q_heads).map(|h| 0.5 - 0.2 * h as f32).collect();
        p.score.sinks = Some(Values::Host(sinks));
    };
    let case = |name, sizes| Case::new(name, setting, sizes).with(sinks);
    let table = cases::all(setting).into_iter().skip(nth % 6);
    let mut cases: Vec<_> = table.step_by(if is_part() { 18 } else { 6 }).collect();
    cases.extend([
        case("a long context", Sizes::two(4, 2, 70, 300)).with(|p| p.mask = Mask::causal()),
        case("one head's", Sizes::one(130, 260))
            .with(|p| p.mask = Mask::window(90, 20).with_first(5)),
        case("few queries", Sizes::two(6, 2, 2, 400)),
        case("rows first", Sizes::two(4, 2, 50, 300)).with(|p| {
            let s = p.shape;
            p.k.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.head_dim).at(3);
            p.v.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.value_dim).at(64);
            p.o.layout = Layout::rows_first(s.q_heads, s.q_len, s.value_dim);
        }),
    ]);
    cases
}

/// The axes along which plans were cut.
#[derive(Default)]
struct Axes([usize; 4]);

impl Axes {
    const NAMES: [&str; 4] = ["batches", "heads", "queries", "keys"];

    fn count(&mut self, plan: &Plan) {
        let text = plan.to_string();
        for (n, name) in Self::NAMES.iter().enumerate() {
            self.0[n] += usize::from(text.contains(&format!("over {name} in ")));
        }
    }

    fn assert_all(&self, what: &str) {
        say(&format!("{what}, cut over {:?}: {:?}", Self::NAMES, self.0));
        assert!(self.0.iter().all(|&n| n > 3), "{what}: {:?}", self.0);
    }
}

#[test]
fn the_case_table_in_small_bindings() {
    let gpu = gpu();
    let choices = forward_strategies(gpu);
    let mut axes = Axes::default();
    let mut pace = Pace::new("settings in small bindings", settings().len());
    for (nth, setting) in settings().into_iter().enumerate() {
        for (n, case) in some_cases(&setting, nth).iter().enumerate() {
            let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
            let choice = &choices[nth % choices.len()];
            let attention = most_limited(gpu, |a| a.plan_with(&case.problem, choice));
            let (plan, output) = run(gpu, &attention, case, &inputs, choice);
            let context = format!("{}\n{choice:?}\n{plan}", case.name);
            check(case, &inputs, &output, &context);
            let (_, again) = run(gpu, &attention, case, &inputs, choice);
            assert!(output == again, "other bits the second time: {context}");
            axes.count(&plan);
            pace.at(nth);
        }
    }
    axes.assert_all("forward");
}

#[test]
fn the_case_table_backward_in_small_bindings() {
    let gpu = gpu();
    let choices = strategies(gpu);
    let mut axes = Axes::default();
    let mut pace = Pace::new("settings backward in small bindings", settings().len());
    for (nth, setting) in settings().into_iter().enumerate() {
        for (n, case) in some_cases(&setting, nth).into_iter().enumerate() {
            let case = case.with(|p| {
                if let Some(bias) = &mut p.score.bias {
                    bias.head = if n % 3 == 0 { 0 } else { bias.head };
                    bias.row = if n % 5 == 0 { 0 } else { bias.row };
                }
            });
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            let given = Given {
                score: n % 2 == 0,
                element: Element::ALL[n % 3],
                ..Given::new(&case, n as u64)
            };
            let choice = &choices[nth % choices.len()];
            let backward = request(&case, &given);
            let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, choice));
            let plan = run_and_check_on(gpu, &attention, &case, &inputs, &given, choice);
            axes.count(&plan);
            pace.at(nth);
        }
    }
    axes.assert_all("backward");
}

/// What shares its buffer with an input waits in scratch until all parts are read; what rows share words goes through it.
#[test]
fn outputs_through_scratch_are_cut_too() {
    let gpu = gpu();
    for element in [Element::F32, Element::F16] {
        let setting = Setting::new(24, 15, element);
        let case = Case::new("shared", &setting, Sizes::two(4, 2, 40, 200))
            .with(|p| p.mask = Mask::causal());
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        let given = Given::new(&case, 4);
        for choice in strategies(gpu) {
            let choice = choice.with_shared_outputs(true);
            let attention = most_limited(gpu, |a| a.plan_with(&case.problem, &choice));
            let (plan, output) = run(gpu, &attention, &case, &inputs, &choice);
            assert!(plan.to_string().contains(": cut over"), "{plan}");
            check(&case, &inputs, &output, &plan.to_string());
            let backward = request(&case, &given);
            let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, &choice));
            let plan = run_and_check_on(gpu, &attention, &case, &inputs, &given, &choice);
            assert!(plan.to_string().contains(": cut over"), "{plan}");
        }
    }
}

/// A gradient of a bias that its queries, batches and heads share in every way.
#[test]
fn gradients_of_shared_biases_are_cut_too() {
    let gpu = gpu();
    let setting = Setting {
        bias: true,
        ..Setting::new(32, 16, Element::F32)
    };
    for (n, shared) in (0..8).map(|n| (n, [n & 1 > 0, n & 2 > 0, n & 4 > 0])) {
        let case =
            Case::new(format!("{shared:?}"), &setting, Sizes::two(4, 2, 70, 150)).with(|p| {
                p.mask = Mask::causal();
                let bias = p.score.bias.as_mut().expect("a bias");
                let strides = [&mut bias.batch, &mut bias.head, &mut bias.row];
                for (stride, _) in strides
                    .into_iter()
                    .zip(shared)
                    .filter(|(_, shared)| *shared)
                {
                    *stride = 0;
                }
            });
        let inputs = Inputs::new(&case, Data::Normal(1.0), n);
        let given = Given {
            score: true,
            ..Given::new(&case, n)
        };
        let backward = request(&case, &given);
        let choice = PlanOptions::default();
        let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, &choice));
        let plan = run_and_check_on(gpu, &attention, &case, &inputs, &given, &choice);
        assert!(plan.to_string().contains(": cut over"), "{plan}");
    }
}

/// Cut and whole backward passes differ by rounding, and what is cut comes out in the same bits each time.
#[test]
fn a_backward_pass_in_parts_is_deterministic() {
    let gpu = gpu();
    let setting = Setting {
        distance: Some(Distance::Alibi),
        ..Setting::new(64, 64, Element::F16)
    };
    let case =
        Case::new("twice", &setting, Sizes::two(4, 1, 90, 200)).with(|p| p.mask = Mask::causal());
    let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
    let given = Given {
        score: true,
        ..Given::new(&case, 9)
    };
    for choice in strategies(gpu) {
        let backward: Backward = request(&case, &given);
        let attention = most_limited(gpu, |a| a.plan_backward_with(&backward, &choice));
        let once = || run_backward(gpu, &attention, &case, &inputs, &given, &choice).2;
        assert!(once() == once(), "{choice:?}");
    }
}

/// Numbers from −1 to 1 that no two neighbours share.
fn number(n: u32) -> f32 {
    let bits = n.wrapping_mul(0x9e37_79b9) ^ (n >> 7);
    bits.wrapping_mul(0x85eb_ca6b) as i32 as f32 / i32::MAX as f32
}

const SHAPE: Shape = Shape {
    batch: 1,
    q_heads: 8,
    kv_heads: 8,
    q_len: 2,
    kv_len: 36_000,
    head_dim: 128,
    value_dim: 4,
};
const D: usize = SHAPE.head_dim as usize;

/// k of 140 MiB, more than WebGPU's default of 128 MiB and than lavapipe's bindings: cut over heads, or over keys where
/// these are further apart.
#[test]
fn keys_larger_than_a_binding() {
    let gpu = gpu();
    let limit = gpu.attention.caps().binding_bytes.min(128 << 20);
    let attention = limited(gpu, limit);
    let kv = SHAPE.kv_heads * SHAPE.kv_len;
    let fill = |rows: u32, dim: u32| -> Vec<f32> { (0..rows * dim).map(number).collect() };
    let (q, k, v) = (
        fill(SHAPE.q_heads * SHAPE.q_len, SHAPE.head_dim),
        fill(kv, SHAPE.head_dim),
        fill(kv, SHAPE.value_dim),
    );
    let [q_buffer, k_buffer, v_buffer] =
        [&q, &k, &v].map(|x| buffer(&gpu.device, bytemuck::cast_slice(x)));
    assert!(k_buffer.size() > limit);
    let rows = SHAPE.rows() as usize;
    for (layout, axis) in [
        (
            Layout::heads_first(8, SHAPE.kv_len, SHAPE.head_dim),
            "heads",
        ),
        (Layout::rows_first(8, SHAPE.kv_len, SHAPE.head_dim), "keys"),
    ] {
        let mut problem = Problem::new(SHAPE, Element::F32);
        problem.k.layout = layout;
        let plan = attention.plan(&problem).expect("parts that fit");
        let said = format!("cut over {axis} in 2 parts");
        assert!(plan.to_string().contains(&said), "{plan}");
        let o = buffer(&gpu.device, &vec![0; rows * 16]);
        let lse = buffer(&gpu.device, &vec![0; rows * 4]);
        let operands = Operands::new(&q_buffer, &k_buffer, &v_buffer, &o, &lse);
        submit(gpu, &attention, &plan, &operands);
        let [o, lse] = read(gpu, [&o, &lse]);
        let (o, lse): (Vec<f32>, Vec<f32>) = (
            bytemuck::pod_collect_to_vec(&o),
            bytemuck::pod_collect_to_vec(&lse),
        );
        for row in [0, 7, 8, 15] {
            let key = |j: u32| layout.index(0, row as u32 / 2, j) as usize;
            let value = |j: u32| (row / 2 * SHAPE.kv_len as usize + j as usize) * 4;
            let expected = attend(
                &q[row * D..][..D],
                |j| &k[key(j)..][..D],
                |j| &v[value(j)..][..4],
            );
            assert!(
                (f64::from(lse[row]) - expected.1).abs() < 1e-5,
                "{row}: {lse:?}\n{plan}"
            );
            for (c, x) in expected.0.iter().enumerate() {
                let error = (f64::from(o[4 * row + c]) - x).abs();
                assert!(
                    error < 1e-6,
                    "row {row}, channel {c}: off by {error}\n{plan}"
                );
            }
        }
    }
}

/// One row in f64: o and lse.
fn attend<'a>(
    q: &[f32],
    key: impl Fn(u32) -> &'a [f32],
    value: impl Fn(u32) -> &'a [f32],
) -> ([f64; 4], f64) {
    let dot = |k: &[f32]| -> f64 {
        q.iter()
            .zip(k)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    let scale = f64::from(1.0 / (D as f32).sqrt());
    let (mut o, mut sum) = ([0.0; 4], 0.0);
    for j in 0..SHAPE.kv_len {
        let p = (scale * dot(key(j))).exp();
        sum += p;
        for (x, y) in o.iter_mut().zip(value(j)) {
            *x += p * f64::from(*y);
        }
    }
    (o.map(|x| x / sum), sum.ln())
}

/// New rows of every batch and head find their places in the windows of a cache.
#[test]
fn caches_larger_than_a_binding_are_written_and_read() {
    let gpu = gpu();
    let shape = Shape {
        batch: 3,
        q_heads: 4,
        kv_heads: 2,
        q_len: 4,
        kv_len: 60,
        head_dim: 24,
        value_dim: 8,
    };
    let starts = [10, 0, 56];
    let lens = Lengths::Host(starts.iter().map(|start| start + 4).collect());
    let offsets = Offsets::Host(starts.iter().map(|&start| start as i32).collect());
    let ring = Ring::new(3, 40);
    for address in [KvAddress::Strided, KvAddress::Ring(ring)] {
        let attention = limited(gpu, 9 << 10);
        let append = KvAppend::new(shape, address, Element::F32)
            .with_kv_lens(lens.clone())
            .with_q_offset(offsets.clone());
        let plan = attention.plan_append(&append).expect("parts that fit");
        assert!(plan.to_string().contains("the cache is"), "{plan}");
        let [_, _, kept] = address.sizes(&shape);
        let rows = |count: u32, dim: u32| (3 * 2 * count * dim) as usize;
        let new = |dim| -> Vec<f32> { (0..rows(4, dim) as u32).map(number).collect() };
        let (k, v) = (new(24), new(8));
        let old = |dim| vec![0.25_f32; rows(kept, dim)];
        let [k_new, v_new, k_cache, v_cache] =
            [&k, &v, &old(24), &old(8)].map(|x| buffer(&gpu.device, bytemuck::cast_slice(x)));
        let operands = Operands::default()
            .with(Role::K, &k_new)
            .with(Role::V, &v_new)
            .with(Role::KCache, &k_cache)
            .with(Role::VCache, &v_cache);
        submit(gpu, &attention, &plan, &operands);
        for (cache, new, dim) in [(&k_cache, &k, 24), (&v_cache, &v, 8)] {
            let mut expected = old(dim);
            for (n, row) in new.chunks_exact(dim as usize).enumerate() {
                let (bh, j) = (n as u32 / 4, starts[n / 8] + n as u32 % 4);
                let at = match address {
                    KvAddress::Ring(_) if j >= 3 => 3 + (j - 3) % 40,
                    _ => j,
                };
                expected[((bh * kept + at) * dim) as usize..][..dim as usize].copy_from_slice(row);
            }
            let [got] = read(gpu, [cache]);
            assert!(
                bytemuck::pod_collect_to_vec::<u8, f32>(&got) == expected,
                "{plan}"
            );
        }
        // Read again: as a device does that binds all of it.
        let mut problem = Problem::new(shape, Element::F32).with_kv_address(address);
        problem.mask = Mask::window(30, 0).with_first(3);
        (problem.mask.kv_lens, problem.mask.q_offset) = (lens.clone(), offsets.clone());
        (problem.k.layout, problem.v.layout) = (append.k_cache.layout, append.v_cache.layout);
        let q: Vec<f32> = (0..3 * 4 * 4 * 24).map(number).collect();
        let q = buffer(&gpu.device, bytemuck::cast_slice(&q));
        let once = |attention: &Attention| {
            let plan = attention.plan(&problem).expect("a legal call");
            let o = buffer(&gpu.device, &[0; 3 * 4 * 4 * 8 * 4]);
            let lse = buffer(&gpu.device, &[0; 3 * 4 * 4 * 4]);
            let operands = Operands::new(&q, &k_cache, &v_cache, &o, &lse);
            submit(gpu, attention, &plan, &operands);
            (plan.to_string(), read(gpu, [&o, &lse]))
        };
        let (whole, parts) = (once(&gpu.attention), once(&attention));
        assert!(parts.0.contains(": cut over"), "{}", parts.0);
        assert!(whole.1 == parts.1, "{}\n{}", whole.0, parts.0);
    }
}

fn submit(gpu: &Gpu, attention: &Attention, plan: &Plan, operands: &Operands<'_>) {
    let call = pollster::block_on(attention.prepare(plan, operands)).expect("a prepared call");
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
}
