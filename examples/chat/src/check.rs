//! What was written against one full pass over it, with attention on the CPU.

use anyhow::Result;

use crate::generate::Writer;
use crate::model::{Model, Wanted};
use crate::plain::Plain;
use crate::sample::likeliest;

/// How far logits are from those of the full pass.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Tokens that were looked at.
    pub rows: usize,
    /// The largest difference of a logit.
    pub largest: f32,
    /// The largest logit, for a measure.
    pub of: f32,
    /// Tokens that were the likeliest of both.
    pub same_likeliest: usize,
}

/// Reads the whole text at once and compares the logits that its last tokens came from.
pub fn check(model: &Model, writer: &Writer<'_>) -> Result<Difference> {
    let kept = writer.kept_logits.as_deref().unwrap_or_default();
    let text = writer.text();
    let (until, vocabulary) = (text.len().saturating_sub(1), model.config.vocabulary);
    let mut plain = Plain::new(&model.config);
    let from = until - kept.len().min(until);
    // The head is dear: only the rows that are compared.
    model.forward(&text[..from], &mut plain, Wanted::None)?;
    let logits = model.forward(&text[from..until], &mut plain, Wanted::All)?;
    let mut difference = Difference {
        rows: kept.len(),
        largest: 0.0,
        of: 0.0,
        same_likeliest: 0,
    };
    for (kept, full) in kept.iter().zip(logits.chunks_exact(vocabulary)) {
        let pairs = kept.iter().zip(full);
        let far = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        difference.largest = difference.largest.max(far);
        difference.of = full.iter().fold(difference.of, |of, x| of.max(x.abs()));
        difference.same_likeliest += usize::from(likeliest(kept) == likeliest(full));
    }
    Ok(difference)
}
