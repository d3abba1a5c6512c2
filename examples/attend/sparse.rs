//! The tensors of a file that say which pairs are visible: blocks and documents.

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::Dtype;
use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, MAX_BLOCK, MIN_BLOCK, Segments};
use wgpu_attention::{Problem, Shape};

use crate::input::integers;
use crate::tensors::{Tensor, TensorFile};

/// Puts blocks of this side and documents into a problem's mask.
pub fn configure(problem: &mut Problem, file: &TensorFile, side: Option<u32>) -> Result<()> {
    let shape = problem.shape;
    problem.mask.blocks = blocks(file, side, &shape)?;
    problem.mask.segments = segments(file, &shape)?;
    Ok(())
}

fn blocks(file: &TensorFile, side: Option<u32>, shape: &Shape) -> Result<Option<Blocks>> {
    let (tensor, side) = match (file.get("blocks"), side) {
        (None, None) => return Ok(None),
        (Some(tensor), Some(side)) => (tensor, side),
        (Some(_), None) => bail!(
            "the tensor blocks needs the side of a block; give --block-size, or remove the tensor"
        ),
        (None, Some(_)) => {
            bail!("--block-size needs a tensor blocks; add it to the file, or leave the option out")
        }
    };
    ensure!(
        side.is_multiple_of(MIN_BLOCK) && (MIN_BLOCK..=MAX_BLOCK).contains(&side),
        "--block-size is {side}; give a multiple of {MIN_BLOCK} from {MIN_BLOCK} to {MAX_BLOCK}"
    );
    ensure!(
        tensor.dtype == Dtype::U8,
        "blocks is of type {}; convert it to U8",
        tensor.dtype
    );
    let grid = grid(&tensor, side, shape)?;
    // Without a block there is no pair to hide.
    if tensor.bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(BlockMask::from_blocks(grid, tensor.bytes)?.into()))
}

/// How a `[B|1, Hq|1, ⌈Nq/side⌉, ⌈Nk/side⌉]` cuts the pairs.
fn grid(tensor: &Tensor, side: u32, shape: &Shape) -> Result<BlockGrid> {
    let whole = BlockGrid::of(side, shape);
    let [b, h] = [whole.batch as usize, whole.heads as usize];
    let [q, k] = [whole.q_blocks() as usize, whole.kv_blocks() as usize];
    let wanted = || {
        format!(
            "blocks has shape {:?}; give [{b} or 1, {h} or 1, {q}, {k}] for --block-size {side}, \
             [B|1, Hq|1, ⌈Nq/{side}⌉, ⌈Nk/{side}⌉]",
            tensor.shape
        )
    };
    let &[batch, heads, rows, columns] = tensor.shape else {
        bail!(wanted());
    };
    let broadcasts = |n, size| n == size || n == 1;
    ensure!(
        broadcasts(batch, b) && broadcasts(heads, h) && [rows, columns] == [q, k],
        wanted()
    );
    let (batch, heads) = (batch as u32, heads as u32);
    Ok(BlockGrid {
        batch,
        heads,
        ..whole
    })
}

fn segments(file: &TensorFile, shape: &Shape) -> Result<Option<Segments>> {
    let [q, k] = [("segments_q", shape.q_len), ("segments_k", shape.kv_len)]
        .map(|(name, len)| documents(file, name, [shape.batch, len]));
    let (q, k) = match (q?, k?) {
        (None, None) => return Ok(None),
        (q, k) => (
            q.context("segments_k needs segments_q; add it to the file, or remove segments_k")?,
            k.context("segments_q needs segments_k; add it to the file, or remove segments_q")?,
        ),
    };
    Ok(Some(Segments::Host { q, k }))
}

fn documents(file: &TensorFile, name: &str, sizes: [u32; 2]) -> Result<Option<Vec<i32>>> {
    let ids = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let numbers = integers(file, name, "document a token", &sizes, ids)?;
    Ok(numbers.map(|ids| ids.into_iter().map(|x| x as i32).collect()))
}
