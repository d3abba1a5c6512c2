//! Lists of blocks that the device makes of a mask_mod: those that the host makes of the same function.

use wgpu_attention::Role;
use wgpu_attention::problem::{
    Block, BlockGrid, BlockMask, Blocks, DeviceBlocks, Mask, ModData, Mods, Offsets,
};
use wgpu_attention::{BlockScan, Operands, PlanOptions};

use super::case;
use crate::backward::run::{Given, run_as};
use crate::device::{gpu, is_part, left_out};
use crate::run::{buffer, check, read, run, strategies};
use crate::support::cases::{Case, Sizes};
use crate::support::compare::assert_gradients;
use crate::support::inputs::{Data, Inputs};

/// The words that a scan leaves.
fn scanned(scan: &BlockScan) -> Vec<u32> {
    let gpu = gpu();
    let plan = gpu.attention.plan_scan(scan).expect("a plan");
    let lists = buffer(&gpu.device, &vec![0xab; scan.lists().words() as usize * 4]);
    let operands = Operands::default().with(Role::BlockLists, &lists);
    let call = pollster::block_on(gpu.attention.prepare(&plan, &operands)).expect("a call");
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [bytes] = read(gpu, [&lists]);
    bytemuck::pod_collect_to_vec(&bytes)
}

fn of_mask(mask: &BlockMask) -> Vec<Vec<(u32, bool)>> {
    let listed = |block: &Block| (block.index, block.tile.is_some());
    let lists = mask.starts().windows(2);
    let list = |list: &[u32]| &mask.blocks()[list[0] as usize..list[1] as usize];
    lists
        .map(|ends| list(ends).iter().map(listed).collect())
        .collect()
}

fn read_lists(lists: &DeviceBlocks, words: &[u32]) -> Vec<Vec<(u32, bool)>> {
    let all = 0..lists.grid.lists();
    all.map(|n| lists.list(words, n)).collect()
}

/// A text and the same in Rust.
struct Both {
    text: &'static str,
    data: Vec<f32>,
    sees: fn(u32, u32, u32, u32) -> bool,
}

fn functions() -> Vec<Both> {
    vec![
        Both {
            text: "return j <= i;",
            data: Vec::new(),
            sees: |_, _, i, j| j <= i,
        },
        Both {
            text: "return (i / 20u + j / 20u + h) % 3u == b && (i * j) % 7u != 6u;",
            data: Vec::new(),
            sees: |b, h, i, j| (i / 20 + j / 20 + h) % 3 == b && (i * j) % 7 != 6,
        },
        Both {
            text: "return f32(j) < mod_data(h) + f32(query_offset(b));",
            data: vec![40.0, 0.0, 129.0, 16.0],
            sees: |b, h, _, j| {
                f64::from(j) < [40.0, 0.0, 129.0, 16.0][h as usize] + 10.0 * f64::from(b)
            },
        },
    ]
}

fn mods(both: &Both) -> Mods {
    let text = format!(
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{ {} }}",
        both.text
    );
    Mods::new(&text)
        .expect("a legal text")
        .with_data(ModData::Host(both.data.clone()))
}

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 150,
    kv_len: 131,
};

fn grid(side: u32) -> BlockGrid {
    BlockGrid::new(side, SIZES.q_len, SIZES.kv_len)
        .with_batch(SIZES.batch)
        .with_heads(SIZES.q_heads)
}

fn offsets() -> Offsets {
    Offsets::Host(vec![0, 10])
}

#[test]
fn the_devices_lists_are_the_hosts() {
    for side in [16, 48, 128] {
        for both in functions() {
            let scan = BlockScan::new(grid(side), mods(&both)).with_q_offset(offsets());
            let host = BlockMask::from_fn(grid(side), both.sees).expect("a legal grid");
            let words = scanned(&scan);
            let got = read_lists(&scan.lists(), &words);
            assert_eq!(got, of_mask(&host), "{} in blocks of {side}", both.text);
        }
    }
}

/// Attention over the lists is attention over the mask, forward and backward, also where lists have no room.
#[test]
fn attention_over_scanned_lists() {
    let gpu = gpu();
    left_out("two of three functions over scanned lists");
    let all = functions().into_iter().enumerate();
    for (n, both) in all.filter(|(n, _)| !is_part() || *n == 1) {
        for capacity in [grid(16).kv_blocks(), 3] {
            for mask in [Mask::default(), Mask::causal()] {
                let scan = BlockScan::new(grid(16), mods(&both))
                    .with_capacity(capacity)
                    .with_q_offset(offsets());
                let words = scanned(&scan);
                let name = format!("{}, {mask:?}, room for {capacity}", both.text);
                let base = case(name, SIZES, mask).with(|p| p.mask.q_offset = offsets());
                let host = BlockMask::from_fn(grid(16), both.sees).expect("a legal grid");
                let want = base.clone().with(|p| p.mask.blocks = Some(host.into()));
                let mut user = base.with(|p| {
                    p.mask.blocks = Some(Blocks::Device(scan.lists()));
                    p.mods = Some(mods(&both));
                });
                user.values.block_lists = Some(words);
                let inputs = Inputs::new(&want, Data::Normal(1.0), n as u64);
                for choice in strategies(gpu) {
                    let (plan, output) = run(gpu, &gpu.attention, &user, &inputs, &choice);
                    check(&want, &inputs, &output, &format!("{}\n{plan}", user.name));
                    backward((&user, &want), &inputs, &choice);
                }
            }
        }
    }
}

fn backward((user, want): (&Case, &Case), inputs: &Inputs, choice: &PlanOptions) {
    let given = Given::new(user, 7);
    let (user, own) = ((user, inputs), (want, inputs));
    let (plan, pass, output) = run_as(gpu(), &gpu().attention, user, own, &given, choice);
    let got = (&output.gradients(&pass), given.element);
    let d_o = (&given.d_o[..], given.dlse.as_deref());
    let context = format!("{}\n{plan}", want.name);
    assert_gradients(want, &inputs.tensors(want), d_o, got, &context);
}

/// What a buffer holds before anybody wrote to it harms nobody: rows may be wrong, but are numbers, and stay in place.
#[test]
fn lists_of_garbage_are_clamped() {
    let gpu = gpu();
    let lists = DeviceBlocks::new(grid(16), 4);
    let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) as u32;
    let mut garbage = case("garbage", SIZES, Mask::causal());
    let inputs = Inputs::new(&case("whole", SIZES, Mask::default()), Data::Normal(1.0), 3);
    garbage.problem.mask.blocks = Some(Blocks::Device(lists));
    let words = (0..lists.words()).map(|n| match n % 5 {
        // A length that fits now and then.
        0 => random(n) % 7,
        _ => random(n),
    });
    garbage.values.block_lists = Some(words.collect());
    for choice in strategies(gpu) {
        let (plan, output) = run(gpu, &gpu.attention, &garbage, &inputs, &choice);
        let got = output.forward(&garbage);
        assert!(got.o.iter().all(|x| x.abs() < 10.0), "{plan}");
    }
}

/// 64 K x 64 K pairs in blocks of 128: at most a minute on two cores of lavapipe, by a step of bounded cost at a time.
#[test]
fn a_long_context() {
    left_out("three quarters of a long context's tokens");
    let len = if is_part() { 1 << 14 } else { 1 << 16 };
    let text = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return j <= i && (i - j < 1000u || j % 8192u < 4u); }";
    let scan = BlockScan::new(
        BlockGrid::new(128, len, len),
        Mods::new(text).expect("a legal text"),
    );
    let start = std::time::Instant::now();
    let words = scanned(&scan);
    println!("scanned in {:.1} s", start.elapsed().as_secs_f64());
    let lists = scan.lists();
    for i in [0, 1, 9, 63, 64, 127, 300, 511] {
        if i >= len / 128 {
            continue;
        }
        let (first, last) = (i * 128, i * 128 + 127);
        let want: Vec<(u32, bool)> = (0..=i)
            .filter_map(|block| {
                let (begin, end) = (block * 128, block * 128 + 127);
                let sees = |i: u32, j: u32| j <= i && (i - j < 1000 || j % 8192 < 4);
                // The corners tell: the first query sees the least of what comes later, the last one of what lies before.
                let some = sees(first, end.min(first)) || sees(first, begin) || sees(last, begin);
                let all = end <= first && last - begin < 1000;
                some.then_some((block, !all))
            })
            .collect();
        assert_eq!(
            lists.list(&words, i as usize),
            want,
            "queries {first} to {last}"
        );
    }
}

/// A matrix of more blocks than are held at a time, and a scan of more pairs than a step takes.
#[test]
fn a_long_scan_is_cut_into_steps() {
    let text =
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return i / 4096u == j / 4096u; }";
    let grid = BlockGrid::new(128, 1 << 20, 1 << 20);
    let scan = (BlockScan::new(grid, Mods::new(text).expect("a legal text"))).with_capacity(33);
    let plan = gpu().attention.plan_scan(&scan).expect("a plan");
    assert!(
        plan.steps().len() > 2 && plan.scratch_bytes() < 64 << 20,
        "{plan}"
    );
}

#[test]
fn a_scan_of_nothing_or_without_a_mask_is_refused() {
    let score = "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return score; }";
    let scan = BlockScan::new(grid(16), Mods::new(score).expect("a legal text"));
    let error = gpu().attention.plan_scan(&scan).unwrap_err().to_string();
    assert!(error.contains("define mask_mod"), "{error}");
    let room = BlockScan::new(grid(16), mods(&functions()[0])).with_capacity(100);
    let error = gpu().attention.plan_scan(&room).unwrap_err().to_string();
    assert!(error.contains("at most 9"), "{error}");
}
