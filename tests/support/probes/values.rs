//! Variables, arrays and structures: what is copied, what begins anew, in which order a text is carried out.

use super::{Probe, by};

pub fn probes() -> Vec<Probe> {
    let mut probes = variables();
    probes.extend(order());
    probes
}

fn variables() -> Vec<Probe> {
    vec![
        Probe::map(
            "an array with an initial value begins anew on each turn",
            "fn probe(x: u32, n: u32) -> u32 {
                var last = 0u;
                for (var i = 0u; i < x; i++) {
                    var sum = array<array<u32, 2>, 2>();
                    for (var c = 0u; c < 2u; c++) { sum[c][1u - c] += i + 1u; }
                    last = sum[0][1] * 16u + sum[1][0];
                }
                return last;
            }",
            by(0..5, |x| x * 17),
        ),
        Probe::map(
            "so do scalars, vectors and structures",
            "struct Row { m: f32, flags: array<u32, 2>, v: vec4<f32> }
            fn probe(x: u32, n: u32) -> u32 {
                var last = 0u;
                for (var i = 0u; i < x; i++) {
                    var row = Row();
                    var count = 0u;
                    row.flags[i % 2u] += 1u;
                    row.v[i % 4u] += 2.0;
                    row.m += 4.0;
                    count += 8u;
                    last = row.flags[0] + row.flags[1] + u32(dot(row.v, vec4<f32>(1.0)) + row.m) + count;
                }
                return last;
            }",
            by(0..5, |x| 15 * x.min(1)),
        ),
        Probe::map(
            "a variable inside a function begins anew on each call",
            "fn add(x: u32) -> u32 { var sum = array<u32, 3>(); sum[x % 3u] += x; return sum[0] + sum[1] + sum[2]; }
            fn probe(x: u32, n: u32) -> u32 { var last = 0u; for (var i = 0u; i < x; i++) { last = add(i + 1u); } return last; }",
            by(0..6, |x| x),
        ),
        Probe::map(
            "arrays and structures are copied",
            "struct Walk { begin: u32, run: array<u32, 3> }
            fn next(walk: Walk, n: u32) -> Walk { var there = walk; there.begin += 1u; there.run[n % 3u] = n; return there; }
            fn probe(x: u32, n: u32) -> u32 {
                var walk = Walk(x, array<u32, 3>(1u, 2u, 3u));
                let before = walk;
                walk = next(walk, 5u);
                walk = next(walk, 7u);
                return before.begin + before.run[2] * 16u + before.run[1] * 256u + walk.begin * 4096u + walk.run[2] * 65536u + walk.run[1] * 0x100000u;
            }",
            by(0..4, |x| x + 3 * 16 + 2 * 256 + (x + 2) * 4096 + 5 * 65536 + 7 * 0x10_0000),
        ),
        Probe::map(
            "arrays of arrays take indices that are computed",
            "fn probe(x: u32, n: u32) -> u32 {
                var s = array<array<vec4<f32>, 3>, 2>();
                for (var i = 0u; i < 24u; i++) { s[i / 12u][i / 4u % 3u][i % 4u] = f32(i); }
                return u32(s[x / 12u][x / 4u % 3u][x % 4u]);
            }",
            by(0..24, |x| x),
        ),
        Probe::map(
            "a pointer to a variable of the caller's",
            "fn raise(x: ptr<function, u32>, by: u32) -> u32 { let old = *x; *x += by; return old; }
            fn probe(x: u32, n: u32) -> u32 { var sum = x; let old = raise(&sum, 5u); return sum * 256u + old; }",
            by(0..4, |x| (x + 5) * 256 + x),
        ),
    ]
}

fn order() -> Vec<Probe> {
    vec![
        Probe::map(
            "operands are evaluated from left to right",
            "fn next(x: ptr<function, u32>) -> u32 { *x = *x * 3u + 1u; return *x; }
            fn three(x: u32, y: u32, z: u32) -> u32 { return x + 64u * y + 4096u * z; }
            fn probe(x: u32, n: u32) -> u32 {
                var state = x;
                let difference = next(&state) - next(&state);
                return difference + three(next(&state), next(&state), next(&state));
            }",
            by(0..4, |x| {
                let all: Vec<u32> = (0..5)
                    .scan(x, |s, _| {
                        *s = *s * 3 + 1;
                        Some(*s)
                    })
                    .collect();
                all[0]
                    .wrapping_sub(all[1])
                    .wrapping_add(all[2] + 64 * all[3] + 4096 * all[4])
            }),
        ),
        Probe::map(
            "&& and || ask their right side only where they must",
            "fn probe(x: u32, n: u32) -> u32 {
                var asked = 0u;
                let both = x > 2u && ask(&asked);
                let either = x > 4u || ask(&asked);
                return asked + 16u * u32(both) + 32u * u32(either);
            }
            fn ask(asked: ptr<function, u32>) -> bool { *asked += 1u; return true; }",
            by(0..7, |x| {
                u32::from(x > 2) + u32::from(x <= 4) + 16 * u32::from(x > 2) + 32
            }),
        ),
        Probe::map(
            "break, continue and a bound from a buffer",
            "fn probe(x: u32, n: u32) -> u32 {
                var sum = 0u;
                for (var i = 0u; i < a[n]; i++) {
                    if (i % 3u == 1u) { continue; }
                    if (i == 9u) { break; }
                    sum += i;
                }
                return sum;
            }",
            by(0..14, |x| (0..x.min(9)).filter(|i| i % 3 != 1).sum()),
        ),
        Probe::map(
            "a search by halves ends",
            "fn probe(x: u32, n: u32) -> u32 {
                var low = 0u;
                var high = 14u;
                while (low < high) {
                    let middle = (low + high) / 2u;
                    if (a[middle] < x) { low = middle + 1u; } else { high = middle; }
                }
                return low;
            }",
            by((0..14).map(|n| n * n), |x| x.isqrt()),
        ),
        Probe::map(
            "a switch with a default",
            "fn probe(x: u32, n: u32) -> u32 {
                switch x % 4u {
                    case 0u, 2u: { return 10u; }
                    case 1u: { return 20u; }
                    default: { return 30u; }
                }
            }",
            by(0..8, |x| [10, 20, 10, 30][x as usize % 4]),
        ),
        Probe::map(
            "swizzles of words that lie side by side",
            "fn probe(x: u32, n: u32) -> u32 {
                let v = vec4<u32>(x, x + 1u, x + 2u, x + 3u);
                let w = vec4<u32>(v.yx, v.wz) * vec4<u32>(1u, 16u, 256u, 4096u);
                return w.x + w.y + w.z + w.w;
            }",
            by(0..4, |x| (x + 1) + 16 * x + 256 * (x + 3) + 4096 * (x + 2)),
        ),
    ]
}
