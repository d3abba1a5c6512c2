//! Keys and values stored otherwise than queries: rows with scales, and floats of another type.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::position::{Rotary, RotaryLayout};
use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, Layout, Lengths, Mask, Offsets, Position, Score, Segments,
    Select, Values, alibi_slopes,
};
use wgpu_attention::reference::selected;
use wgpu_attention::{Element, PlanOptions, Problem};

use crate::device::{Gpu, gpu};
use crate::run::{check, forward_strategies, run, run_and_check, strategies, variants};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::scatter_row;

use Element::{BF16, F16, F32, Int4, Int8};

const HEADS: u32 = 4;

fn grouped(name: &str, (d, dv): (u32, u32), q: Element, queries: u32, keys: u32) -> Case {
    Case::new(
        name,
        &Setting::new(d, dv, q),
        Sizes::two(HEADS, 2, queries, keys),
    )
}

fn of(mut case: Case, [k, v]: [Element; 2]) -> Case {
    case.store(k, v);
    case.name = format!("{}, k {k}, v {v}", case.name);
    case
}

fn run_all(case: &Case, seed: u64) {
    let inputs = Inputs::new(case, Data::Normal(1.0), seed);
    for choice in forward_strategies(gpu()) {
        run_and_check(gpu(), case, &inputs, &choice);
    }
}

/// Every two of q's, k's and v's types, among others the floats with one another.
#[test]
fn every_mixture_of_elements() {
    let all = [F32, F16, BF16, Int8, Int4];
    for n in 0..25 {
        let (k, v) = (n / 5, n % 5);
        let q = Element::ALL[(k + v) % 3];
        // Channels of whole vec8s, of vec4s, and neither.
        let dims = [(32, 40), (12, 36), (33, 6)][(k + 2 * v) % 3];
        let case = of(grouped("mixed", dims, q, 3, 43), [all[k], all[v]]);
        let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
        let choices = forward_strategies(gpu());
        run_and_check(gpu(), &case, &inputs, &choices[n % choices.len()]);
    }
}

/// Rows that end in every place of a word and of a group, side by side and with gaps.
#[test]
fn rows_of_every_length() {
    for (n, d) in [1, 3, 8, 31, 34, 72].into_iter().enumerate() {
        let dv = [7, 65, 32, 2, 8, 33][n];
        for element in Element::QUANTIZED {
            let mut case = grouped(&format!("D {d}, Dv {dv}"), (d, dv), F32, 5, 37);
            match n % 2 {
                0 => case.problem = case.problem.with_kv_elements(element, element),
                _ => case.store(element, element),
            }
            run_all(&case, n as u64);
        }
    }
}

/// One way to mask, to score or to place tokens.
type Way = (&'static str, fn(&mut Problem));

const WAYS: [Way; 10] = [
    ("causal", |p| p.mask = Mask::causal()),
    ("window", |p| p.mask = Mask::window(9, 2).with_first(3)),
    ("lengths", |p| {
        p.mask = Mask::causal();
        p.mask.kv_lens = Lengths::Host(vec![31, 17]);
        p.mask.q_offset = Offsets::Host(vec![20, 12]);
    }),
    ("softcap", |p| p.score = Score::default().with_softcap(2.0)),
    ("alibi", |p| {
        p.score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
    }),
    ("bias", |p| {
        let (queries, keys) = (p.shape.q_len, p.shape.kv_len);
        p.score.bias = Some(Layout::heads_first(HEADS, queries, keys));
    }),
    ("documents", |p| {
        let ids = |n: u32| (0..2 * n).map(|i| (i * 7 % 3) as i32).collect();
        p.mask.segments = Some(Segments::Host {
            q: ids(p.shape.q_len),
            k: ids(p.shape.kv_len),
        });
    }),
    ("blocks", |p| {
        let grid = BlockGrid::of(16, &p.shape);
        let mask = BlockMask::from_fn(grid, |_, _, i, j| (i + j) % 3 != 0);
        p.mask = Mask::default().with_blocks(Blocks::from(mask.expect("a sound mask")));
    }),
    ("rotary", |p| {
        p.position = Position::rotary(Rotary::new(p.shape.head_dim));
    }),
    ("rotated keys", |p| {
        let rotary = Rotary::new(p.shape.head_dim).with_layout(RotaryLayout::Interleaved);
        p.position = Position::rotary(rotary).with_k_rotated(true);
    }),
];

/// What masks and scores do with keys has nothing to do with how these are stored.
#[test]
fn every_mask_score_and_position() {
    for (n, (name, way)) in WAYS.into_iter().enumerate() {
        let elements = [[Int8, Int4], [Int4, Int8], [Int8, Int8], [Int4, Int4]][n % 4];
        let dims = [(40, 24), (36, 20)][n % 2];
        let case = grouped(name, dims, [F32, F16][n / 2 % 2], 35, 43).with(way);
        run_all(&of(case, elements), n as u64);
    }
}

/// Blocks chosen from quantised keys: a pool reads them before.
#[test]
fn blocks_are_chosen_from_them() {
    for element in Element::QUANTIZED {
        let case = of(grouped("chosen", (40, 24), F32, 35, 90), [element; 2]);
        let inputs = Inputs::new(&case, Data::Normal(1.0), 12);
        let case = case.with(|p| {
            p.mask = Mask::default().with_blocks(Blocks::Select(Select::new(16, 2)));
        });
        let made = selected(&case.problem, &inputs.tensors(&case));
        let listed = case.clone().with(|p| *p = made);
        for choice in strategies(gpu()) {
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            check(&listed, &inputs, &output, &plan.to_string());
        }
    }
}

/// A device without any feature reads them.
#[test]
fn the_least_device_reads_them() {
    let least = Gpu::least();
    for element in Element::QUANTIZED {
        for queries in [1, 35] {
            let case = of(grouped("least", (64, 64), F16, queries, 70), [element; 2]);
            let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
            let (plan, output) = run(
                &least,
                &least.attention,
                &case,
                &inputs,
                &PlanOptions::default(),
            );
            check(&case, &inputs, &output, &plan.to_string());
        }
    }
}

/// A cache's unused rows hold anything: what no query sees changes no bit.
#[test]
fn rows_that_nobody_sees_may_hold_anything() {
    for elements in [[Int8, Int4], [Int4, Int8]] {
        for queries in [2, 20] {
            let mut case = grouped("garbage", (40, 24), F32, queries, 50).with(|p| {
                p.mask.kv_lens = Lengths::Device;
            });
            case.kv_lens = Some(vec![33, 50]);
            let case = of(case, elements);
            let clean = Inputs::new(&case, Data::Normal(1.0), 5);
            let garbage = [0, 0x3f80_0000, 0xff80_0000, 0x7c00_fc00]
                .map(|bits| with_bits(&case, &clean, bits));
            for choice in forward_strategies(gpu()) {
                let outputs = garbage
                    .each_ref()
                    .map(|inputs| run(gpu(), &gpu().attention, &case, inputs, &choice));
                let (plan, first) = &outputs[0];
                check(&case, &clean, first, &plan.to_string());
                assert!(outputs.iter().all(|(_, output)| output == first), "{plan}");
            }
        }
    }
}

/// The keys and values from 33 on of the first batch made of these bits; without it they are NaN.
fn with_bits(case: &Case, inputs: &Inputs, bits: u32) -> Inputs {
    let mut inputs = inputs.clone();
    for (slot, operand) in [(1, case.problem.k), (2, case.problem.v)] {
        let dim = [0, case.problem.shape.head_dim, case.problem.shape.value_dim][slot];
        let words = operand.element.row_elements(dim) / operand.element.per_word() as u32;
        for (h, j) in (0..2).flat_map(|h| (33..50).map(move |j| (h, j))) {
            let start = operand.element.bytes(operand.layout.index(0, h, j)) as usize;
            let row = &mut inputs.buffers[slot][start..][..4 * words as usize];
            row.copy_from_slice(bytemuck::cast_slice(&vec![bits; words as usize]));
        }
    }
    inputs
}

/// A row that holds a NaN is NaN where it is seen, and nowhere else.
#[test]
fn a_visible_nan_stays_in_the_rows_that_see_it() {
    for (element, slot) in [(Int8, 1), (Int4, 1), (Int8, 2), (Int4, 2)] {
        let case = of(
            Case::new("nan", &Setting::new(40, 24, F32), Sizes::one(20, 20)),
            [element; 2],
        )
        .with(|p| p.mask = Mask::causal());
        let clean = Inputs::new(&case, Data::Normal(1.0), 6);
        let mut with_nonfinite = clean.clone();
        let (operand, dim) = [(case.problem.k, 40), (case.problem.v, 24)][slot - 1];
        let start = operand.layout.index(0, 0, 11) as usize;
        let row = vec![f64::NAN; dim];
        scatter_row(&mut with_nonfinite.buffers[slot], element, start, &row);
        for choice in forward_strategies(gpu()) {
            let (_, whole) = run(gpu(), &gpu().attention, &case, &clean, &choice);
            let (plan, got) = run(gpu(), &gpu().attention, &case, &with_nonfinite, &choice);
            let (whole, got) = (whole.forward(&case), got.forward(&case));
            for n in 0..20 * 24 {
                match n / 24 < 11 {
                    true => assert_eq!(got.o[n], whole.o[n], "{element}, {n}\n{plan}"),
                    false => assert!(got.o[n].is_nan(), "{element}, {n}: {}\n{plan}", got.o[n]),
                }
            }
        }
    }
}

/// Keys that were rotated before are read as they are stored, without a pass that copies them all.
#[test]
fn rotated_keys_are_not_widened() {
    for element in [F16, Int8, Int4] {
        let case = of(grouped("rotated keys", (32, 32), F16, 1, 64), [element; 2])
            .with(|p| p.position = Position::rotary(Rotary::new(32)).with_k_rotated(true));
        let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
        let plan = run_and_check(gpu(), &case, &inputs, &PlanOptions::default());
        let passes = variants(&plan);
        let passes = passes.iter().filter(|x| matches!(x, Variant::Rotate(_)));
        assert_eq!(passes.count(), 1, "{plan}");
    }
}
