//! Absolute tables written to embeddings or added onto them.

use std::collections::BTreeSet;

use wgpu_attention::Role;
use wgpu_attention::internal::{PackRows, Variant};
use wgpu_attention::problem::position::absolute::{interpolate, sinusoidal, sinusoidal_scaled};
use wgpu_attention::problem::{Layout, Positions};
use wgpu_attention::{Element, Embedding, Operands};

use crate::device::gpu;
use crate::run::{buffer, read, variants};
use crate::support::rotary::vector;
use crate::support::tensor::{POISON, gather, outside, poisoned, round, scatter};

/// Embeds by `table` and holds every element against the definition; answers the variants that took part.
fn check(embedding: &Embedding, table: &[f32], positions: Option<&[i32]>) -> Vec<Variant> {
    let (gpu, e) = (gpu(), embedding);
    let (element, layout, sizes) = (
        e.embeddings.element,
        e.embeddings.layout,
        [e.batch, 1, e.len],
    );
    let before: Vec<f64> = vector(e.batch * e.len * e.dim, 7)
        .iter()
        .map(|&x| round(element, x.into()))
        .collect();
    let mut bytes = poisoned(e.embeddings.bytes(sizes, e.dim));
    scatter(&mut bytes, element, &layout, sizes, &before);
    let rows = buffer(&gpu.device, &bytes);
    let table_buffer = buffer(&gpu.device, bytemuck::cast_slice(table));
    let given = buffer(&gpu.device, bytemuck::cast_slice(positions.unwrap_or(&[0])));
    let plan = gpu.attention.plan_embedding(e).expect("a legal embedding");
    let mut operands = Operands::embedding(&table_buffer, &rows);
    if e.positions == Positions::Device {
        operands = operands.with(Role::QPositions, &given);
    }
    let call = pollster::block_on(gpu.attention.prepare(&plan, &operands))
        .unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [after] = read(gpu, [&rows]);
    let beside = outside(&after, element, &layout, sizes, e.dim);
    assert!(
        beside.iter().all(|&byte| byte == POISON),
        "written beside the rows\n{plan}"
    );
    let got = gather(&after, element, &layout, sizes, e.dim);
    for (n, x) in got.iter().enumerate() {
        let (token, c) = (n as u32 / e.dim, n as u32 % e.dim);
        let p = match (&e.positions, positions) {
            (Positions::Host(p), _) => p[token as usize],
            (_, Some(p)) => p[token as usize].clamp(0, e.rows as i32 - 1),
            _ => e.start + (token % e.len) as i32,
        };
        let entry = f64::from(table[(p as u32 * e.dim + c) as usize]);
        let want = if e.add { before[n] + entry } else { entry };
        assert!(
            (x - round(element, want)).abs() <= unit(element, want),
            "[{n}]: {x} instead of {want}\n{plan}"
        );
    }
    variants(&plan)
}

/// One unit in the last place: the sum is rounded to f32 first.
fn unit(element: Element, x: f64) -> f64 {
    let bits = match element {
        Element::F32 => 23,
        Element::F16 => 10,
        Element::BF16 => 7,
        _ => unreachable!("{element} is no type that stores number by number"),
    };
    x.abs().max(1e-3) * 0.5f64.powi(bits)
}

#[test]
fn sinusoidal_tables_of_every_element() {
    for element in Element::ALL {
        for add in [true, false] {
            for dim in [2, 6, 64] {
                let table = sinusoidal(50, dim).expect("a table");
                let embedding = Embedding::new([2, 13, dim], 50, element)
                    .with_add(add)
                    .with_start(9);
                check(&embedding, &table, None);
            }
        }
    }
}

#[test]
fn stretched_tables() {
    let scaled = sinusoidal_scaled(40, 10, 16).expect("a table");
    check(
        &Embedding::new([1, 40, 10], 40, Element::F32),
        &scaled,
        None,
    );
    let learned = vector(16 * 5, 1);
    let longer = interpolate(&learned, 5, 40).expect("a table");
    for element in Element::ALL {
        check(&Embedding::new([3, 40, 5], 40, element), &longer, None);
    }
}

/// Rows with gaps between them; nothing but the rows is written.
#[test]
fn strided_rows() {
    let table = sinusoidal(20, 6).expect("a table");
    for element in Element::ALL {
        let mut embedding = Embedding::new([2, 11, 6], 20, element);
        embedding.embeddings.layout = Layout {
            offset: 3,
            batch: 11 * 9 + 4,
            head: 0,
            row: 9,
        };
        check(&embedding, &table, None);
    }
}

#[test]
fn positions_of_host_and_device() {
    let table = sinusoidal(20, 6).expect("a table");
    let host: Vec<i32> = (0..22).map(|n| 7 * n % 20).collect();
    let far: Vec<i32> = (0..22).map(|n| 100_000_000 * (n - 11)).collect();
    for add in [true, false] {
        let embedding = Embedding::new([2, 11, 6], 20, Element::F16).with_add(add);
        let on_host = embedding
            .clone()
            .with_positions(Positions::Host(host.clone()));
        check(&on_host, &table, None);
        let on_device = embedding.with_positions(Positions::Device);
        check(&on_device, &table, Some(&host));
        check(&on_device, &table, Some(&far));
    }
}

#[test]
fn every_table_variant() {
    let (mut seen, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    let table = sinusoidal(30, 8).expect("a table");
    for variant in crate::support::covering::forward() {
        let Variant::Pack(key) = variant else {
            continue;
        };
        let PackRows::Table { add, positions } = key.rows else {
            continue;
        };
        let mut embedding = Embedding::new([2, 9, 8], 30, key.output);
        embedding.add = add;
        if positions {
            embedding.positions = Positions::Host((0..18).map(|n| 29 - n).collect());
        }
        seen.extend(check(&embedding, &table, None));
        wanted.insert(variant);
    }
    assert!(
        !wanted.is_empty() && wanted.is_subset(&seen),
        "{:?} did not run",
        wanted.difference(&seen)
    );
}
