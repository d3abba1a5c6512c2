//! The sequences of a cache: their lengths and pages, and what a call changes on the device.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

use super::pool::Pool;
use super::{CacheKind, KvCacheOptions};

/// A sequence of one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    cache: u64,
    slot: u32,
    generation: u32,
}

/// What a sequence has.
#[derive(Clone, Debug, Default)]
struct Held {
    generation: u32,
    live: bool,
    len: u32,
    /// Tokens that were ever written, and not written again since: what a ring lost depends on them.
    written: u32,
    pages: Vec<u32>,
}

/// The host's mirror of a cache: every length and every page.
#[derive(Debug)]
pub struct Sequences {
    options: KvCacheOptions,
    cache: u64,
    held: Vec<Held>,
    pool: Pool,
}

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
    /// `(row, pages)` of rows that take part, of a paged cache.
    pub pages: Vec<(u32, Vec<u32>)>,
    /// `(from, to)`
    pub copies: Vec<(u32, u32)>,
}

fn next_cache() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Sequences {
    /// Of a cache of these sizes; none yet.
    ///
    /// # Errors
    ///
    /// Sizes that cannot be.
    pub fn new(options: &KvCacheOptions) -> Result<Self> {
        options.validate()?;
        let pages = match options.kind {
            CacheKind::Paged { pages, .. } => pages,
            CacheKind::Contiguous { .. } | CacheKind::Ring { .. } => 0,
        };
        Ok(Self {
            options: options.clone(),
            cache: next_cache(),
            held: Vec::new(),
            pool: Pool::new(pages),
        })
    }

    /// A new, empty sequence.
    ///
    /// # Errors
    ///
    /// [`Error::Slots`] where a cache that is not paged holds one per row of its batch already.
    pub fn create(&mut self) -> Result<Sequence> {
        let slot = match self.held.iter().position(|held| !held.live) {
            Some(slot) => slot,
            None if self.page_len().is_none() && self.held.len() >= self.options.batch as usize => {
                return Err(Error::Slots {
                    allowed: self.options.batch,
                });
            }
            None => {
                self.held.push(Held::default());
                self.held.len() - 1
            }
        };
        let held = &mut self.held[slot];
        *held = Held {
            generation: held.generation.wrapping_add(1),
            live: true,
            ..Held::default()
        };
        Ok(Sequence {
            cache: self.cache,
            slot: slot as u32,
            generation: held.generation,
        })
    }

    /// Tokens of a sequence.
    ///
    /// # Errors
    ///
    /// [`Error::Sequence`] for a handle that was freed or is another cache's.
    pub fn len(&self, sequence: Sequence) -> Result<u32> {
        Ok(self.held(sequence)?.len)
    }

    /// The tokens that all of these sequences have in pages that they share: a `shared_prefix` of calls over them
    /// ([`Problem::shared_prefix`](field@crate::Problem::shared_prefix)). Of one sequence all of its tokens; of several
    /// that do not lie in pages none.
    ///
    /// # Errors
    ///
    /// [`Error::Sequence`] for a handle that was freed or is another cache's.
    pub fn common_prefix(&self, sequences: &[Sequence]) -> Result<u32> {
        let held = sequences.iter().map(|&sequence| self.held(sequence));
        let held = held.collect::<Result<Vec<_>>>()?;
        let (Some(len), Some(first)) = (held.iter().map(|held| held.len).min(), held.first())
        else {
            return Ok(0);
        };
        if sequences.iter().all(|sequence| *sequence == sequences[0]) {
            return Ok(len);
        }
        let Some(page_len) = self.page_len() else {
            return Ok(0);
        };
        let same = |held: &&Held| {
            let pairs = first.pages.iter().zip(&held.pages);
            pairs.take_while(|(a, b)| a == b).count() as u32
        };
        let pages = held.iter().map(same).min().unwrap_or(0);
        Ok(len.min(pages.saturating_mul(page_len)))
    }

    /// Pages that nobody holds; 0 where there are none.
    pub fn free_pages(&self) -> u32 {
        self.pool.free()
    }

    /// The blocks of a sequence's tokens: its pages, or its room.
    #[cfg(feature = "wgpu")]
    pub(crate) fn blocks(&self, sequence: Sequence) -> Result<Vec<u32>> {
        let held = self.held(sequence)?;
        Ok(match self.page_len() {
            Some(_) => held.pages.clone(),
            None => vec![sequence.slot],
        })
    }

    /// Blocks that so many tokens take.
    #[cfg(feature = "wgpu")]
    pub(crate) fn blocks_of(&self, len: u32) -> u32 {
        match self.page_len() {
            Some(page_len) => len.div_ceil(page_len),
            None => len.min(1),
        }
    }

    /// A new sequence with room for so many tokens, which are there already.
    #[cfg(feature = "wgpu")]
    pub(crate) fn restored(&mut self, len: u32) -> Result<Sequence> {
        if len > self.options.capacity() {
            return Err(Error::Capacity {
                len: 0,
                new: len,
                capacity: self.options.capacity(),
            });
        }
        let needed = self.page_len().map_or(0, |page_len| len.div_ceil(page_len));
        let free = self.pool.free();
        if needed > free {
            return Err(Error::OutOfPages { needed, free });
        }
        let sequence = self.create()?;
        self.make_room(sequence, len);
        let held = &mut self.held[sequence.slot as usize];
        (held.len, held.written) = (len, len);
        Ok(sequence)
    }

    /// Another sequence with the same tokens. A paged cache shares the pages, and copies the last one when either grows
    /// into it; others copy all: `(from, to)`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyFork`] for a sequence without tokens, and those of [`Self::create`] and [`Self::len`].
    pub fn fork(&mut self, sequence: Sequence) -> Result<(Sequence, Option<(u32, u32)>)> {
        let from = self.held(sequence)?.clone();
        if from.len == 0 {
            return Err(Error::EmptyFork);
        }
        let fork = self.create()?;
        from.pages.iter().for_each(|&page| self.pool.share(page));
        let to = &mut self.held[fork.slot as usize];
        (to.len, to.written, to.pages) = (from.len, from.written, from.pages);
        let copy = (sequence.slot, fork.slot);
        Ok((fork, self.page_len().is_none().then_some(copy)))
    }

    /// Forgets the tokens from `len` on: what drafts that were not accepted do.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] where it has fewer, or where a ring has overwritten what the last one kept would see.
    pub fn truncate(&mut self, sequence: Sequence, len: u32) -> Result<()> {
        let held = self.held(sequence)?;
        if len > held.len {
            let allowed = format!("at most {}, the tokens that the sequence has", held.len);
            return Err(Error::size("len", len, allowed));
        }
        if let CacheKind::Ring { first, window } = self.options.kind {
            let kept = held.written.saturating_sub(window + self.options.q_len - 1);
            let needed = (len + 1).saturating_sub(window);
            if kept > first && needed.max(first) < kept && len < held.len {
                let least = held.written.saturating_sub(self.options.q_len);
                let allowed = format!(
                    "at least {least}: the ring has overwritten what fewer tokens would see"
                );
                return Err(Error::size("len", len, allowed));
            }
        }
        let pages = self.page_len().map(|page_len| len.div_ceil(page_len));
        let held = &mut self.held[sequence.slot as usize];
        held.len = len;
        let keep = pages.unwrap_or(0) as usize;
        let released = held.pages.split_off(keep.min(held.pages.len()));
        released
            .into_iter()
            .for_each(|page| self.pool.release(page));
        Ok(())
    }

    /// Gives back what a sequence holds; its handle is no longer one.
    ///
    /// # Errors
    ///
    /// [`Error::Sequence`] for a handle that was freed or is another cache's.
    pub fn free(&mut self, sequence: Sequence) -> Result<()> {
        self.held(sequence)?;
        let held = &mut self.held[sequence.slot as usize];
        held.live = false;
        let pages = std::mem::take(&mut held.pages);
        pages.into_iter().for_each(|page| self.pool.release(page));
        Ok(())
    }

    /// Makes room for so many new tokens of each sequence.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfPages`], [`Error::Capacity`], [`Error::Sequence`], [`Error::Size`] for more sequences or tokens than a
    /// call takes. Nothing has changed then.
    pub fn append(&mut self, new: &[(Sequence, u32)]) -> Result<Update> {
        self.check_append(new)?;
        let batch = self.options.batch as usize;
        let mut update = Update {
            kv_lens: vec![0; batch],
            q_offset: vec![0; batch],
            ..Update::default()
        };
        for (n, &(sequence, count)) in new.iter().enumerate() {
            let row = match self.page_len() {
                Some(_) => n as u32,
                None => sequence.slot,
            };
            update.copies.extend(self.make_room(sequence, count));
            let held = &mut self.held[sequence.slot as usize];
            update.rows.push(row);
            update.q_offset[row as usize] = held.len as i32;
            held.len += count;
            held.written = held.len.max(held.written);
            update.kv_lens[row as usize] = held.len;
            if !held.pages.is_empty() {
                update.pages.push((row, held.pages.clone()));
            }
        }
        Ok(update)
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
        let mut pages = 0;
        for (n, &(sequence, count)) in new.iter().enumerate() {
            let held = self.held(sequence)?;
            if new[..n].iter().any(|(other, _)| *other == sequence) {
                return Err(Error::Sequence {
                    reason: "is named twice in one call",
                });
            }
            if count > self.options.q_len {
                let allowed = format!("at most {}, the cache's q_len", self.options.q_len);
                return Err(Error::size("new tokens", count, allowed));
            }
            let room = self.options.capacity() - held.len;
            if count > room {
                return Err(Error::Capacity {
                    len: held.len,
                    new: count,
                    capacity: self.options.capacity(),
                });
            }
            pages += self.pages_needed(held, count);
        }
        match pages <= self.pool.free() {
            true => Ok(()),
            false => Err(Error::OutOfPages {
                needed: pages,
                free: self.pool.free(),
            }),
        }
    }

    /// Pages that so many more tokens take, one for a copy of a shared page counted in.
    fn pages_needed(&self, held: &Held, count: u32) -> u32 {
        let Some(page_len) = self.page_len() else {
            return 0;
        };
        let more = (held.len + count).div_ceil(page_len) - held.len.div_ceil(page_len);
        more + u32::from(self.grows_into_shared(held, count))
    }

    fn grows_into_shared(&self, held: &Held, count: u32) -> bool {
        let within = self
            .page_len()
            .is_some_and(|page_len| !held.len.is_multiple_of(page_len));
        let last = held.pages.last();
        count > 0 && within && last.is_some_and(|&page| self.pool.is_shared(page))
    }

    /// Takes the pages of so many more tokens, checked before; answers the copy that is to be made.
    fn make_room(&mut self, sequence: Sequence, count: u32) -> Option<(u32, u32)> {
        let page_len = self.page_len()?;
        let mut held = std::mem::take(&mut self.held[sequence.slot as usize]);
        let copy = self.grows_into_shared(&held, count).then(|| {
            let own = self.pool.take()?;
            let shared = held.pages.pop()?;
            held.pages.push(own);
            self.pool.release(shared);
            Some((shared, own))
        });
        let pages = (held.len + count).div_ceil(page_len) as usize;
        while held.pages.len() < pages {
            match self.pool.take() {
                Some(page) => held.pages.push(page),
                // There are as many as were counted.
                None => break,
            }
        }
        self.held[sequence.slot as usize] = held;
        copy.flatten()
    }

    fn page_len(&self) -> Option<u32> {
        match self.options.kind {
            CacheKind::Paged { page_len, .. } => Some(page_len),
            CacheKind::Contiguous { .. } | CacheKind::Ring { .. } => None,
        }
    }

    fn held(&self, sequence: Sequence) -> Result<&Held> {
        if sequence.cache != self.cache {
            return Err(Error::Sequence {
                reason: "is of another cache",
            });
        }
        let held = &self.held[sequence.slot as usize];
        if !held.live || held.generation != sequence.generation {
            return Err(Error::Sequence {
                reason: "was freed",
            });
        }
        Ok(held)
    }
}
