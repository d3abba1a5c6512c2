//! Every kind of mask, alone and together.

use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, DenseMask, DeviceBlocks, Lengths, MAX_TREE_QUERIES, Offsets,
    Pattern, Prefix, Segments, Select, SelectBy, Shape, Tree, Window,
};

use super::Draw;
use crate::support::cases::{Case, sparse::on_device};

/// Queries stand no further than this from the keys, so that distances are told apart in f32.
pub const FARTHEST: i32 = 200;

pub fn draw(draw: &mut Draw, case: &mut Case) {
    prefixes(draw, case);
    let mask = &mut case.problem.mask;
    mask.causal = draw.one_in(2);
    if draw.one_in(3) {
        let mut side = |most| (!draw.one_in(4)).then(|| draw.size(0, most));
        mask.window = Some(Window {
            left: side(90),
            right: side(12),
        });
        mask.first = draw.pick(&[0, 0, 1, 5, 40]);
    }
    lengths(draw, case);
    offsets(draw, case);
    if draw.one_in(4) {
        segments(draw, case);
    }
    if draw.one_in(3) {
        blocks(draw, case);
    }
    if draw.one_in(5) {
        dense(draw, case);
    }
    if draw.one_in(6) && case.problem.shape.q_len <= MAX_TREE_QUERIES {
        tree(draw, case);
    }
}

/// Any forest, its parents near or far.
pub fn tree(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let reach = draw.pick(&[1, 2, 5, MAX_TREE_QUERIES]);
    let mut parent = |i: u32| draw.size(i - i.min(reach), i) as i32 - 1;
    let all = (0..shape.batch).flat_map(|_| 0..shape.q_len);
    let parents = all.map(&mut parent).collect();
    case.problem.mask.tree = Some(match draw.one_in(2) {
        true => Tree::Host(parents),
        false => on_device(&parents, case),
    });
}

fn prefixes(draw: &mut Draw, case: &mut Case) {
    let each = (0..case.problem.shape.batch).map(|_| draw.size(0, 60));
    let each: Vec<u32> = each.collect();
    case.problem.mask.prefix = match draw.size(0, 9) {
        0 => Prefix::Same(each[0]),
        1 => Prefix::Host(each),
        2 => {
            case.values.prefix = Some(each);
            Prefix::Device
        }
        _ => Prefix::default(),
    };
}

/// About two pairs of three; one row of keys for all queries is a padding mask.
fn dense(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let sizes = sizes.map(|size| if draw.one_in(3) { 1 } else { size });
    let pairs = sizes.iter().product::<u32>() * shape.kv_len;
    let visible: Vec<bool> = (0..pairs).map(|_| !draw.one_in(3)).collect();
    case.problem.mask.dense = Some(match draw.one_in(2) {
        true => {
            case.values.mask = Some(DenseMask::pack(shape.kv_len, &visible));
            DenseMask::device(sizes, shape.kv_len)
        }
        false => DenseMask::from_bools(sizes, shape.kv_len, &visible).expect("as many bools"),
    });
}

fn lengths(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let mut lens = || {
        (0..shape.batch)
            .map(|_| draw.size(0, shape.kv_len))
            .collect::<Vec<_>>()
    };
    let mut lens = lens();
    match draw.size(0, 5) {
        0 => case.problem.mask.kv_lens = Lengths::Host(lens),
        1 => {
            if draw.one_in(4) {
                lens[0] = u32::MAX;
            }
            case.problem.mask.kv_lens = Lengths::Device;
            case.kv_lens = Some(lens);
        }
        _ => {}
    }
}

fn offsets(draw: &mut Draw, case: &mut Case) {
    let batch = case.problem.shape.batch;
    let offsets = (0..batch).map(|_| draw.of(-70..=FARTHEST / 2)).collect();
    match draw.size(0, 5) {
        0 => case.problem.mask.q_offset = Offsets::Host(offsets),
        1 => {
            case.problem.mask.q_offset = Offsets::Device;
            case.q_offset = Some(offsets);
        }
        _ => {}
    }
}

/// Documents that follow each other, or that alternate.
fn segments(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let (run, documents, rises) = (draw.size(1, 30), draw.size(1, 4), draw.one_in(2));
    let id = |t: u32| match rises {
        true => (t / run) as i32 - 1,
        false => (t / run * 7 % documents) as i32,
    };
    let ids = |len: u32| (0..shape.batch * len).map(|n| id(n % len)).collect();
    let (q, k) = (ids(shape.q_len), ids(shape.kv_len));
    case.problem.mask.segments = Some(match draw.one_in(2) {
        true => Segments::Host { q, k },
        false => {
            (case.values.segments_q, case.values.segments_k) = (Some(q), Some(k));
            Segments::Device
        }
    });
}

fn blocks(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let grid = grid(draw, &shape);
    if draw.one_in(4) {
        case.problem.mask.blocks = Some(Blocks::Select(select(draw, &grid)));
        return;
    }
    let mask = match draw.one_in(2) {
        true => BlockMask::from_pattern(grid, &pattern(draw)),
        false => pairs(draw, grid),
    };
    let mask = mask.expect("a legal grid");
    case.problem.mask.blocks = Some(match draw.one_in(3) {
        true => {
            let least = mask.longest_list().saturating_sub(1).max(1);
            let lists = DeviceBlocks::new(
                grid,
                draw.size(least.min(grid.kv_blocks()), grid.kv_blocks()),
            );
            case.values.block_lists = Some(lists.encode(&mask).expect("the mask's own grid"));
            Blocks::Device(lists)
        }
        false => mask.into(),
    });
}

fn grid(draw: &mut Draw, shape: &Shape) -> BlockGrid {
    let mut grid = BlockGrid::of(draw.pick(&[16, 16, 32, 48, 64, 128]), shape);
    if draw.one_in(3) {
        grid.batch = 1;
    }
    if draw.one_in(3) {
        grid.heads = 1;
    }
    grid
}

fn select(draw: &mut Draw, grid: &BlockGrid) -> Select {
    let mut select = Select::new(grid.side, draw.size(1, grid.kv_blocks()));
    select.by = draw.pick(&[SelectBy::Mean, SelectBy::MinMax]);
    select.local = draw.size(0, 2);
    select
}

fn pattern(draw: &mut Draw) -> Pattern {
    match draw.size(0, 6) {
        0 => Pattern::sliding_window(draw.size(0, 60), draw.size(0, 9)),
        1 => Pattern::dilated_window(draw.size(1, 9), draw.size(1, 5)),
        2 => Pattern::strided(draw.size(1, 20)),
        3 => Pattern::fixed(draw.size(4, 20), draw.size(1, 3)),
        4 => Pattern::longformer(draw.size(0, 20), [0, draw.size(1, 50)]),
        5 => Pattern::big_bird(1, 1, 2, draw.word()),
        _ => Pattern::sinks_and_window(draw.size(0, 9), draw.size(0, 40)),
    }
}

/// Some blocks full, some empty, the others partial or not.
fn pairs(draw: &mut Draw, grid: BlockGrid) -> wgpu_attention::Result<BlockMask> {
    let (side, bits, turn) = (grid.side, draw.one_in(2), draw.size(0, 3));
    BlockMask::from_fn(grid, |b, h, i, j| {
        match (b + h + 2 * (i / side) + 3 * (j / side) + turn) % 4 {
            1 => true,
            3 => false,
            _ => !bits || (i * 5 + j * 3 + h) % 7 < 4,
        }
    })
}
