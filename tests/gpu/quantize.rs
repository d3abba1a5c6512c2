//! Rows stored with their scales on the GPU, against the host's.

use wgpu_attention::problem::{Layout, Operand};
use wgpu_attention::quantize::{dequantize, hadamard, quantize};
use wgpu_attention::{Element, Error, Operands, Quantization};

use crate::device::gpu;
use crate::run::{buffer, read};
use crate::support::tensor::{POISON, decode, encode, normal, poisoned, row_starts, scatter};

use Element::{BF16, F16, F32, Int4, Int8};

/// Rows `[2, 3, 5, dim]` of a type, the words that the GPU makes of them, and the values as they were stored.
struct Run {
    words: Vec<Vec<u32>>,
    rows: Vec<Vec<f32>>,
}

fn run(q: &Quantization, values: &[f64]) -> Run {
    let (gpu, sizes, dim) = (gpu(), [q.batch, q.heads, q.len], q.dim);
    let mut bytes = poisoned(q.rows.bytes(sizes, dim));
    scatter(&mut bytes, q.rows.element, &q.rows.layout, sizes, values);
    let from = buffer(&gpu.device, &bytes);
    let to = buffer(&gpu.device, &poisoned(q.stored.bytes(sizes, dim)));
    let plan = gpu.attention.plan_quantization(q).expect("legal rows");
    let call = pollster::block_on(
        gpu.attention
            .prepare(&plan, &Operands::quantization(&from, &to)),
    )
    .unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [after] = read(gpu, [&to]);
    let (element, layout) = (q.stored.element, &q.stored.layout);
    let per_row = element.row_elements(dim);
    let mut beside = after.clone();
    let words = row_starts(layout, sizes).map(|start| {
        let start = element.bytes(start as u64) as usize;
        let row = start..start + element.bytes(per_row.into()) as usize;
        beside[row.clone()].fill(POISON);
        let words = after[row].chunks_exact(4).map(bytemuck::pod_read_unaligned);
        words.collect()
    });
    let words = words.collect();
    assert!(
        beside.iter().all(|&x| x == POISON),
        "written beside rows\n{plan}"
    );
    let stored = decode(q.rows.element, &encode(q.rows.element, values));
    let rows = stored
        .chunks(dim as usize)
        .map(|row| row.iter().map(|&x| x as f32).collect());
    let rows = rows.collect();
    Run { words, rows }
}

/// Scales bit by bit, numbers by at most one: the device may divide less exactly.
fn agree(run: &Run, element: Element, dim: u32) {
    for (got, row) in run.words.iter().zip(&run.rows) {
        let want = quantize(element, row, dim).expect("a row");
        let step = want.len()
            / match element {
                Int4 => want.len() / 5,
                _ => 1,
            };
        for (n, (x, y)) in got.iter().zip(&want).enumerate() {
            match n % step {
                0 => assert_eq!(x, y, "{element}, {dim}, scale {n} of {row:?}"),
                _ => assert!(
                    near(element, *x, *y),
                    "{element}, {dim}: {x:x}, {y:x} of {row:?}"
                ),
            }
        }
    }
}

fn near(element: Element, x: u32, y: u32) -> bool {
    let bits = element.bits() as u32;
    let number = |word: u32, n: u32| (word << (32 - bits * (n + 1))) as i32 >> (32 - bits);
    (0..32 / bits).all(|n| number(x, n).abs_diff(number(y, n)) <= 1)
}

fn quantization(dim: u32, from: Element, to: Element) -> Quantization {
    Quantization::new([2, 3, 5], dim, from, to)
}

#[test]
fn rows_of_every_length_and_type() {
    for (n, dim) in [1, 3, 4, 30, 32, 33, 64, 100, 256].into_iter().enumerate() {
        for to in Element::QUANTIZED {
            let from = [F32, F16, BF16][n % 3];
            let mut q = quantization(dim, from, to);
            if n % 2 == 1 {
                // Tokens first, with a gap of eight elements after each row.
                let row = to.row_elements(dim) + 8;
                q.stored.layout = Layout::rows_first(3, 5, row).at(16);
                q.rows.layout = Layout::rows_first(3, 5, dim).at(3);
            }
            let values = normal(n as u64, 30 * dim as usize);
            agree(&run(&q, &values), to, dim);
        }
    }
}

/// Zeros, next to nothing, the largest, and what is no finite number.
#[test]
fn rows_at_the_ends() {
    let dim = 40;
    let kinds: [fn(usize) -> f64; 8] = [
        |_| 0.0,
        |n| 1e-37 * (n as f64 - 20.0),
        |n| 1e-7 * n as f64,
        |n| 65504.0 - 1e3 * n as f64,
        |n| 1e37 * (n as f64 - 9.0),
        |n| if n == 35 { f64::NAN } else { 1.0 },
        |n| if n == 3 { f64::INFINITY } else { n as f64 },
        |_| -7.25,
    ];
    let values: Vec<f64> = (0..30)
        .flat_map(|row| (0..dim).map(move |n| kinds[row % 8](n)))
        .collect();
    for to in Element::QUANTIZED {
        let got = run(&quantization(dim as u32, F32, to), &values);
        for (row, (words, numbers)) in got.words.iter().zip(&got.rows).enumerate() {
            let stored = dequantize(to, words, dim as u32).expect("a row");
            let host = quantize(to, numbers, dim as u32).expect("a row");
            let host = dequantize(to, &host, dim as u32).expect("a row");
            for (n, (x, y)) in stored.iter().zip(&host).enumerate() {
                let same = (x - y).abs() <= 1e-6 * y.abs() + 1e-12 || x.is_nan() && y.is_nan();
                assert!(same, "{to}, kind {}, {n}: {x} and {y}", row % 8);
            }
        }
    }
}

/// How far a stored number may be from one of a row of int8, or of a group of int4, as `quantize` states it; sums of the
/// rotation are rounded, too.
fn half_step(to: Element, row: &[f32]) -> f32 {
    let fold = |f: fn(f32, f32) -> f32| row.iter().copied().reduce(f).expect("numbers");
    let (low, high) = (fold(f32::min), fold(f32::max));
    let step = match to {
        Int4 => (high - low) / 30.0 + (low.abs() + high - low) / 2048.0,
        _ => high.max(-low) / 254.0,
    };
    step + 2e-6 * high.max(-low)
}

/// Rotated before, as the host rotates.
#[test]
fn rows_after_hadamard() {
    for (dim, to) in [(64, Int4), (96, Int8), (6, Int8)] {
        let q = quantization(dim, F16, to).with_hadamard(true);
        let mut got = run(&q, &normal(5, 30 * dim as usize));
        got.rows
            .iter_mut()
            .for_each(|row| hadamard(row, dim).expect("an even row"));
        for (words, row) in got.words.iter().zip(&got.rows) {
            let stored = dequantize(to, words, dim).expect("a row");
            let group = if to == Int4 { 32 } else { dim as usize };
            for (stored, row) in stored.chunks(group).zip(row.chunks(group)) {
                let most = half_step(to, row);
                for (x, y) in stored.iter().zip(row) {
                    assert!((x - y).abs() <= most, "{to}: {x} and {y}");
                }
            }
        }
    }
}

#[test]
fn bad_input_is_an_error() {
    let plan = |q: Quantization| gpu().attention.plan_quantization(&q);
    let float = plan(quantization(8, F32, F16));
    assert!(
        matches!(float, Err(Error::NotQuantized { .. })),
        "{float:?}"
    );
    let twice = plan(quantization(8, Int8, Int8));
    assert!(matches!(twice, Err(Error::Quantized { what: "rows", .. })));
    let odd = plan(quantization(9, F32, Int8).with_hadamard(true));
    assert!(matches!(odd, Err(Error::OddHadamard { dim: 9, .. })));
    let over = Operand::new(
        Int8,
        Layout {
            row: 8,
            ..quantization(8, F32, Int8).stored.layout
        },
    );
    let over = plan(quantization(8, F32, Int8).with_stored(over));
    assert!(matches!(over, Err(Error::Overlap { .. })), "{over:?}");
    let one = buffer(&gpu().device, &[0; 4096]);
    let plan = plan(quantization(8, F32, Int8)).expect("legal rows");
    let shared = pollster::block_on(
        gpu()
            .attention
            .prepare(&plan, &Operands::quantization(&one, &one)),
    );
    assert!(matches!(
        shared,
        Err(Error::SharedBuffer { .. } | Error::SharedBytes { .. })
    ));
}
