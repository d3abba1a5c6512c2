//! New tokens: which rows of a call's batch they are, and which pages they take.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::problem::KvAddress;

use super::{Held, Sequence, Sequences};

/// What new tokens change on the device: numbers per row of the call's batch, and blocks (pages, or the room of a
/// sequence) that are to be copied before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Update {
    /// The row of the batch of each sequence that was named, in that order.
    pub rows: Vec<u32>,
    /// Lengths with the new tokens; 0 for rows that take no part.
    pub kv_lens: Vec<u32>,
    /// Lengths before.
    pub q_offset: Vec<i32>,
    /// Where each row's new tokens begin among those of all, row by row, and their number at the end.
    pub cu_seqlens: Vec<u32>,
    /// `(row, pages)` of rows that take part, of a paged cache.
    pub pages: Vec<(u32, Vec<u32>)>,
    /// `(from, to)`
    pub copies: Vec<(u32, u32)>,
}

/// The new tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Of the call's batch.
    pub row: u32,
    /// The first of them.
    pub start: u32,
    pub count: u32,
}

impl Sequences {
    /// Makes room for so many new tokens of each sequence.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfPages`], [`Error::Capacity`], [`Error::Sequence`], [`Error::Size`] for more sequences or tokens than a
    /// call takes. Nothing has changed then.
    pub fn append(&mut self, new: &[(Sequence, u32)]) -> Result<Update> {
        let spans = self.spans(new)?;
        let batch = self.options.batch as usize;
        let ring = match self.options.address() {
            KvAddress::Ring(ring) => ring.len,
            _ => u32::MAX,
        };
        let mut update = Update {
            kv_lens: vec![0; batch],
            q_offset: vec![0; batch],
            cu_seqlens: vec![0; batch + 1],
            ..Update::default()
        };
        for (&(sequence, _), Span { row, start, count }) in new.iter().zip(spans) {
            update.copies.extend(self.make_room(sequence, count));
            let held = &mut self.held[sequence.slot as usize];
            update.rows.push(row);
            let at = row as usize;
            update.q_offset[at] = start as i32;
            update.cu_seqlens[at + 1] = count;
            held.len += count;
            held.lost = held.len.saturating_sub(ring).max(held.lost);
            update.kv_lens[at] = held.len;
            if !held.pages.is_empty() {
                update.pages.push((row, held.pages.clone()));
            }
        }
        let mut sum = 0;
        for start in &mut update.cu_seqlens {
            sum += *start;
            *start = sum;
        }
        Ok(update)
    }

    /// Where the new tokens stand that [`Self::append`] would make room for. Errors as it.
    pub(crate) fn spans(&self, new: &[(Sequence, u32)]) -> Result<Vec<Span>> {
        self.check_append(new)?;
        let named = new.iter().enumerate();
        let span = |(n, &(sequence, count)): (usize, &(Sequence, u32))| {
            let row = match self.page_len() {
                Some(_) => n as u32,
                None => sequence.slot,
            };
            let start = self.held(sequence)?.len;
            Ok(Span { row, start, count })
        };
        named.map(span).collect()
    }

    fn check_append(&self, new: &[(Sequence, u32)]) -> Result<()> {
        if new.len() > self.options.batch as usize {
            let allowed = format!("at most {}, the cache's batch", self.options.batch);
            return Err(Error::size(
                "sequences of a call",
                new.len() as u64,
                allowed,
            ));
        }
        for (n, &(sequence, count)) in new.iter().enumerate() {
            let held = self.held(sequence)?;
            if new[..n].iter().any(|(other, _)| *other == sequence) {
                return Err(Error::Sequence {
                    reason: "is named twice in one call",
                });
            }
            if count > self.options.q_len {
                let allowed = format!(
                    "at most {}, the cache's q_len; give longer prompts in parts",
                    self.options.q_len
                );
                return Err(Error::size("new tokens", count, allowed));
            }
            if count > self.options.capacity() - held.len {
                return Err(Error::Capacity {
                    len: held.len,
                    new: count,
                    capacity: self.options.capacity(),
                });
            }
        }
        let counts = new.iter().map(|&(_, count)| u64::from(count));
        let (total, most) = (counts.sum::<u64>(), self.options.tokens.unwrap_or(u32::MAX));
        if total > most.into() {
            let allowed = format!("at most {most}, the cache's tokens of a call");
            return Err(Error::size("new tokens of all sequences", total, allowed));
        }
        let (needed, free) = (self.pages_needed(new)?, self.pool.free());
        match needed <= free {
            true => Ok(()),
            false => Err(Error::OutOfPages { needed, free }),
        }
    }

    /// Pages that so many more tokens take, those for copies of shared ones counted in: of the sequences that share a page and
    /// grow into it in this call, the last may keep it where no other holds it.
    fn pages_needed(&self, new: &[(Sequence, u32)]) -> Result<u32> {
        let Some(page_len) = self.page_len() else {
            return Ok(0);
        };
        let (mut more, mut growing) = (0, BTreeMap::<u32, u32>::new());
        for &(sequence, count) in new {
            let held = self.held(sequence)?;
            more += (held.len + count).div_ceil(page_len) - held.len.div_ceil(page_len);
            if let Some(page) = self.grows_into_shared(held, count) {
                *growing.entry(page).or_default() += 1;
            }
        }
        let copies = growing.iter();
        let copies = copies.map(|(&page, &n)| n.min(self.pool.holders(page) - 1));
        Ok(more + copies.sum::<u32>())
    }

    /// The page that others hold too and so many more tokens would be written to.
    fn grows_into_shared(&self, held: &Held, count: u32) -> Option<u32> {
        let within = !held.len.is_multiple_of(self.page_len()?);
        let last = held.pages.last().copied();
        last.filter(|&page| count > 0 && within && self.pool.holders(page) > 1)
    }

    /// Takes the pages of so many more tokens, checked before; answers the copy that is to be made.
    pub(super) fn make_room(&mut self, sequence: Sequence, count: u32) -> Option<(u32, u32)> {
        let page_len = self.page_len()?;
        let held = self.held[sequence.slot as usize].clone();
        let shared = self.grows_into_shared(&held, count);
        let copy = shared.and_then(|_| self.own_page(sequence, held.pages.len() - 1));
        let pages = (held.len + count).div_ceil(page_len) as usize;
        for _ in held.pages.len()..pages {
            // There are as many as were counted.
            let page = self.pool.take();
            self.held[sequence.slot as usize].pages.extend(page);
        }
        copy
    }

    /// Gives a sequence a page of its own in place of one that it shares; answers the copy that is to be made.
    pub(super) fn own_page(&mut self, sequence: Sequence, n: usize) -> Option<(u32, u32)> {
        let own = self.pool.take()?;
        let page = &mut self.held[sequence.slot as usize].pages[n];
        let shared = std::mem::replace(page, own);
        self.pool.release(shared);
        Some((shared, own))
    }
}
