//! Ragged batches: sequences one after the other, as the tensors cu_seqlens_q and cu_seqlens_k tell.

use anyhow::{Result, bail, ensure};
use wgpu_attention::Problem;
use wgpu_attention::problem::MAX_LEN;

use crate::input::integers;
use crate::tensors::TensorFile;

/// What has a value for each pair, whose rows and columns are not those of a sequence.
const OF_PAIRS: [&str; 3] = ["bias", "mask", "blocks"];

/// Makes sequences of a problem's tokens, where the file says so.
pub fn configure(problem: Problem, file: &TensorFile) -> Result<Problem> {
    let (q, k) = match (starts(file, "cu_seqlens_q")?, starts(file, "cu_seqlens_k")?) {
        (None, None) => return Ok(problem),
        (Some(q), Some(k)) => (q, k),
        (Some(_), None) => bail!(
            "cu_seqlens_q needs cu_seqlens_k, which says where each sequence's keys begin; add it to the file, or remove \
             cu_seqlens_q"
        ),
        (None, Some(_)) => bail!(
            "cu_seqlens_k needs cu_seqlens_q, which says where each sequence's queries begin; add it to the file, or \
             remove cu_seqlens_k"
        ),
    };
    ensure!(
        file.get("kv_lens").is_none(),
        "kv_lens does not go with cu_seqlens_k, which says how many keys a sequence has; leave one of the two out"
    );
    for name in OF_PAIRS {
        ensure!(
            file.get(name).is_none(),
            "{name} has a value for each pair, and does not go with cu_seqlens_q; leave it out, or give each sequence a \
             file of its own"
        );
    }
    let batch = problem.shape.batch;
    ensure!(
        batch == 1,
        "q has {batch} batches, but cu_seqlens_q makes sequences of one; give q of shape [1, Hq, tokens, D], and k and v \
         likewise"
    );
    Ok(problem.ragged(q, k)?)
}

fn starts(file: &TensorFile, name: &str) -> Result<Option<Vec<u32>>> {
    let Some(tensor) = file.get(name) else {
        return Ok(None);
    };
    let &[count] = tensor.shape else {
        bail!(
            "{name} has shape {:?}; give it one axis, [S + 1]: where each of S sequences begins, and where the last ends",
            tensor.shape
        );
    };
    let sizes = [u32::try_from(count).unwrap_or(u32::MAX)];
    let numbers = integers(file, name, "start a sequence", &sizes, 0..=MAX_LEN.into())?;
    Ok(numbers.map(|starts| starts.into_iter().map(|x| x as u32).collect()))
}
