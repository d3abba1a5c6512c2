//! Rows of k and v in pages and rings: the same bits as rows at equal distances.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    KvAddress, Lengths, Mask, Offsets, Pages, Position, Ring, Shape, Values, alibi_slopes,
};
use wgpu_attention::quantize::quantize;
use wgpu_attention::{Element, Host, PlanOptions, Problem, Role};

use crate::device::{gpu, left_out};
use crate::run::forward_strategies;
use crate::support::tensor::{normal, poisoned};

const PAGE: u32 = 16;

/// Rows of k or v of `[B, Hkv, Nk, dim]`, as bytes.
struct Rows {
    bytes: Vec<u8>,
    of_row: usize,
    sizes: [u32; 3],
}

impl Rows {
    fn new(seed: u64, element: Element, sizes: [u32; 3], dim: u32) -> Self {
        let count = sizes.iter().product::<u32>() * dim;
        let values = normal(seed, count as usize);
        let bytes = match element {
            Element::F32 => values
                .iter()
                .flat_map(|&x| (x as f32).to_le_bytes())
                .collect(),
            Element::F16 => values
                .iter()
                .flat_map(|&x| half::f16::from_f64(x).to_le_bytes())
                .collect(),
            Element::Int8 | Element::Int4 => {
                let rows: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                let words = quantize(element, &rows, dim).expect("whole rows");
                bytemuck::cast_slice(&words).to_vec()
            }
            Element::BF16 => values
                .iter()
                .flat_map(|&x| half::bf16::from_f64(x).to_le_bytes())
                .collect(),
            _ => unreachable!("nothing stores {element} here"),
        };
        let of_row = element.bytes(element.row_elements(dim).into()) as usize;
        Self {
            bytes,
            of_row,
            sizes,
        }
    }

    /// The rows that `place` has a place for, `(block, row)` of `[blocks, Hkv, rows]`; the rest is NaN.
    fn placed(
        &self,
        [blocks, rows]: [u32; 2],
        place: impl Fn(u32, u32) -> Option<(u32, u32)>,
    ) -> Vec<u8> {
        let [batch, heads, len] = self.sizes;
        let row = |block, h, i| (((block * heads + h) * rows + i) as usize) * self.of_row;
        let mut placed = poisoned((blocks * heads * rows) as u64 * self.of_row as u64);
        for b in 0..batch {
            for j in 0..len {
                let Some((block, i)) = place(b, j) else {
                    continue;
                };
                for h in 0..heads {
                    let from = (((b * heads + h) * len + j) as usize) * self.of_row;
                    let to = row(block, h, i);
                    placed[to..to + self.of_row]
                        .copy_from_slice(&self.bytes[from..from + self.of_row]);
                }
            }
        }
        placed
    }
}

/// A problem, its lengths and offsets, and where each row lies.
struct Way {
    problem: Problem,
    lens: Vec<u32>,
    offsets: Vec<i32>,
}

impl Way {
    /// The bytes of o and lse with rows placed by `address`.
    fn run(&self, address: KvAddress, choice: &PlanOptions) -> (Vec<u8>, Vec<f32>) {
        let shape = self.problem.shape;
        let element = self.problem.q.element;
        let q = Rows::new(
            1,
            element,
            [shape.batch, shape.q_heads, shape.q_len],
            shape.head_dim,
        );
        let kv = [shape.batch, shape.kv_heads, shape.kv_len];
        let rows = [
            Rows::new(2, self.problem.k.element, kv, shape.head_dim),
            Rows::new(3, self.problem.v.element, kv, shape.value_dim),
        ];
        let problem = self.problem.clone().with_cache(address);
        let per_sequence = shape.kv_len.div_ceil(PAGE);
        // Shuffled, and pages that nobody has a row in lie past the pool.
        let pages = shape.batch * per_sequence;
        let page = |b: u32, n: u32| (b * per_sequence + n) * 7 % pages;
        let table: Vec<u32> = (0..pages)
            .map(|n| page(n / per_sequence, n % per_sequence))
            .collect();
        let [blocks, _, kept] = address.sizes(&shape);
        let lens = &self.lens;
        let placed = rows.map(|rows| {
            rows.placed([blocks, kept], |b, j| match address {
                KvAddress::Paged(_) => {
                    (j < lens[b as usize]).then_some((page(b, j / PAGE), j % PAGE))
                }
                KvAddress::Ring(ring) => {
                    let len = lens[b as usize];
                    let last = j < len && j + ring.len >= len;
                    let at = if j < ring.first {
                        j
                    } else {
                        ring.first + (j - ring.first) % ring.len
                    };
                    (j < ring.first.min(len) || last).then_some((b, at))
                }
                _ => (j < lens[b as usize]).then_some((b, j)),
            })
        });
        let gpu = gpu();
        let plan = gpu.attention.plan_with(&problem, choice).expect("a plan");
        let mut host = Host::new(&q.bytes, &placed[0], &placed[1])
            .with(Role::KvLens, bytemuck::cast_slice(&self.lens))
            .with(Role::QOffset, bytemuck::cast_slice(&self.offsets));
        if matches!(address, KvAddress::Paged(_)) {
            host = host.with(Role::PageTable, bytemuck::cast_slice(&table));
        }
        let out = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host))
            .unwrap_or_else(|e| panic!("{e}\n{plan}"));
        (out.o, out.lse)
    }
}

fn pages(problem: &Problem) -> KvAddress {
    let per_sequence = problem.shape.kv_len.div_ceil(PAGE);
    KvAddress::Paged(Pages::new(
        PAGE,
        problem.shape.batch * per_sequence,
        per_sequence,
    ))
}

/// All of them, or of a part of the suite some.
fn looked_at(ways: Vec<Way>) -> impl Iterator<Item = Way> {
    let every = if left_out("three of four ways to look rows up") {
        4
    } else {
        1
    };
    ways.into_iter().step_by(every)
}

fn ways() -> Vec<Way> {
    let shape = |q_len, dim| Shape {
        batch: 2,
        q_heads: 4,
        kv_heads: 2,
        q_len,
        kv_len: 90,
        head_dim: dim,
        value_dim: dim,
    };
    let mut ways = Vec::new();
    for (n, (q_len, dim, element)) in [
        (1, 32, Element::F32),
        (5, 24, Element::F16),
        (3, 33, Element::F32),
        (2, 64, Element::BF16),
        (4, 40, Element::F16),
    ]
    .into_iter()
    .enumerate()
    {
        let masks = [
            Mask::causal(),
            Mask::causal()
                .with_first(3)
                .with_window(wgpu_attention::problem::Window {
                    left: Some(20),
                    right: Some(0),
                }),
        ];
        for mask in masks {
            let lens = vec![90, 37 + n as u32];
            let offsets = lens.iter().map(|&len| (len - q_len) as i32).collect();
            let mask = mask
                .with_kv_lens(Lengths::Device)
                .with_q_offset(Offsets::Device);
            let mut problem = Problem::new(shape(q_len, dim), element).with_mask(mask);
            if n == 4 {
                problem = problem.with_kv_elements(Element::Int8, Element::Int4);
            }
            problem.score.slopes = (n == 1).then(|| Values::Host(alibi_slopes(4)));
            if n == 0 || n == 3 {
                problem.position = Position::rotary(Rotary::new(dim)).with_range(0..=127);
            }
            ways.push(Way {
                problem,
                lens,
                offsets,
            });
        }
    }
    ways
}

#[test]
fn rows_in_pages_give_the_bits_of_rows_at_equal_distances() {
    for way in looked_at(ways()) {
        for choice in forward_strategies(gpu()) {
            let strided = way.run(KvAddress::Strided, &choice);
            let paged = way.run(pages(&way.problem), &choice);
            assert!(strided.1.iter().all(|lse| lse.is_finite()));
            assert!(strided == paged, "{:?} {choice:?}", way.problem);
        }
    }
}

#[test]
fn a_ring_keeps_what_a_window_sees() {
    let windows = |way: &Way| way.problem.mask.window.is_some();
    for way in looked_at(ways().into_iter().filter(windows).collect()) {
        for choice in forward_strategies(gpu()) {
            let strided = way.run(KvAddress::Strided, &choice);
            let ring = KvAddress::Ring(Ring::new(3, 20 + way.problem.shape.q_len));
            assert!(
                strided == way.run(ring, &choice),
                "{:?} {choice:?}",
                way.problem
            );
        }
    }
}

/// A table that is no table: other rows are read, none past the pool.
#[test]
fn page_numbers_past_the_pool_are_its_last_page() {
    let mut way = ways().remove(0);
    way.problem.position = Position::default();
    let shape = way.problem.shape;
    let address = KvAddress::Paged(Pages::new(PAGE, 1, 6));
    let problem = way.problem.clone().with_cache(address);
    let gpu = gpu();
    let plan = gpu.attention.plan(&problem).expect("a plan");
    let of = |seed, sizes, dim| Rows::new(seed, Element::F32, sizes, dim).bytes;
    let q = of(1, [shape.batch, shape.q_heads, shape.q_len], 32);
    let (k, v) = (of(2, [1, 2, PAGE], 32), of(3, [1, 2, PAGE], 32));
    let run = |table: [u32; 12]| {
        let host = Host::new(&q, &k, &v)
            .with(Role::KvLens, bytemuck::cast_slice(&way.lens))
            .with(Role::QOffset, bytemuck::cast_slice(&way.offsets))
            .with(Role::PageTable, bytemuck::cast_slice(&table));
        pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host)).expect("outputs")
    };
    assert_eq!(run([u32::MAX; 12]), run([0; 12]));
}

#[test]
fn plans_name_where_rows_lie() {
    let way = ways().remove(0);
    let problem = way.problem.clone().with_cache(pages(&way.problem));
    let plan = gpu().attention.plan(&problem).expect("a plan");
    let last = plan.steps().iter().map(|step| step.variant());
    let attends = |v: &Variant| matches!(v, Variant::Prefill(_) | Variant::Decode(_));
    let name = last.filter(attends).map(|v| v.to_string()).next();
    assert!(name.is_some_and(|name| name.contains("paged")), "{plan}");
}
