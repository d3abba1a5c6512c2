//! Whole numbers: addresses wrap, masks shift, offsets clamp.

use super::{Probe, by};

const EDGES: [u32; 10] = [
    0,
    1,
    31,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    0x0001_0001,
    0xdead_beef,
];
/// As `shaders/mask/interval.wgsl` clamps offsets.
const MAX_OFFSET: i32 = 1 << 30;

pub fn probes() -> Vec<Probe> {
    vec![
        Probe::map(
            "row addresses wrap at 2^32",
            "fn probe(x: u32, n: u32) -> u32 { return x * 0x10001u + (x - 7u) * x; }",
            by(EDGES, |x| {
                let y = x.wrapping_sub(7).wrapping_mul(x);
                x.wrapping_mul(0x10001).wrapping_add(y)
            }),
        ),
        Probe::map(
            "differences below 0 come back",
            "fn probe(x: u32, n: u32) -> u32 { let shift = n - x; return x + shift; }",
            by(EDGES, |x| {
                EDGES.iter().position(|y| *y == x).unwrap_or(0) as u32
            }),
        ),
        Probe::map(
            "a bit for each of 32 keys",
            "fn probe(x: u32, n: u32) -> u32 { return 1u << x; }",
            by(0..32, |x| 1 << x),
        ),
        Probe::map(
            "words of bits shift down by 0 to 31",
            "fn probe(x: u32, n: u32) -> u32 { return (0xdeadbeefu >> (x % 32u)) | (~(1u << (x % 32u)) & 0xff000000u); }",
            by(0..64, |x| {
                (0xdead_beef >> (x % 32)) | (!(1u32 << (x % 32)) & 0xff00_0000)
            }),
        ),
        Probe::map(
            "signed shifts keep their sign",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(bitcast<i32>(x) >> 3u); }",
            by(EDGES, |x| (x as i32 >> 3) as u32),
        ),
        Probe::map(
            "offsets clamp as i32",
            "const MAX_OFFSET = 1073741824;
            fn probe(x: u32, n: u32) -> u32 {
                let d = clamp(bitcast<i32>(x), -MAX_OFFSET, MAX_OFFSET) + i32(n);
                return u32(max(d + 1, 0));
            }",
            by(EDGES, |x| {
                let n = EDGES.iter().position(|y| *y == x).unwrap_or(0) as i32;
                (x as i32).clamp(-MAX_OFFSET, MAX_OFFSET).wrapping_add(n + 1).max(0) as u32
            }),
        ),
        Probe::map(
            "min, max and clamp tell signed from unsigned",
            "fn probe(x: u32, n: u32) -> u32 {
                let i = min(bitcast<i32>(x), 5) - max(bitcast<i32>(x), -5);
                return bitcast<u32>(i) ^ min(x, 5u) ^ max(x, 0xfffffff0u) ^ clamp(x, 3u, 9u);
            }",
            by(EDGES, |x| {
                let i = (x as i32).min(5).wrapping_sub((x as i32).max(-5)) as u32;
                i ^ x.min(5) ^ x.max(0xffff_fff0) ^ x.clamp(3, 9)
            }),
        ),
        Probe::map(
            "distances are absolute",
            "fn probe(x: u32, n: u32) -> u32 { return bitcast<u32>(abs(bitcast<i32>(x))); }",
            by(EDGES, |x| (x as i32).wrapping_abs() as u32),
        ),
        Probe::map(
            "quotients and remainders",
            "fn probe(x: u32, n: u32) -> u32 { let by = n % 5u + 1u; return (x / by) * 3u + x % by; }",
            (0..).zip(EDGES).map(|(n, x)| {
                let by = n % 5 + 1;
                (x, super::Want::Bits((x / by).wrapping_mul(3).wrapping_add(x % by)))
            }),
        ),
        Probe::map(
            "vectors compare by component",
            "fn probe(x: u32, n: u32) -> u32 {
                let counts = select(vec3<u32>(), vec3<u32>(1u, 2u, 4u), vec3<u32>(x) >= vec3<u32>(1u, 31u, 0x80000000u));
                return counts.x + counts.y + counts.z;
            }",
            by(EDGES, |x| {
                u32::from(x >= 1) + 2 * u32::from(x >= 31) + 4 * u32::from(x >= 0x8000_0000)
            }),
        ),
    ]
}
