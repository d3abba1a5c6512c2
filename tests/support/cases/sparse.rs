//! What a setting adds to every case's mask: lists of blocks, bits inside of them, documents, a bit per pair, a tree.

use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, DenseMask, DeviceBlocks, MAX_TREE_QUERIES, Problem, Segments,
    Tree,
};

use super::{Case, Setting};

/// Adds the setting's parts of the mask.
pub fn apply(setting: &Setting, case: &mut Case) {
    let problem = &mut case.problem;
    let shape = problem.shape;
    if let Some(side) = setting.block {
        let mask = blocks(side, setting.bits, problem);
        problem.mask.blocks = Some(match setting.block_lists {
            true => device(&mask, &mut case.values.block_lists),
            false => Blocks::from(mask),
        });
    }
    if setting.segments {
        let ids = |len: u32| (0..shape.batch * len).map(|n| (n * 7 % 3) as i32).collect();
        problem.mask.segments = Some(Segments::Host {
            q: ids(shape.q_len),
            k: ids(shape.kv_len),
        });
    }
    if setting.dense_mask {
        dense(case);
    }
    if setting.tree && shape.q_len <= MAX_TREE_QUERIES {
        tree(case);
    }
}

/// Chains, bushes and forests by turns; who holds them goes by the case's sizes.
fn tree(case: &mut Case) {
    let shape = case.problem.shape;
    let parent = |n: u32| {
        let (b, i) = (n / shape.q_len, n % shape.q_len);
        [i, i / 2, i * i % (i + 1), 0][((b + i) % 4) as usize] as i32 - 1
    };
    let parents: Vec<i32> = (0..shape.batch * shape.q_len).map(parent).collect();
    case.problem.mask.tree = Some(match shape.kv_len.is_multiple_of(2) {
        true => on_device(&parents, case),
        false => Tree::Host(parents),
    });
}

/// The same tree in the case's buffer.
pub fn on_device(parents: &[i32], case: &mut Case) -> Tree {
    let words = Tree::words(case.problem.shape.q_len, parents);
    case.values.tree = Some(words.expect("a legal tree"));
    Tree::Device
}

/// About two pairs of three; the axes that are broadcast go by the case's sizes, as does who holds the bits.
fn dense(case: &mut Case) {
    let shape = case.problem.shape;
    let shared = |shares: bool, size: u32| if shares { 1 } else { size };
    let sizes = [
        shared(shape.kv_len.is_multiple_of(3), shape.batch),
        shared(shape.kv_len % 3 == 1, shape.q_heads),
        shared(shape.kv_len.is_multiple_of(5), shape.q_len),
    ];
    let pairs = sizes.iter().product::<u32>() * shape.kv_len;
    let visible: Vec<bool> = (0..pairs).map(|n| n * n % 11 % 3 != 1).collect();
    case.problem.mask.dense = Some(match shape.q_len.is_multiple_of(2) {
        true => {
            case.values.mask = Some(DenseMask::pack(shape.kv_len, &visible));
            DenseMask::device(sizes, shape.kv_len)
        }
        false => DenseMask::from_bools(sizes, shape.kv_len, &visible).expect("as many bools"),
    });
}

/// Some blocks full, some empty, the others partial where there are to be bits; a list per head where heads are even.
fn blocks(side: u32, bits: bool, problem: &Problem) -> BlockMask {
    let mut grid = BlockGrid::of(side, &problem.shape);
    if grid.heads % 2 == 1 {
        (grid.batch, grid.heads) = (1, 1);
    }
    let visible =
        |b: u32, h: u32, i: u32, j: u32| match (b + h + 2 * (i / side) + 3 * (j / side)) % 4 {
            1 => true,
            3 => false,
            _ => !bits || (i * 5 + j * 3 + h) % 7 < 4,
        };
    BlockMask::from_fn(grid, visible).expect("a legal grid")
}

/// The same lists on the device, which has no room for the longest ones: these stand for every block.
fn device(mask: &BlockMask, words: &mut Option<Vec<u32>>) -> Blocks {
    let lists = DeviceBlocks::new(
        *mask.grid(),
        mask.longest_list()
            .saturating_sub(1)
            .max(1)
            .min(mask.grid().kv_blocks()),
    );
    *words = Some(lists.encode(mask).expect("the mask's own grid"));
    Blocks::Device(lists)
}
