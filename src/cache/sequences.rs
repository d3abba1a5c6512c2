//! The sequences of a cache: their lengths and pages, and what a call changes on the device.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

use super::pool::Pool;
use super::{CacheKind, KvCacheOptions};

mod append;
mod keep;

#[cfg(feature = "wgpu")]
pub(crate) use append::Span;
pub use append::Update;
pub use keep::{Moves, Place};

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
    /// A ring has overwritten the tokens between its first ones and this one: with later ones, forgotten since or not.
    lost: u32,
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

    /// A ring has overwritten the tokens between its first ones and this one.
    #[cfg(feature = "wgpu")]
    pub(crate) fn lost(&self, sequence: Sequence) -> Result<u32> {
        Ok(self.held(sequence)?.lost)
    }

    /// A new sequence of `len` tokens, which are there already but for those before `lost`, as [`Self::lost`] says.
    #[cfg(feature = "wgpu")]
    pub(crate) fn restored(&mut self, len: u32, lost: u32) -> Result<Sequence> {
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
        (held.len, held.lost) = (len, lost);
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
        (to.len, to.lost, to.pages) = (from.len, from.lost, from.pages);
        let copy = (sequence.slot, fork.slot);
        Ok((fork, self.page_len().is_none().then_some(copy)))
    }

    /// Forgets the tokens from `len` on: what drafts that were not accepted do.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] where it has fewer, or where a ring has overwritten tokens that the next one would see: what the last
    /// call wrote can always be forgotten, and all but the first tokens.
    pub fn truncate(&mut self, sequence: Sequence, len: u32) -> Result<()> {
        let held = self.held(sequence)?;
        if len > held.len {
            let allowed = format!("at most {}, the tokens that the sequence has", held.len);
            return Err(Error::size("len", len, allowed));
        }
        self.check_kept(held, len)?;
        self.cut(sequence, len);
        Ok(())
    }

    /// Refuses to go back to `len` tokens where a ring has overwritten what the next one would see.
    fn check_kept(&self, held: &Held, len: u32) -> Result<()> {
        let CacheKind::Ring { first, window } = self.options.kind else {
            return Ok(());
        };
        let first_visible = (len + 1).saturating_sub(window).max(first);
        if first_visible >= held.lost.min(len) {
            return Ok(());
        }
        let least = held.lost.saturating_add(window - 1);
        let allowed = format!(
            "at least {least}, or at most {first}: the ring has overwritten what the next token would see"
        );
        Err(Error::size("len", len, allowed))
    }

    /// Forgets the tokens from `len` on, and the pages that only they took.
    fn cut(&mut self, sequence: Sequence, len: u32) {
        let pages = self.page_len().map(|page_len| len.div_ceil(page_len));
        let held = &mut self.held[sequence.slot as usize];
        // What is written again is there again.
        (held.len, held.lost) = (len, held.lost.min(len));
        let keep = pages.unwrap_or(0) as usize;
        let released = held.pages.split_off(keep.min(held.pages.len()));
        released
            .into_iter()
            .for_each(|page| self.pool.release(page));
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
