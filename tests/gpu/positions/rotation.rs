//! Rotation as an operation of its own.

use std::collections::BTreeSet;

use wgpu_attention::Role;
use wgpu_attention::caps::AdapterClass;
use wgpu_attention::internal::{Address, Rotate, Variant};
use wgpu_attention::problem::position::{Rotary, RotaryLayout, Side, XPos};
use wgpu_attention::problem::{Layout, Positions};
use wgpu_attention::{Element, Error, Operands, Rotation};

use super::LAYOUTS;
use crate::device::gpu;
use crate::run::{buffer, read, variants};
use crate::support::rotary::{self, kinds, relative_error, vector};
use crate::support::tensor::{POISON, gather, outside, poisoned, scatter};

/// What a rotation reads and writes.
struct Rows {
    rotation: Rotation,
    /// Logical `[B, H, N, D]`, as stored.
    values: Vec<f64>,
    /// `[B, N]` for positions on the device.
    positions: Option<Vec<i32>>,
}

impl Rows {
    fn new(rotation: Rotation) -> Self {
        let count = rotation.batch * rotation.heads * rotation.len * rotation.rotary.head_dim;
        let element = rotation.rows.element;
        let stored = |x: &f32| crate::support::tensor::round(element, f64::from(*x));
        Self {
            values: vector(count, 3).iter().map(stored).collect(),
            rotation,
            positions: None,
        }
    }

    fn sizes(&self) -> [u32; 3] {
        let r = &self.rotation;
        [r.batch, r.heads, r.len]
    }

    fn input(&self) -> Vec<u8> {
        let (rows, dim) = (self.rotation.rows, self.rotation.rotary.head_dim);
        let mut bytes = poisoned(rows.bytes(self.sizes(), dim));
        scatter(
            &mut bytes,
            rows.element,
            &rows.layout,
            self.sizes(),
            &self.values,
        );
        bytes
    }

    /// The rotated rows, and the variants that took part. `in_place` writes to the buffer that is read.
    fn rotate(&self, in_place: bool) -> (Vec<f64>, Vec<Variant>) {
        let (gpu, rotated) = (gpu(), self.rotation.rotated);
        let plan = gpu
            .attention
            .plan_rotation(&self.rotation)
            .expect("a legal rotation");
        let from = buffer(&gpu.device, &self.input());
        let dim = self.rotation.rotary.head_dim;
        let other = buffer(&gpu.device, &poisoned(rotated.bytes(self.sizes(), dim)));
        let to = if in_place { &from } else { &other };
        let given = self.positions.as_deref().unwrap_or(&[0]);
        let given = buffer(&gpu.device, bytemuck::cast_slice(given));
        let mut operands = Operands::rotation(&from, to);
        if self.rotation.positions == Positions::Device {
            operands = operands.with(Role::QPositions, &given);
        }
        let call = pollster::block_on(gpu.attention.prepare(&plan, &operands))
            .unwrap_or_else(|e| panic!("{e}\n{plan}"));
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        call.encode(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        let [bytes] = read(gpu, [to]);
        let beside = outside(&bytes, rotated.element, &rotated.layout, self.sizes(), dim);
        assert!(
            in_place || beside.iter().all(|&byte| byte == POISON),
            "{plan}"
        );
        let rows = gather(&bytes, rotated.element, &rotated.layout, self.sizes(), dim);
        (rows, variants(call.plan()))
    }

    /// Row by row by the definition.
    fn expected(&self, position: impl Fn(u32, u32) -> i32) -> Vec<f64> {
        let r = &self.rotation;
        let dim = r.rotary.head_dim as usize;
        let length = r.length.expect("a stated length");
        let row = |(x, n): (&[f64], u32)| {
            let (b, i) = (n / r.len / r.heads, n % r.len);
            let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            rotary::rotate(&r.rotary, &x, position(b, i), r.side, length)
        };
        self.values
            .chunks_exact(dim)
            .zip(0..)
            .flat_map(row)
            .collect()
    }
}

fn rotation(rotary: Rotary, sizes: [u32; 3], element: Element) -> Rotation {
    Rotation::new(rotary, sizes, element).with_length(8192)
}

fn off(actual: &[f64], expected: &[f64]) -> f64 {
    let actual: Vec<f32> = actual.iter().map(|&x| x as f32).collect();
    relative_error(&actual, expected)
}

/// 2·10⁻⁷ relative for every kind, however far out.
#[test]
fn large_positions() {
    for (name, kind) in kinds(64) {
        for layout in LAYOUTS {
            for p in [0, 4_095, 131_071, 1_000_003, -1_000_003] {
                let near = Some(XPos::new(p - 100));
                for (xpos, side) in [(None, Side::Query), (near, Side::Query), (near, Side::Key)] {
                    let rotary = Rotary::new(64)
                        .with_kind(kind.clone())
                        .with_layout(layout)
                        .with_xpos(xpos);
                    let rows = Rows::new(
                        rotation(rotary, [1, 1, 2], Element::F32)
                            .with_start(p)
                            .with_side(side),
                    );
                    let expected = rows.expected(|_, i| p + i as i32);
                    let error = off(&rows.rotate(false).0, &expected);
                    assert!(
                        error <= 2e-7,
                        "{name} {layout:?} {xpos:?} {side:?} at {p}: {error:e}"
                    );
                }
            }
        }
    }
}

/// In place, elsewhere, and back again: the transpose gives the factor squared.
#[test]
fn there_and_back() {
    for (name, kind) in kinds(16) {
        for layout in LAYOUTS {
            let rotary = Rotary::new(16).with_kind(kind.clone()).with_layout(layout);
            let positions = Positions::Host((0..14).map(|n| 5 * n - 30).collect());
            let mut rows = Rows::new(
                rotation(rotary.clone(), [2, 3, 7], Element::F32).with_positions(positions),
            );
            let values = rows.values.clone();
            let (elsewhere, _) = rows.rotate(false);
            let (in_place, _) = rows.rotate(true);
            assert!(elsewhere == in_place, "{name} {layout:?}");
            rows.values = elsewhere;
            rows.rotation.transposed = true;
            let factor = rotary.attention_factor().powi(2);
            let expected: Vec<f64> = values.iter().map(|x| factor * x).collect();
            let error = off(&rows.rotate(true).0, &expected);
            assert!(error < 4e-7, "{name} {layout:?}: {error:e}");
        }
    }
}

/// Rotary channels at the end of a row and in its middle, in whole chunks (of four, of eight) and not, in place too.
#[test]
fn channels_from_any_on() {
    for [head_dim, start, dim] in [
        [24, 8, 16],
        [48, 32, 16],
        [48, 16, 16],
        [28, 20, 8],
        [20, 4, 8],
        [18, 12, 6],
        [13, 5, 8],
        [192, 128, 64],
    ] {
        for layout in LAYOUTS {
            let rotary = Rotary::new(head_dim)
                .with_start(start)
                .with_dim(dim)
                .with_layout(layout);
            for element in [Element::F32, Element::F16] {
                let mut rotation = rotation(rotary.clone(), [2, 3, 5], element);
                rotation.rotated.element = Element::F32;
                let rows = Rows::new(rotation);
                let expected = rows.expected(|_, i| i as i32);
                let what = format!("{dim} of {head_dim} from {start} on, {layout:?}, {element}");
                assert_stored(&rows.rotate(false).0, &expected, Element::F32, &what);
                if element == Element::F32 {
                    assert_stored(&rows.rotate(true).0, &expected, Element::F32, &what);
                }
            }
        }
    }
}

/// Sixteen-bit rows, in words of their own or shared, to f32 and to their own type, in place and not.
#[test]
fn every_element_and_layout() {
    for (element, output) in [
        (Element::F16, Element::F16),
        (Element::F16, Element::F32),
        (Element::BF16, Element::BF16),
        (Element::BF16, Element::F32),
        (Element::F32, Element::F16),
    ] {
        let dims = [(16, 16, 3), (17, 6, 3), (18, 18, 3), (12, 8, 3)];
        // Whole eights of channels, as loads of 64 bits take them.
        let eights = [(16, 16, 8), (40, 16, 16)];
        for (dim, rotating, padding) in dims.into_iter().chain(eights) {
            let rotary = Rotary::new(dim).with_dim(rotating);
            let mut rotation = rotation(rotary, [2, 2, 9], element);
            rotation.start = -4;
            rotation.rotated.element = output;
            let offset = if padding == 3 { 5 } else { 8 };
            rotation.rotated.layout = Layout::rows_first(2, 9, dim + padding).at(offset);
            let rows = Rows::new(rotation.clone());
            let expected = rows.expected(|_, i| i as i32 - 4);
            let what = format!("{element} -> {output}, {rotating} of {dim}");
            assert_stored(&rows.rotate(false).0, &expected, output, &what);
            if element == output {
                rotation.rotated = rotation.rows;
                let rows = Rows::new(rotation);
                assert_stored(
                    &rows.rotate(true).0,
                    &expected,
                    output,
                    &format!("{what} in place"),
                );
            }
        }
    }
}

#[track_caller]
fn assert_stored(got: &[f64], want: &[f64], element: Element, what: &str) {
    let unit = match element {
        Element::F32 => 1e-6,
        Element::F16 => 0.6 * 2f64.powi(-10),
        Element::BF16 => 0.6 * 2f64.powi(-7),
        _ => unreachable!("{element} is no type that stores number by number"),
    };
    for (n, (x, y)) in got.iter().zip(want).enumerate() {
        assert!(
            (x - y).abs() <= unit * y.abs() + 2e-7,
            "{what} [{n}]: {x} instead of {y}"
        );
    }
}

/// Clamped to the stated range; without one the plan is refused.
#[test]
fn positions_on_the_device() {
    let mut rotation =
        rotation(Rotary::new(16), [2, 1, 5], Element::F32).with_positions(Positions::Device);
    assert_eq!(
        gpu().attention.plan_rotation(&rotation),
        Err(Error::Unstated)
    );
    rotation.range = Some(-5..=6);
    let mut rows = Rows::new(rotation);
    let positions = vec![-5, 6, 0, 7, 3, i32::MIN + 5, i32::MAX, 1, -6, 2];
    let expected = rows.expected(|b, i| positions[(5 * b + i) as usize].clamp(-5, 6));
    rows.positions = Some(positions);
    let error = off(&rows.rotate(false).0, &expected);
    assert!(error <= 2e-7, "{error:e}");
}

#[test]
fn rows_that_stand_too_far_out() {
    let rotation = rotation(Rotary::new(16), [1, 1, 5], Element::F32).with_start(i32::MAX - 3);
    let error = gpu().attention.plan_rotation(&rotation).unwrap_err();
    assert!(error.to_string().contains("5 rows"), "{error}");
}

#[test]
fn every_rotate_variant() {
    let keys = crate::support::covering::forward()
        .into_iter()
        .filter_map(|variant| match variant {
            Variant::Rotate(key) => Some(key),
            _ => None,
        })
        // Sequences are a ragged batch's, pages, rings and quantised rows a cache's, which have tests of their own.
        .filter(|key| !key.sequences && key.from == Address::Strided)
        .filter(|key| Element::ALL.contains(&key.input.element))
        .filter(|key| !key.vec8 || moves_64_bits());
    let (mut seen, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for key in keys {
        let rows = Rows::new(of_variant(&key));
        let expected = rows.expected(|b, i| match &rows.rotation.positions {
            Positions::Host(p) => p[(rows.rotation.len * b + i) as usize],
            _ => i as i32,
        });
        let (got, used) = rows.rotate(false);
        assert_stored(
            &got,
            &expected,
            key.output.element,
            &Variant::Rotate(key).to_string(),
        );
        seen.extend(used);
        wanted.insert(Variant::Rotate(key));
    }
    assert!(
        wanted.is_subset(&seen),
        "{:?} did not run",
        wanted.difference(&seen)
    );
}

/// Where the planner chooses it; elsewhere the keys that load vec4s are all there are.
fn moves_64_bits() -> bool {
    let caps = gpu().attention.caps();
    caps.int64 && caps.class == AdapterClass::Cpu && caps.lanes >= 8
}

/// A rotation that is planned with this key.
fn of_variant(key: &Rotate) -> Rotation {
    // Rows of 28 channels have not a multiple of vec8.
    let (head_dim, dim) = match (key.whole_chunks, key.vec8, key.layout) {
        (true, false, RotaryLayout::Half) => (28, 24),
        (true, false, RotaryLayout::Interleaved) => (28, 20),
        (true, true, RotaryLayout::Half) => (40, 32),
        (true, true, RotaryLayout::Interleaved) => (40, 24),
        (false, ..) => (27, 14),
    };
    let rotary = Rotary::new(head_dim).with_dim(dim).with_layout(key.layout);
    let mut rotation = rotation(rotary, [2, 6, 11], key.input.element);
    rotation.rotated.element = key.output.element;
    if key.positions {
        rotation.positions = Positions::Host((0..22).map(|n| 40 - 3 * n).collect());
    }
    rotation
}
