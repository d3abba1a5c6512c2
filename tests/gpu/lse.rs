//! lse at an offset and with strides, in every call that writes or reads it: the same bits as contiguous ones.

use wgpu_attention::problem::{Layout, Mask, Slice};
use wgpu_attention::{
    Backward, Element, Error, Host, Merge, Outputs, PlanOptions, Problem, Role, Shape,
};

use crate::device::gpu;
use crate::run::strategies;
use crate::support::tensor::{POISON, gather, normal, outside, poisoned};

const SHAPE: Shape = Shape {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 37,
    kv_len: 70,
    head_dim: 16,
    value_dim: 24,
};
const SIZES: [u32; 3] = [SHAPE.batch, SHAPE.q_heads, SHAPE.q_len];

/// `[B, N, H]` with a gap between rows, past the first 256 bytes.
fn strided() -> Layout {
    let rows = u64::from(SHAPE.q_len);
    Layout {
        offset: 101,
        batch: rows * 6 + 3,
        head: 1,
        row: 6,
    }
}

fn problem() -> Problem {
    let mut problem = Problem::new(SHAPE, Element::F32);
    problem.mask = Mask::causal();
    problem
}

fn bytes(seed: u64, rows: u32, dim: u32) -> Vec<u8> {
    let count = SHAPE.batch * rows * dim;
    let numbers: Vec<f32> = normal(seed, count as usize)
        .iter()
        .map(|&x| x as f32)
        .collect();
    bytemuck::cast_slice(&numbers).to_vec()
}

fn inputs() -> [Vec<u8>; 3] {
    let kv = SHAPE.kv_heads * SHAPE.kv_len;
    [
        bytes(1, SHAPE.q_heads * SHAPE.q_len, SHAPE.head_dim),
        bytes(2, kv, SHAPE.head_dim),
        bytes(3, kv, SHAPE.value_dim),
    ]
}

/// The rows of lse; what lies between them must be as it was.
fn rows(lse: &[f32], layout: &Layout) -> Vec<u64> {
    let stored: &[u8] = bytemuck::cast_slice(lse);
    let gaps = outside(stored, Element::F32, layout, SIZES, 1);
    assert!(
        gaps.iter().all(|&byte| byte == POISON),
        "lse was written beside its rows"
    );
    let values = gather(stored, Element::F32, layout, SIZES, 1);
    values.into_iter().map(f64::to_bits).collect()
}

fn poison(layout: &Layout) -> Vec<u8> {
    poisoned(layout.end(SIZES, 1).expect("an end") * 4 + 40)
}

fn forward(problem: &Problem, choice: &PlanOptions) -> Outputs {
    let (gpu, [q, k, v]) = (gpu(), inputs());
    let plan = gpu.attention.plan_with(problem, choice).expect("a plan");
    let before = poison(&problem.lse);
    let host = Host::new(&q, &k, &v).with(Role::Lse, &before);
    pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host)).expect("outputs")
}

#[test]
fn forward_writes_it_where_it_is_to_lie() {
    let mut choices = strategies(gpu());
    for (splits, slice_rows, shared_outputs) in [
        (Some(3), None, false),
        (None, Some(8), false),
        (Some(2), Some(8), true),
        (None, None, true),
    ] {
        choices.push(
            PlanOptions::default()
                .with_splits(splits)
                .with_slice_rows(slice_rows)
                .with_shared_outputs(shared_outputs),
        );
    }
    let whole = problem();
    let mut no_keys = problem();
    no_keys.slice = Some(Slice {
        q: 0..SHAPE.q_len,
        k: 0..0,
    });
    for problem in [whole, no_keys] {
        for choice in &choices {
            let mut moved = problem.clone();
            moved.lse = strided();
            let (expected, got) = (forward(&problem, choice), forward(&moved, choice));
            assert!(expected.o == got.o, "{choice:?}");
            let (expected, got) = (
                rows(&expected.lse, &problem.lse),
                rows(&got.lse, &strided()),
            );
            assert!(expected == got, "{choice:?}");
        }
    }
}

/// Scatters contiguous rows.
fn scattered(contiguous: &[f32], layout: &Layout) -> Vec<u8> {
    let mut out = poison(layout);
    for (n, x) in contiguous.iter().enumerate() {
        let n = n as u32;
        let (b, h, i) = (
            n / SHAPE.q_len / SHAPE.q_heads,
            n / SHAPE.q_len % SHAPE.q_heads,
            n % SHAPE.q_len,
        );
        let at = layout.index(b, h, i) as usize * 4;
        out[at..at + 4].copy_from_slice(&x.to_le_bytes());
    }
    out
}

#[test]
fn backward_reads_it_and_its_gradient_where_they_lie() {
    let (gpu, [q, k, v], problem) = (gpu(), inputs(), problem());
    let kept = forward(&problem, &PlanOptions::default());
    let lse = &kept.lse[..SHAPE.rows() as usize];
    let d_o = bytes(4, SHAPE.q_heads * SHAPE.q_len, SHAPE.value_dim);
    let d_lse: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes(5, SHAPE.q_heads * SHAPE.q_len, 1));
    let gradients = |layout: Layout| {
        let mut problem = problem.clone();
        problem.lse = layout;
        let mut backward = Backward::new(problem, Element::F32);
        backward.dlse = true;
        let plan = gpu.attention.plan_backward(&backward).expect("a plan");
        let (lse, d_lse) = (scattered(lse, &layout), scattered(&d_lse, &layout));
        let host = Host::new(&q, &k, &v)
            .with(Role::O, &kept.o)
            .with(Role::Lse, &lse)
            .with(Role::DO, &d_o)
            .with(Role::DLse, &d_lse);
        let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host));
        outputs.expect("outputs").others
    };
    assert!(gradients(problem.lse) == gradients(strided()));
}

#[test]
fn a_merge_writes_it_where_it_is_to_lie() {
    let gpu = gpu();
    let rows_of_o = SHAPE.q_heads * SHAPE.q_len;
    let o = [
        bytes(6, rows_of_o, SHAPE.value_dim),
        bytes(7, rows_of_o, SHAPE.value_dim),
    ]
    .concat();
    let lse = [bytes(8, rows_of_o, 1), bytes(9, rows_of_o, 1)].concat();
    let merged = |layout: Option<Layout>| {
        let mut merge = Merge::new(2, SIZES, SHAPE.value_dim, Element::F32);
        merge.lse = layout.unwrap_or(merge.lse);
        let plan = gpu.attention.plan_merge(&merge).expect("a plan");
        let before = poison(&merge.lse);
        let host = Host::default()
            .with(Role::PartialO, &o)
            .with(Role::PartialLse, &lse)
            .with(Role::Lse, &before);
        let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host));
        let outputs = outputs.expect("outputs");
        (outputs.o, rows(&outputs.lse, &merge.lse))
    };
    assert!(merged(None) == merged(Some(strided())));
}

/// Gaps may hold anything; a NaN of a row is told by the row.
#[test]
fn a_check_looks_at_its_rows() {
    let gpu = gpu();
    let mut problem = problem();
    problem.lse = strided();
    let plan = gpu
        .attention
        .plan_backward(&Backward::new(problem, Element::F32))
        .expect("a plan");
    let mut lse = vec![1.0; SHAPE.rows() as usize];
    for nan in [None, Some(5), Some(200)] {
        if let Some(nan) = nan {
            lse[nan] = f32::NAN;
        }
        let lse_bytes = scattered(&lse, &strided());
        let buffers: Vec<_> = plan
            .requirements()
            .iter()
            .map(|need| match need.role {
                Role::Lse => (need.role, crate::run::buffer(&gpu.device, &lse_bytes)),
                _ => (
                    need.role,
                    crate::run::buffer(&gpu.device, &vec![0; need.bytes as usize]),
                ),
            })
            .collect();
        let operands = buffers.iter().fold(
            Default::default(),
            |all: wgpu_attention::Operands<'_>, (role, buffer)| all.with(*role, buffer),
        );
        let call = pollster::block_on(gpu.attention.prepare(&plan, &operands)).expect("a call");
        let checked = pollster::block_on(call.check(&gpu.queue));
        match nan {
            None => assert_eq!(checked, Ok(())),
            Some(nan) => {
                assert!(
                    matches!(checked, Err(Error::NumberAt { what: "lse", index, .. }) if index == nan),
                    "{checked:?}"
                );
                lse[nan] = 1.0;
            }
        }
    }
}

#[test]
fn rows_that_overlap_are_refused() {
    let mut problem = problem();
    problem.lse.row = 0;
    let refused = gpu().attention.plan(&problem).err();
    assert!(
        matches!(refused, Some(Error::Overlap { what: "lse", .. })),
        "{refused:?}"
    );
}
