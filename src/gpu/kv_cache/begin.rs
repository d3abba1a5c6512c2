//! New tokens: what is recorded before their appends and attention calls.

use crate::cache::{Sequence, Span, Update};
use crate::error::{Error, Result};
use crate::gpu::staging::Run;
use crate::problem::MAX_POSITION;
use crate::problem::position::{Rotary, Side, Table};

use super::{KvCache, table_columns};

impl KvCache {
    /// Makes room for so many new tokens of each sequence, and records what appends and attention calls after it read:
    /// lengths, pages, rotary rows. Answers the row of the batch that each sequence has in those calls; rows of sequences
    /// that are not named see no key. A sequence with fewer new tokens than the cache's `q_len` has them first; of ragged calls
    /// ([`KvCacheOptions::tokens`](crate::KvCacheOptions)) the tokens lie row by row, without gaps.
    ///
    /// # Errors
    ///
    /// As [`Sequences::append`](crate::cache::Sequences::append), and [`Error::Positions`] where xPos does not reach; nothing is
    /// recorded then, and the cache is as it was.
    pub fn begin(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        new: &[(Sequence, u32)],
    ) -> Result<Vec<u32>> {
        let by_index = |span: &Span| (span.start as i32..).take(span.count as usize).collect();
        self.begin_spans(encoder, new, |_, span| by_index(span))
    }

    /// The same of tokens that do not stand one behind the other: a position for each. Nodes of a tree of drafts that have
    /// one parent share theirs ([`DraftTree::positions`](crate::speculative::DraftTree::positions)). Only rotations go by
    /// them: of a cache without a scheme nothing does, and masks never.
    ///
    /// # Errors
    ///
    /// Those of [`Self::begin`], [`Error::Element`] for a position beyond [`MAX_POSITION`], and
    /// [`Error::PositionsOfCache`] of a cache whose keys are rotated as they are read, by their index.
    pub fn begin_at(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        new: &[(Sequence, &[i32])],
    ) -> Result<Vec<u32>> {
        let rotates = self.options.rotary.as_ref().is_some_and(Rotary::rotates);
        if rotates && !self.options.rotated {
            return Err(Error::PositionsOfCache);
        }
        for (_, positions) in new {
            let far = |p: &i32| p.unsigned_abs() > MAX_POSITION.unsigned_abs();
            if let Some(index) = positions.iter().position(far) {
                return Err(Error::Element {
                    what: "positions of new tokens",
                    index,
                    actual: positions[index].into(),
                    allowed: format!("-{MAX_POSITION} to {MAX_POSITION}"),
                });
            }
        }
        let count = |positions: &[i32]| u32::try_from(positions.len()).unwrap_or(u32::MAX);
        let counts: Vec<_> = new.iter().map(|&(of, at)| (of, count(at))).collect();
        self.begin_spans(encoder, &counts, |n, _| new[n].1.to_vec())
    }

    /// What may fail comes before what changes anything.
    fn begin_spans(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        new: &[(Sequence, u32)],
        positions: impl Fn(usize, &Span) -> Vec<i32>,
    ) -> Result<Vec<u32>> {
        let spans = self.sequences.spans(new)?;
        let rotations = self.rotations(&spans, positions)?;
        let update = self.sequences.append(new)?;
        for &copy in &update.copies {
            self.copy(encoder, copy);
        }
        let mut runs = self.length_runs(&update);
        runs.extend(self.page_runs(&update));
        let rotations = rotations.into_iter();
        runs.extend(rotations.map(|(row, words)| {
            let token = match self.options.tokens {
                Some(_) => update.cu_seqlens[row as usize],
                None => row * self.options.q_len,
            };
            let at = token * self.options.rotary_pairs() * 2;
            (&self.rotations, at, words)
        }));
        self.staging.record(&self.device, encoder, &runs);
        Ok(update.rows)
    }

    fn length_runs(&self, update: &Update) -> Vec<Run<'_>> {
        let offsets = update.q_offset.iter().map(|&offset| offset as u32);
        let mut runs = vec![
            (&self.kv_lens, 0, update.kv_lens.clone()),
            (&self.q_offset, 0, offsets.collect()),
        ];
        if self.options.tokens.is_some() {
            runs.push((&self.cu_seqlens, 0, update.cu_seqlens.clone()));
        }
        runs
    }

    /// The rows of the table that the call looks at, whatever was recorded before.
    fn page_runs(&self, update: &Update) -> Vec<Run<'_>> {
        let columns = table_columns(&self.options);
        let pages = update.pages.iter();
        let run = |(row, pages): &(u32, Vec<u32>)| (&self.page_table, row * columns, pages.clone());
        pages.map(run).collect()
    }

    /// The rotary rows of the new tokens, by rows of the batch.
    fn rotations(
        &self,
        spans: &[Span],
        positions: impl Fn(usize, &Span) -> Vec<i32>,
    ) -> Result<Vec<(u32, Vec<u32>)>> {
        let Some(rotary) = self.options.rotary_of_append() else {
            return Ok(Vec::new());
        };
        let spans = spans.iter().enumerate();
        let rows = spans.filter(|(_, span)| span.count > 0).map(|(n, span)| {
            let words = rotary_rows(rotary, &positions(n, span))?;
            Ok((span.row, words))
        });
        rows.collect()
    }
}

/// The rows of these positions, of a context that ends at the last of them, as bits.
fn rotary_rows(rotary: &Rotary, positions: &[i32]) -> Result<Vec<u32>> {
    let low = positions.iter().copied().min().unwrap_or_default();
    let high = positions.iter().copied().max().unwrap_or_default();
    let length = high.max(0) as u32 + 1;
    // One table for tokens that stand together; apart, one for each.
    let near = i64::from(high) - i64::from(low) <= 2 * positions.len() as i64;
    let all = match near {
        true => Some(Table::new(rotary, low..=high, length)?),
        false => None,
    };
    let mut words = Vec::new();
    for &position in positions {
        let own = match &all {
            Some(_) => None,
            None => Some(Table::new(rotary, position..=position, length)?),
        };
        for table in own.iter().chain(&all) {
            for side in [Side::Query, Side::Key] {
                let row = table.row(position, side).unwrap_or_default();
                if side == Side::Query || table.is_split() {
                    words.extend(row.iter().flatten().map(|x| x.to_bits()));
                }
            }
        }
    }
    Ok(words)
}
