//! Which pairs are visible beyond intervals: blocks and documents of a file, and blocks chosen from the input.

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use safetensors::tensor::Dtype;
use wgpu_attention::Role;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, Coverage, DeviceBlocks, MAX_BLOCK, MIN_BLOCK, Segments, Select,
    SelectBy, Tree,
};
use wgpu_attention::{Plan, Problem, Shape};

use crate::calls::Calls;
use crate::dense;
use crate::device::Gpu;
use crate::input::integers;
use crate::output;
use crate::score;
use crate::tensors::{Tensor, TensorFile};
use crate::values::count;

/// The side of blocks that are chosen, where none is given.
const SIDE: u32 = 64;

/// The options of a choice of blocks.
#[derive(Clone, Debug, clap::Args)]
pub struct SelectArgs {
    /// Keeps K blocks of keys for each block of queries and head, chosen from q and k; writes them as blocks
    #[arg(long, value_name = "K", value_parser = count, allow_negative_numbers = true)]
    pub top_k: Option<u32>,
    /// What of a block of keys is compared with a block of queries' mean: its mean, or its least and largest values
    #[arg(long, value_enum, default_value = "mean", requires = "top_k")]
    select: By,
    /// Blocks before the diagonal that are always kept
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = count,
        requires = "top_k",
        allow_negative_numbers = true
    )]
    local: u32,
    /// Prints the share of the whole attention that the kept blocks hold
    #[arg(long, requires = "top_k")]
    pub coverage: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Mean,
    Minmax,
}

impl SelectArgs {
    /// Puts the choice into a problem's mask.
    pub fn configure(&self, problem: &mut Problem, side: Option<u32>) -> Result<()> {
        let Some(count) = self.top_k else {
            return Ok(());
        };
        problem.mask.blocks = Some(Blocks::Select(
            Select::new(side.unwrap_or(SIDE), count)
                .with_by(match self.select {
                    By::Mean => SelectBy::Mean,
                    By::Minmax => SelectBy::MinMax,
                })
                .with_local(self.local)
                .with_written(true),
        ));
        Ok(())
    }
}

/// The lists that a run writes.
pub fn chosen(problem: &Problem) -> Option<DeviceBlocks> {
    problem.mask.selected_blocks()?;
    problem.mask.device_blocks(&problem.shape)
}

/// `blocks` `[B, Hq, ⌈Nq/side⌉, ⌈Nk/side⌉]`, 1 where a block was kept.
pub fn result(lists: &DeviceBlocks) -> output::Tensor {
    let grid = &lists.grid;
    output::Tensor {
        name: "blocks",
        role: Role::BlockLists,
        dtype: Dtype::U8,
        shape: output::sizes(&[grid.batch, grid.heads, grid.q_blocks(), grid.kv_blocks()]),
    }
}

/// The bytes of [`result`] from the words on the device. Without queries or keys there are none.
pub fn matrix(lists: &DeviceBlocks, bytes: &[u8]) -> Vec<u8> {
    let mut words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes[..bytes.len() / 4 * 4]);
    words.resize(lists.words() as usize, 0);
    lists.matrix(&words)
}

/// Runs the problem without its choice of blocks, and compares.
pub fn coverage(
    gpu: &Gpu,
    problem: &Problem,
    inputs: &[(Role, &[u8])],
    lse: &[u8],
) -> Result<Coverage> {
    let mut dense = problem.clone();
    dense.mask.blocks = None;
    let plan: Plan = gpu.attention.plan(&dense)?;
    let calls = Calls::prepare(gpu, &[&plan], inputs)?;
    calls.run(gpu)?;
    let rows = problem.shape.rows() as usize * 4;
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&bytes[..rows.min(bytes.len())])
    };
    let whole = calls.download(gpu, Role::Lse)?;
    Ok(Coverage::of(&floats(lse), &floats(&whole))?)
}

/// Puts blocks of this side, documents and a boolean mask into a problem's mask. `chooses` says that the side is that of a choice.
pub fn configure(
    problem: &mut Problem,
    file: &TensorFile,
    side: Option<u32>,
    chooses: bool,
) -> Result<()> {
    let shape = problem.shape;
    ensure!(
        !chooses || file.get("blocks").is_none(),
        "--top-k chooses blocks, and the tensor blocks gives them; leave one of the two out"
    );
    problem.mask.blocks = blocks(file, side.filter(|_| !chooses), &shape)?;
    problem.mask.segments = segments(file, score::tokens(problem))?;
    problem.mask.tree = tree(file, &shape)?;
    problem.mask.dense = file
        .get("mask")
        .map(|t| dense::mask(&t, &shape))
        .transpose()?;
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
            bail!(
                "--block-size needs a tensor blocks; add it to the file, give --top-k, or leave the option out"
            )
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
    Ok(whole.with_batch(batch).with_heads(heads))
}

fn segments(file: &TensorFile, [q, k]: [[u32; 2]; 2]) -> Result<Option<Segments>> {
    let [q, k] =
        [("segments_q", q), ("segments_k", k)].map(|(name, sizes)| documents(file, name, sizes));
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
    narrow(file, name, "document per token", sizes)
}

/// Parents; that they come before their children is the library's to check.
fn tree(file: &TensorFile, shape: &Shape) -> Result<Option<Tree>> {
    let parents = narrow(file, "tree", "parent a query", [shape.batch, shape.q_len])?;
    Ok(parents.map(Tree::Host))
}

fn narrow(file: &TensorFile, name: &str, each: &str, sizes: [u32; 2]) -> Result<Option<Vec<i32>>> {
    let all = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let numbers = integers(file, name, each, &sizes, all)?;
    Ok(numbers.map(|all| all.into_iter().map(|x| x as i32).collect()))
}
