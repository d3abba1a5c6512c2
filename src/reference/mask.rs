//! Which pairs are visible, in coordinates of the whole problem. A new kind of mask is one more condition here.

use crate::problem::{
    Blocks, Lengths, MAX_LEN, Mask, MaskBits, Offsets, Prefix, Problem, Segments, Tree, Window,
};

use super::Tensors;

/// Whether query `i` of head `h` in batch `b` sees key `j`. Slices play no part.
pub fn visible(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> bool {
    let mask = &problem.mask;
    let stand = diagonal(problem, tensors, b, i);
    j < len(problem, tensors, b)
        && (!mask.causal || i64::from(j) <= stand || j < prefix(problem, tensors, b))
        && window(mask, stand, j)
        && segments(problem, tensors, b, i, j)
        && blocks(problem, tensors, b, h, i, j)
        && dense(problem, tensors, [b, h, i, j])
        && tree(problem, tensors, b, i, j)
}

/// Pairs whose bit is set.
fn dense(problem: &Problem, tensors: &Tensors, pair: [u32; 4]) -> bool {
    let Some(mask) = &problem.mask.dense else {
        return true;
    };
    match &mask.bits {
        MaskBits::Host(words) => mask.sees(words, pair),
        MaskBits::Device => mask.sees(device(tensors.mask, "mask"), pair),
    }
}

/// Keys before the drafts, and of the drafts' own those of the query's branch.
fn tree(problem: &Problem, tensors: &Tensors, b: u32, i: u32, j: u32) -> bool {
    let Some(tree) = &problem.mask.tree else {
        return true;
    };
    let node = i64::from(j) - offset(problem, tensors, b);
    let q_len = problem.shape.q_len;
    if !(0..=i64::from(i)).contains(&node) {
        return node < 0;
    }
    match tree {
        Tree::Host(parents) => {
            let parents = &parents[(b * q_len) as usize..];
            let mut branch = std::iter::successors(Some(i64::from(i)), |&n| {
                Some(i64::from(parents[n as usize])).filter(|&parent| parent >= 0)
            });
            branch.any(|n| n == node)
        }
        Tree::Device => {
            let words = device(tensors.tree, "tree");
            let word = words[4 * (b * q_len + i) as usize + node as usize / 32];
            word >> (node % 32) & 1 == 1
        }
    }
}

/// Tokens of one document.
fn segments(problem: &Problem, tensors: &Tensors, b: u32, i: u32, j: u32) -> bool {
    let (q, k) = match &problem.mask.segments {
        None => return true,
        Some(Segments::Host { q, k }) => (q.as_slice(), k.as_slice()),
        Some(Segments::Device) => (
            device(tensors.segments_q, "segments_q"),
            device(tensors.segments_k, "segments_k"),
        ),
    };
    q[(b * problem.shape.q_len + i) as usize] == k[(b * problem.shape.kv_len + j) as usize]
}

/// Pairs of the listed blocks.
fn blocks(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> bool {
    match &problem.mask.blocks {
        None => true,
        Some(Blocks::Host(blocks)) => blocks.sees(b, h, i, j),
        Some(Blocks::Device(lists)) => {
            let grid = &lists.grid;
            let (b, h) = (b.min(grid.batch - 1), h.min(grid.heads - 1));
            let n = (b * grid.heads + h) * grid.q_blocks() + i / grid.side;
            let list = lists.list(device(tensors.block_lists, "block_lists"), n as usize);
            list.iter().any(|&(block, _)| block == j / grid.side)
        }
        Some(Blocks::Select(_)) => panic!("blocks are to be chosen: ask reference::selected first"),
    }
}

/// Keys that every query sees beneath a causal mask: those of batch `b`.
fn prefix(problem: &Problem, tensors: &Tensors, b: u32) -> u32 {
    match &problem.mask.prefix {
        Prefix::Same(keys) => *keys,
        Prefix::Host(prefixes) => prefixes[b as usize],
        Prefix::Device => device(tensors.prefix, "prefix")[b as usize],
    }
}

/// Keys near the query's own, both ends inclusive, and the first ones.
fn window(mask: &Mask, stand: i64, j: u32) -> bool {
    let Some(Window { left, right }) = mask.window else {
        return true;
    };
    let distance = i64::from(j) - stand;
    let near_left = left.is_none_or(|l| distance >= -i64::from(l));
    let near_right = right.is_none_or(|r| distance <= i64::from(r));
    (near_left && near_right) || j < mask.first
}

/// The key index at which query `i` of batch `b` stands.
pub(super) fn diagonal(problem: &Problem, tensors: &Tensors, b: u32, i: u32) -> i64 {
    offset(problem, tensors, b) + i64::from(i)
}

/// The keys of batch `b`. What the device holds is clamped to the keys there are.
pub(super) fn len(problem: &Problem, tensors: &Tensors, b: u32) -> u32 {
    let all = problem.shape.kv_len;
    match &problem.mask.kv_lens {
        Lengths::All => all,
        Lengths::Host(lens) => lens[b as usize],
        Lengths::Device => device(tensors.kv_lens, "kv_lens")[b as usize].min(all),
    }
}

/// The key index at which query 0 of batch `b` stands. What the device holds is clamped to the host's range.
fn offset(problem: &Problem, tensors: &Tensors, b: u32) -> i64 {
    let shape = &problem.shape;
    let limit = MAX_LEN as i32;
    match &problem.mask.q_offset {
        Offsets::BottomRight => i64::from(shape.kv_len) - i64::from(shape.q_len),
        Offsets::Host(offsets) => i64::from(offsets[b as usize]),
        Offsets::Device => {
            let raw = device(tensors.q_offset, "q_offset")[b as usize];
            i64::from(raw.clamp(-limit, limit))
        }
    }
}

fn device<'a, T>(values: Option<&'a [T]>, name: &str) -> &'a [T] {
    values.unwrap_or_else(|| panic!("the problem takes {name} from the device: give its values"))
}
