//! Merging partial results by themselves: the order and the grouping change nothing but the rounding.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wgpu_attention::{Element, Host, Merge, Role};

use crate::device::gpu;

const SIZES: [u32; 3] = [2, 3, 7];
const DIM: u32 = 20;
const ROWS: usize = 2 * 3 * 7;

/// A partial result: o, row by row, and lse.
#[derive(Clone)]
struct Partial {
    o: Vec<f32>,
    lse: Vec<f32>,
}

impl Partial {
    /// One row in six saw no key.
    fn drawn(random: &mut StdRng) -> Self {
        let lse: Vec<f32> = (0..ROWS)
            .map(|_| match random.random_range(0..6) {
                0 => f32::NEG_INFINITY,
                _ => random.random_range(-20.0..20.0),
            })
            .collect();
        let row = |lse: &f32| match lse.is_finite() {
            true => (0..DIM).map(|_| random.random_range(-3.0..3.0)).collect(),
            false => vec![0.0; DIM as usize],
        };
        Self {
            o: lse.iter().flat_map(row).collect(),
            lse,
        }
    }
}

fn merged(parts: &[&Partial]) -> Partial {
    let gpu = gpu();
    let merge = Merge::new(parts.len() as u32, SIZES, DIM, Element::F32);
    let plan = gpu.attention.plan_merge(&merge).expect("a plan");
    let all = |of: fn(&Partial) -> &Vec<f32>| {
        let each = parts.iter().flat_map(|part| of(part));
        each.copied().collect::<Vec<f32>>()
    };
    let (o, lse) = (all(|part| &part.o), all(|part| &part.lse));
    let host = Host::default()
        .with(Role::PartialO, bytemuck::cast_slice(&o))
        .with(Role::PartialLse, bytemuck::cast_slice(&lse));
    let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host));
    let outputs = outputs.expect("outputs");
    Partial {
        o: bytemuck::pod_collect_to_vec(&outputs.o),
        lse: outputs.lse,
    }
}

/// The definition: lse = ln Σ e^lse_k, o = Σ e^(lse_k − lse)·o_k.
fn defined(parts: &[&Partial]) -> Partial {
    let mut whole = Partial {
        o: Vec::new(),
        lse: Vec::new(),
    };
    for row in 0..ROWS {
        let lse = |part: &&Partial| f64::from(part.lse[row]);
        let largest = parts.iter().map(lse).fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            whole.lse.push(f32::NEG_INFINITY);
            whole.o.extend([0.0; DIM as usize]);
            continue;
        }
        let weights: Vec<f64> = parts.iter().map(|x| (lse(x) - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        whole.lse.push((largest + sum.ln()) as f32);
        whole.o.extend((0..DIM as usize).map(|d| {
            let o = |part: &&Partial| f64::from(part.o[row * DIM as usize + d]);
            let terms = parts.iter().zip(&weights);
            (terms.map(|(part, w)| o(part) * w / sum).sum::<f64>()) as f32
        }));
    }
    whole
}

fn assert_near(name: &str, actual: &Partial, expected: &Partial) {
    let pairs = |of: fn(&Partial) -> &Vec<f32>| of(actual).iter().zip(of(expected));
    for (n, (a, e)) in pairs(|part| &part.o).enumerate() {
        assert!((a - e).abs() <= 4e-6, "{name}, o[{n}]: {a}, not {e}");
    }
    for (n, (a, e)) in pairs(|part| &part.lse).enumerate() {
        let near = a == e || (a - e).abs() <= 4e-6 * e.abs().max(1.0);
        assert!(near, "{name}, lse[{n}]: {a}, not {e}");
    }
}

#[test]
fn merging_is_associative_and_commutative_within_rounding() {
    let mut random = StdRng::seed_from_u64(17);
    let all: Vec<_> = (0..5).map(|_| Partial::drawn(&mut random)).collect();
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|n| &all[n]);
    let expected = defined(&[a, b, c, d, e]);
    assert_near("at once", &merged(&[a, b, c, d, e]), &expected);
    assert_near("in another order", &merged(&[d, a, e, c, b]), &expected);
    let left = merged(&[&merged(&[&merged(&[&merged(&[a, b]), c]), d]), e]);
    assert_near("from the left", &left, &expected);
    let right = merged(&[a, &merged(&[b, &merged(&[c, &merged(&[d, e])])])]);
    assert_near("from the right", &right, &expected);
    let halves = merged(&[&merged(&[a, b]), &merged(&[c, d, e])]);
    assert_near("by halves", &halves, &expected);
}
