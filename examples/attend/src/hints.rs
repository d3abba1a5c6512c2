//! What people give in the place of what is read: masks under other names, types and shapes.

use anyhow::{Result, ensure};
use wgpu_attention::Shape;

use crate::tensors::Tensor;

/// How padding is said here.
const PADDING: &str = "padding behind a sequence is the tensor kv_lens [B], the tokens that are there; padding before \
                       one is segments_q [B, Nq] and segments_k [B, Nk]";

/// What to do about a tensor that nothing reads.
pub fn unknown(name: &str) -> String {
    match name.to_lowercase().contains("mask") {
        true => format!(
            "{PADDING}; any other mask is the tensor mask, BOOL or U8 [B|1, Hq|1, Nq|1, Nk], not 0 where a pair is visible, \
             or the tensor bias, 0 where it is visible and -inf where it is hidden"
        ),
        false => "remove it or correct its name".into(),
    }
}

/// A bias that is a mask of another library's.
pub fn check_bias(bias: &Tensor, shape: &Shape) -> Result<()> {
    let padding = [shape.batch as usize, shape.kv_len as usize];
    ensure!(
        bias.shape != padding,
        "bias has shape {padding:?}, a value for each key, where [B, 1, 1, Nk] is one; {PADDING}"
    );
    Ok(())
}
