//! The blocks that a call chooses, by definition: means and extremes of live rows, sorted by score.

use crate::problem::{BlockGrid, BlockMask, Problem, Select, SelectBy};

use super::position::Rotated;
use super::{Tensors, dot, mask};

/// For each batch, query head and block of queries (the last runs fastest) the blocks of keys that are kept, ascending.
///
/// # Panics
///
/// When the problem selects no blocks.
pub fn selection(problem: &Problem, tensors: &Tensors) -> Vec<Vec<u32>> {
    let select = problem
        .mask
        .selected_blocks()
        .expect("a problem that selects blocks");
    let rotated = Rotated::new(problem, tensors);
    let tensors = &rotated.view(tensors);
    let grid = BlockGrid::of(select.side, &problem.shape);
    // The masks beside the choice.
    let mut others = problem.clone();
    others.mask.blocks = None;
    let mut lists = Vec::with_capacity(grid.lists());
    for b in 0..grid.batch {
        for h in 0..grid.heads {
            for i in 0..grid.q_blocks() {
                lists.push(kept(&others, tensors, select, &grid, (b, h, i)));
            }
        }
    }
    lists
}

/// The problem with its choice of blocks made: what the host would have listed.
pub fn selected(problem: &Problem, tensors: &Tensors) -> Problem {
    let mut made = problem.clone();
    if let Some(select) = problem.mask.selected_blocks() {
        let grid = BlockGrid::of(select.side, &problem.shape);
        let mask = BlockMask::from_lists(grid, &selection(problem, tensors));
        made.mask.blocks = Some(mask.expect("lists of the grid's blocks, each once").into());
    }
    made
}

fn kept(
    problem: &Problem,
    tensors: &Tensors,
    select: &Select,
    grid: &BlockGrid,
    (b, h, i): (u32, u32, u32),
) -> Vec<u32> {
    let rows = |block: u32, len: u32| block * select.side..((block + 1) * select.side).min(len);
    let queries = rows(i, grid.q_len);
    let mean = |rows: &[&[f64]]| -> Vec<f64> {
        let channel = |c: usize| rows.iter().map(|row| row[c]).sum::<f64>() / rows.len() as f64;
        (0..problem.shape.head_dim as usize).map(channel).collect()
    };
    let q_rows: Vec<_> = queries
        .clone()
        .map(|i| tensors.query(problem, b, h, i))
        .collect();
    let q_mean = mean(&q_rows);
    let len = mask::len(problem, tensors, b);

    let score = |block: u32| -> f64 {
        let keys = rows(block, len);
        let k_rows: Vec<_> = keys.map(|j| tensors.key(problem, b, h, j)).collect();
        match select.by {
            SelectBy::Mean => dot(&q_mean, &mean(&k_rows)),
            SelectBy::MinMax => (0..q_mean.len())
                .map(|c| {
                    let products = k_rows.iter().map(|row| q_mean[c] * row[c]);
                    products.fold(f64::NEG_INFINITY, f64::max)
                })
                .sum(),
        }
    };
    let visible = |block: &u32| {
        queries
            .clone()
            .any(|i| rows(*block, grid.kv_len).any(|j| mask::visible(problem, tensors, b, h, i, j)))
    };
    let side = i64::from(select.side);
    let diagonal = |i| mask::diagonal(problem, tensors, b, i);
    let (first, last) = (
        diagonal(queries.start).max(0),
        diagonal(queries.end - 1).min(i64::from(grid.kv_len) - 1),
    );
    let forced = |block: u32| {
        let block = i64::from(block);
        let near = first <= last
            && block >= first / side - i64::from(select.local)
            && block <= last / side;
        block == 0 || near
    };

    let competing: Vec<u32> = (0..grid.kv_blocks()).filter(visible).collect();
    let (mut list, mut rest): (Vec<u32>, Vec<u32>) =
        competing.into_iter().partition(|&block| forced(block));
    // A stable sort: of equal scores the lower block comes first. A NaN is above all.
    let rank = |&block: &u32| {
        let score = score(block);
        (score.is_nan(), score)
    };
    let mut ranked: Vec<_> = rest.drain(..).map(|block| (rank(&block), block)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    let room = (select.count as usize).saturating_sub(list.len());
    list.extend(ranked.into_iter().take(room).map(|(_, block)| block));
    list.sort_unstable();
    list
}
