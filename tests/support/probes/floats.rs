//! f32: what is exact, what is told by bits, what a mask makes harmless.

use super::{Probe, Want, by, floats_by};

const LOWEST: f32 = -3e38;
const MASKED: f32 = -3.4e38;
const NAN: u32 = 0x7fc0_0000;
const INFINITY: u32 = 0x7f80_0000;

/// Bits of numbers and of what is none.
const KINDS: [u32; 10] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0x7f7f_ffff,
    INFINITY,
    0xff80_0000,
    NAN,
    0xffc0_1234,
    0x7f80_0001,
    0xff7f_ffff,
];

fn is_finite(bits: u32) -> bool {
    bits & INFINITY != INFINITY
}

pub fn probes() -> Vec<Probe> {
    let mut probes = bits();
    probes.extend(masks());
    probes.extend(arithmetic());
    probes.extend(halves());
    probes
}

fn bits() -> Vec<Probe> {
    vec![
        Probe::map(
            "constants have their nearest f32",
            "const A = -3e38; const B = -3.4e38; const C = -2e38; const D = 1.4426950408889634; const E = 0.6931471805599453;
            const F = 2.0 * D;
            fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(array<f32, 6>(A, B, C, D, E, F)[x]); }",
            (0..).zip([LOWEST, MASKED, -2e38, std::f32::consts::LOG2_E, std::f32::consts::LN_2, 2.0 * std::f32::consts::LOG2_E])
                .map(|(n, x)| (n, Want::Bits(x.to_bits()))),
        ),
        Probe::map(
            "NaN and infinities are told by their exponent",
            "fn not_finite(x: vec4<f32>) -> bool {
                return any((bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u));
            }
            fn probe(x: u32, n: u32) -> u32 { return u32(not_finite(vec4<f32>(1.0, 2.0, bitcast<f32>(x), 3.0))); }",
            by(KINDS, |x| u32::from(!is_finite(x))),
        ),
        Probe::map(
            "a NaN and an infinity made through a variable are stored",
            "fn probe(x: u32, n: u32) -> u32 {
                var word = x;
                let o = select(vec4<f32>(1.0), vec4<f32>(bitcast<f32>(word)), x != 0u);
                return bitcast<vec4<u32>>(o).z;
            }",
            [(NAN, Want::Nan), (0, Want::Bits(0x3f80_0000)), (0xff80_0000, Want::Bits(0xff80_0000)), (INFINITY, Want::Bits(INFINITY))],
        ),
        Probe::map(
            "lse of a fully masked row is chosen as bits",
            "fn probe(x: u32, n: u32) -> u32 {
                let row_max = bitcast<f32>(x);
                return select(bitcast<u32>(row_max + log2(f32(n))), 0xff800000u, row_max == -3e38);
            }",
            [(LOWEST.to_bits(), Want::Bits(0xff80_0000))],
        ),
    ]
}

fn masks() -> Vec<Probe> {
    vec![
        Probe::map(
            "select drops what it does not take, NaN and infinities too",
            "fn probe(x: u32, n: u32) -> u32 {
                let kept = select(bitcast<f32>(x), -3.4e38, n < 100u);
                let other = select(vec4<f32>(0.5), vec4<f32>(bitcast<f32>(x)), vec4<bool>(n >= 100u));
                return bitcast<u32>(kept) ^ bitcast<u32>(other.y);
            }",
            by(KINDS, |_| MASKED.to_bits() ^ 0.5f32.to_bits()),
        ),
        Probe::map(
            "0 / 0 in the arm that is not taken",
            "fn probe(x: u32, n: u32) -> u32 {
                let sum = bitcast<f32>(x);
                return bitcast<u32>(select(sum / sum, 0.0, sum == 0.0));
            }",
            [(0, Want::Bits(0)), (2.0f32.to_bits(), Want::Near(1.0, 3))],
        ),
        Probe::map(
            "a maximum rises from its start",
            "fn probe(x: u32, n: u32) -> u32 {
                var row_max = -3e38;
                for (var c = 0u; c < 3u; c++) { row_max = max(row_max, bitcast<f32>(x) - f32(c)); }
                return bitcast<u32>(row_max);
            }",
            floats_by([0.0, -5.0, 7.5, 1e30, -1e38, MASKED, f32::NEG_INFINITY], |x| x.max(LOWEST)),
        ),
        Probe::map(
            "the weight of a masked score is 0",
            "fn weight(x: f32) -> f32 { return select(exp2(x), 0.0, x < -100.0); }
            fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(weight(-3.4e38 - bitcast<f32>(x))); }",
            floats_by([0.0, -5.0, 7.5, 1e30, 3e38, LOWEST], |_| 0.0),
        ),
        Probe::map(
            "comparisons with infinities",
            "fn probe(x: u32, n: u32) -> u32 {
                let y = bitcast<f32>(x);
                return u32(y < -2e38) + 2u * u32(y < -3e38) + 4u * u32(y == -3e38) + 8u * u32(y > 3e38);
            }",
            by(KINDS.into_iter().filter(|x| !f32::from_bits(*x).is_nan()).chain([LOWEST.to_bits(), MASKED.to_bits()]), |x| {
                let y = f32::from_bits(x);
                u32::from(y < -2e38) + 2 * u32::from(y < -3e38) + 4 * u32::from(y == -3e38) + 8 * u32::from(y > 3e38)
            }),
        ),
    ]
}

fn arithmetic() -> Vec<Probe> {
    vec![
        Probe::map(
            "sums and products of small whole numbers are exact",
            "fn probe(x: u32, n: u32) -> u32 {
                let y = f32(x);
                return bitcast<u32>(dot(vec4<f32>(y, 2.0, -y, 1.0), vec4<f32>(y, y, 1.0, -3.0)));
            }",
            by([0, 1, 7, 100, 1000], |x| {
                let y = x as f32;
                (y * y + 2.0 * y - y - 3.0).to_bits()
            }),
        ),
        Probe::map(
            "f32 of whole numbers rounds to nearest, ties to even",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(f32(x)); }",
            by(
                [
                    0,
                    1,
                    16_777_216,
                    16_777_217,
                    16_777_219,
                    0x7fff_ffff,
                    0xffff_ffff,
                ],
                |x| (x as f32).to_bits(),
            ),
        ),
        Probe::map(
            "whole numbers of f32 truncate",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(i32(bitcast<f32>(x))); }",
            by(
                [0.0f32, 0.99, 1.5, -0.99, -1.5, 1e6, -1e6].map(f32::to_bits),
                |x| f32::from_bits(x) as i32 as u32,
            ),
        ),
        Probe::map(
            "exp2 of whole numbers and of what underflows",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(exp2(bitcast<f32>(x))); }",
            [
                (0.0f32, 1.0f32),
                (1.0, 2.0),
                (-1.0, 0.5),
                (-20.0, 9.536_743e-7),
                (-126.0, f32::MIN_POSITIVE),
                (-200.0, 0.0),
                (-3e38, 0.0),
                (127.0, 1.701_411_8e38),
            ]
            .map(|(x, y)| {
                (
                    x.to_bits(),
                    Want::Near(y, if x == -126.0 { 1 << 23 } else { 6 }),
                )
            }),
        ),
        Probe::map(
            "exp2 undoes log2",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(exp2(log2(bitcast<f32>(x)))); }",
            [1.0f32, 2.0, 3.0, 0.1, 77.7, 1.000_001].map(|x| (x.to_bits(), Want::Near(x, 24))),
        ),
        Probe::map(
            "a product is not torn apart: x·0 + y",
            "fn probe(x: u32, n: u32) -> u32 { let y = bitcast<f32>(x); return bitcast<u32>(y * 0.0 + 1.0); }",
            floats_by([0.0, 1.0, -3.0, 3e38], |_| 1.0),
        ),
        // Not (x + 0.75) − 0.75, which rounds to a grid by the rules of f32: lavapipe and SwiftShader leave out both.
        Probe::map(
            "round takes ties to even",
            "fn probe(x: u32, n: u32) -> u32 { return u32(round(bitcast<f32>(x) * 16777216.0)); }",
            [
                (0.0f32, 0),
                (2.980_232_2e-8, 0),
                (2.981e-8, 1),
                (8.940_697e-8, 2),
                (1.490_116_1e-7, 2),
                (6.1e-5, 1023),
            ]
            .map(|(x, y)| (x.to_bits(), Want::Bits(y))),
        ),
    ]
}

/// `pack2x16float` is not relied on: SwiftShader makes a NaN of an infinity, others truncate.
fn halves() -> Vec<Probe> {
    let halves = [
        0x0000, 0x8000, 0x3c00, 0xbc00, 0x7bff, 0x0400, 0x3555, 0x4248, 0x7c00, 0xfc00,
    ];
    vec![
        Probe::map(
            "unpack2x16float is exact",
            "fn probe(x: u32, n: u32) -> u32 { let y = unpack2x16float(x); return bitcast<u32>(y.x) ^ (bitcast<u32>(y.y) >> 1u); }",
            by(halves.map(|x: u32| x | (x ^ 0x8000) << 16), |x| {
                let half = |x: u32| half::f16::from_bits(x as u16).to_f32().to_bits();
                half(x & 0xffff) ^ (half(x >> 16) >> 1)
            }),
        ),
        Probe::map(
            "unpack2x16float of the least f16",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(unpack2x16float(x).x); }",
            by([0x0001, 0x03ff, 0x8001], |x| {
                half::f16::from_bits(x as u16).to_f32().to_bits()
            }),
        ),
        Probe::map(
            "bf16 is the upper half of an f32",
            "fn probe(x: u32, n: u32) -> u32 {
                let y = vec2<f32>(bitcast<f32>(x << 16u), bitcast<f32>(x & 0xffff0000u));
                return bitcast<u32>(y.x + y.y);
            }",
            by([0x3f80_4000, 0xbf80_4049, 0x0000_7f7f], |x| {
                (f32::from_bits(x << 16) + f32::from_bits(x & 0xffff_0000)).to_bits()
            }),
        ),
    ]
}
