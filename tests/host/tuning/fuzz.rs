//! A hundred thousand texts that somebody cut off, damaged or edited: each is refused, or plans with it keep every limit.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::internal::{Strategy, Tiles};
use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Pattern};
use wgpu_attention::{Backward, Caps, Element, Mask, Plan, PlanOptions, Problem, Shape, Tuning};

use super::{adapter, row_at};
use crate::support::drawn::device::keeps_limits;

const TEXTS: u64 = 100_000;

fn devices() -> [Caps; 3] {
    let caps = Caps::BASELINE.with_adapter(adapter());
    [
        caps.clone(),
        caps.clone()
            .with_class(AdapterClass::Discrete)
            .with_subgroups(Subgroups::new(32, 32)),
        caps.with_class(AdapterClass::Cpu)
            .with_subgroups(Subgroups::new(8, 8))
            .with_lanes(8)
            .with_int64(true)
            .with_iterations(Caps::SOFTWARE_ITERATIONS),
    ]
}

/// A call of every kernel that a tuning knows, and some with blocks.
fn plan(call: usize, caps: &Caps, options: &PlanOptions) -> Plan {
    let problem = |q_len, dim| {
        let shape = Shape {
            q_len,
            ..Shape::square(1, 2, 160, dim)
        };
        Problem::new(shape, Element::F32)
    };
    let blocks = || {
        let problem = problem(160, 32);
        let grid = BlockGrid::of(SIDE, &problem.shape);
        let blocks = BlockMask::from_pattern(grid, &Pattern::sliding_window(64, 0));
        problem.with_mask(Mask::default().with_blocks(Blocks::from(blocks.expect("a mask"))))
    };
    let forward = |problem| Plan::attention(&problem, caps, options);
    let backward = |problem| Plan::backward(&Backward::new(problem, Element::F32), caps, options);
    let plan = match call {
        0 => forward(problem(160, 32)),
        1 => forward(problem(1, 80)),
        2 => forward(blocks()),
        3 => backward(problem(160, 40).with_mask(Mask::causal())),
        _ => backward(blocks()),
    };
    plan.expect("a plan, with any tuning")
}

const CALLS: usize = 5;
/// Those with blocks, and their side.
const BLOCKS: [usize; 2] = [2, 4];
const SIDE: u32 = 32;

/// What the kernels take for granted of their tiles (`shaders/README.md`).
fn is_legal(tiles: &Tiles, caps: &Caps, blocks: bool) -> bool {
    let tiling = tiles.tiling;
    let (keys, lanes) = (tiling.keys, tiling.lanes_per_row);
    let all = [tiling.rows, lanes, keys, tiling.tile, tiling.invocations];
    let rows = tiling.tile_rows();
    let in_clusters = |width: u32| {
        let fits = caps.subgroups.is_some_and(|lanes| width <= lanes.min);
        fits && tiling.invocations.is_multiple_of(width) && tiling.tile == keys
    };
    all.iter().all(|&n| n > 0)
        && tiling.tile <= 32
        && tiling.rows <= 16
        && (!blocks || (SIDE.is_multiple_of(rows) && SIDE.is_multiple_of(tiling.tile)))
        && match tiles.strategy {
            Strategy::Subgroup { width, .. } => {
                in_clusters(width) && lanes.is_power_of_two() && keys * lanes == width
            }
            Strategy::Channels { width, .. } => in_clusters(width) && [keys, lanes] == [width; 2],
            Strategy::Workgroup => {
                tiling.invocations.is_multiple_of(lanes) && tiling.tile.is_multiple_of(keys)
            }
        }
}

/// One damage or edit of a text.
fn damage(text: &str, rng: &mut StdRng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    match rng.random_range(0..8) {
        0 => bytes.truncate(rng.random_range(0..bytes.len())),
        1 => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
        }
        2 => {
            let (from, to) = (
                rng.random_range(0..bytes.len()),
                rng.random_range(0..bytes.len()),
            );
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            let at = rng.random_range(0..bytes.len());
            bytes.splice(at..at, part);
        }
        // Numbers in place of numbers: most are legal in the text and nonsense on a device.
        _ => {
            for _ in 0..rng.random_range(1..6) {
                set_number(&mut bytes, rng);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn set_number(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let starts: Vec<usize> = (1..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && bytes[at - 1] == b' ')
        .collect();
    let Some(&start) = starts.get(rng.random_range(0..starts.len().max(1))) else {
        return;
    };
    let digits = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let number = match rng.random_range(0..6) {
        0 => 0,
        1 => rng.random_range(0..100_000),
        2 => rng.random(),
        3 => 1 << rng.random_range(0..17),
        _ => rng.random_range(1..40u64),
    };
    bytes.splice(start..start + digits, number.to_string().into_bytes());
}

#[test]
fn every_text_is_refused_or_plans_legally() {
    let plain = PlanOptions::default();
    let text = |(caps, call): &(Caps, usize)| {
        let plan = plan(*call, caps, &plain);
        let mut tuning = Tuning::new(adapter());
        let rows = plan.tile_classes().count();
        (0..rows).for_each(|n| tuning.insert(row_at(&plan, n, |_| {})));
        tuning.to_json()
    };
    let calls = devices()
        .into_iter()
        .flat_map(|caps| (0..CALLS).map(move |call| (caps.clone(), call)));
    let calls: Vec<_> = calls.collect();
    let texts: Vec<String> = calls.iter().map(text).collect();
    let mut rng = StdRng::seed_from_u64(0);
    let [mut refused, mut used, mut left_out] = [0; 3];
    for n in 0..TEXTS {
        let n = n as usize % texts.len();
        let (caps, call) = &calls[n];
        let text = damage(&texts[n], &mut rng);
        let Ok(tuning) = Tuning::from_json(&text) else {
            refused += 1;
            continue;
        };
        assert_eq!(Tuning::from_json(&tuning.to_json()).as_ref(), Ok(&tuning));
        let options = PlanOptions::default().with_tuning(Arc::new(tuning));
        let plan = plan(*call, caps, &options);
        keeps_limits(&plan, caps).unwrap_or_else(|e| panic!("{e}\n{text}\n{plan}"));
        for tiles in plan.steps().iter().filter_map(|s| s.variant().tiles()) {
            let legal = is_legal(&tiles, caps, BLOCKS.contains(call));
            assert!(legal, "{tiles:?}\n{text}\n{plan}");
        }
        let has = |part| plan.notes().iter().any(|note| note.contains(part));
        used += u64::from(has("are those of the tuning"));
        left_out += u64::from(has("left out"));
    }
    // Each of the three is often.
    assert!(
        [refused, used, left_out].iter().all(|&n| n > TEXTS / 20),
        "{refused} {used} {left_out}"
    );
}
