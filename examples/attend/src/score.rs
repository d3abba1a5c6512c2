//! The tensors of a file that say where tokens stand, and what is added to scores.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use safetensors::tensor::Dtype;
use wgpu_attention::problem::{MAX_POSITION, Positions, T5Bias, Values};
use wgpu_attention::{Problem, Shape};

use crate::dense;
use crate::hints;
use crate::input::integers;
use crate::position::PositionArgs;
use crate::tensors::{Tensor, TensorFile};

/// Puts slopes, sinks, T5's table, positions and the bias's layout into a problem.
pub fn configure(problem: &mut Problem, file: &TensorFile, args: &PositionArgs) -> Result<()> {
    let shape = problem.shape;
    let [q_tokens, k_tokens] = tokens(problem);
    let (score, position) = (&mut problem.score, &mut problem.position);
    if let Some(tensor) = file.get("slopes") {
        score.slopes_per_batch = are_per_batch(&tensor, &shape)?;
        score.slopes = Some(values(&tensor)?);
    }
    score.sinks = sinks(file, &shape)?;
    score.t5 = t5(file, args, &shape)?;
    if let Some(bias) = file.get("bias") {
        hints::check_bias(&bias, &shape)?;
        score.bias = Some(dense::layout(&bias, &shape)?);
        score.bias_element = dense::bias_element(&bias);
    }
    position.q_positions = positions(file, "q_positions", q_tokens)?;
    position.k_positions = positions(file, "k_positions", k_tokens)?;
    Ok(())
}

/// Batches and tokens of queries and of keys, as they lie in the file: a ragged batch is one there.
pub fn tokens(problem: &Problem) -> [[u32; 2]; 2] {
    [problem.q_sizes(), problem.kv_sizes()].map(|[batch, _, tokens]| [batch, tokens])
}

/// The numbers of an F32 or I32 tensor as f32: as they lie in the file, or converted.
pub fn f32_bytes<'a>(tensor: &Tensor<'a>) -> Result<Cow<'a, [u8]>> {
    Ok(match tensor.dtype {
        Dtype::F32 => Cow::Borrowed(tensor.bytes),
        _ => (tensor.numbers()?.into_iter())
            .flat_map(|x| (x as f32).to_le_bytes())
            .collect(),
    })
}

/// Whether slopes are `[B, Hq]`, and not `[Hq]`.
fn are_per_batch(slopes: &Tensor, shape: &Shape) -> Result<bool> {
    let (batch, heads) = (shape.batch as usize, shape.q_heads as usize);
    let per_batch = slopes.shape.len() > 1;
    let fits = match per_batch {
        true => *slopes.shape == [batch, heads],
        false => *slopes.shape == [heads],
    };
    ensure!(
        fits,
        "slopes has shape {:?}; give it one value per query head, [{heads}], or per batch and head, [{batch}, {heads}]",
        slopes.shape
    );
    Ok(per_batch)
}

fn sinks(file: &TensorFile, shape: &Shape) -> Result<Option<Values>> {
    let Some(tensor) = file.get("sinks") else {
        return Ok(None);
    };
    ensure!(
        tensor.shape == [shape.q_heads as usize],
        "sinks has shape {:?}; give it one value per query head, [{}]",
        tensor.shape,
        shape.q_heads
    );
    values(&tensor).map(Some)
}

fn t5(file: &TensorFile, args: &PositionArgs, shape: &Shape) -> Result<Option<T5Bias>> {
    let Some(tensor) = file.get("t5") else {
        return Ok(None);
    };
    let (heads, sizes) = (shape.q_heads as usize, tensor.shape);
    ensure!(
        sizes.len() == 2 && sizes[1] == heads,
        "t5 has shape {sizes:?}; give it one row per bucket, [buckets, {heads}]"
    );
    let buckets = args.buckets(u32::try_from(sizes[0]).unwrap_or(u32::MAX))?;
    let table = values(&tensor)?;
    Ok(Some(T5Bias::new(buckets, table)))
}

fn values(tensor: &Tensor) -> Result<Values> {
    let numbers = tensor.numbers()?;
    Ok(Values::Host(
        numbers.into_iter().map(|x| x as f32).collect(),
    ))
}

fn positions(file: &TensorFile, name: &str, sizes: [u32; 2]) -> Result<Positions> {
    let reach = i64::from(MAX_POSITION);
    let numbers = integers(file, name, "position per token", &sizes, -reach..=reach)?;
    Ok(numbers.map_or(Positions::Index, |numbers| {
        Positions::Host(numbers.into_iter().map(|x| x as i32).collect())
    }))
}
