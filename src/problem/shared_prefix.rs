//! Keys that all batches have in common.

use crate::error::{Error, Result};

use super::{Lengths, Offsets, Prefix, Problem};

impl Problem {
    /// Refuses a shared prefix of which some query, as far as the host knows, does not see all keys.
    pub(super) fn validate_shared_prefix(&self) -> Result<()> {
        let (shape, shared) = (&self.shape, self.shared_prefix);
        let refuse = |allowed| Err(Error::size("shared_prefix", shared, allowed));
        if shared > shape.kv_len {
            return refuse(format!("at most kv_len = {}", shape.kv_len));
        }
        if shared == 0 {
            return Ok(());
        }
        // Of a ragged batch each sequence has an offset of its own.
        let known = self.resolved();
        for b in 0..shape.batch.min(known.distinct_batches()) {
            let len = known.mask.len(&known.shape, b);
            if let Some(len) = len.filter(|&len| len < shared) {
                return refuse(format!("at most {len}, the keys of batch {b} (kv_lens)"));
            }
            let visible = known.least_visible(b);
            if let Some(visible) = visible.filter(|&visible| visible < i64::from(shared)) {
                return refuse(format!(
                    "at most {}, the keys that the first query of batch {b} sees (q_offset)",
                    visible.max(0)
                ));
            }
        }
        Ok(())
    }

    /// Batches of which the host may know something that it does not know of the first.
    fn distinct_batches(&self) -> u32 {
        let mask = &self.mask;
        let lens = matches!(mask.kv_lens, Lengths::Host(_));
        let offsets = matches!(mask.q_offset, Offsets::Host(_));
        match lens || offsets || matches!(mask.prefix, Prefix::Host(_)) {
            true => self.shape.batch,
            false => 1,
        }
    }

    /// Keys from the beginning on that a causal mask shows to the first query of batch `b`, and a tree to every draft, where
    /// the host knows it.
    fn least_visible(&self, b: u32) -> Option<i64> {
        if !self.mask.ends_at_own() {
            return None;
        }
        let offset = self.mask.offset(&self.shape, b)?;
        if self.mask.tree.is_some() {
            return Some(offset);
        }
        let first = offset + i64::from(self.slice().q.start);
        let exempt = self.mask.prefix_of(b)?;
        Some(i64::from(exempt).max(first + 1))
    }
}
