//! What stays of drafts that branched: rows moved together.

use crate::cache::CacheKind;
use crate::error::{Error, Result};
use crate::problem::KvAddress;

use super::{Held, Sequence, Sequences};

/// What is to be copied on the device, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moves {
    /// Blocks, `(from, to)`: pages that other sequences hold, too.
    pub copies: Vec<(u32, u32)>,
    /// Rows after those, from one place to another.
    pub rows: Vec<[Place; 2]>,
}

/// A row of every head: its block (a page, or the room of a sequence), and its number there.
pub type Place = (u32, u32);

impl Sequences {
    /// Of the tokens from `from` on keeps those of these numbers, counted from there and rising, and forgets the others: a
    /// branch of a tree of drafts ([`crate::speculative::Accepted::nodes`], `from` that of the first node).
    ///
    /// # Errors
    ///
    /// [`Error::Size`] where the sequence has fewer tokens than `from`, or where a ring has overwritten one of those behind it
    /// or what the next one would see; [`Error::Element`] for a number that does not rise or is no token's;
    /// [`Error::OutOfPages`] where pages that others share must be copied. Nothing has changed then.
    pub fn keep(&mut self, sequence: Sequence, from: u32, kept: &[usize]) -> Result<Moves> {
        let held = self.held(sequence)?;
        let new = held.len.checked_sub(from).ok_or_else(|| {
            let allowed = format!("at most {}, the tokens that the sequence has", held.len);
            Error::size("from", from, allowed)
        })?;
        for (index, &n) in kept.iter().enumerate() {
            let least = index.checked_sub(1).map_or(0, |before| kept[before] + 1);
            if n < least || n >= new as usize {
                return Err(Error::Element {
                    what: "kept",
                    index,
                    actual: i64::try_from(n).unwrap_or(i64::MAX),
                    allowed: format!("{least} or more, and below {new}, the tokens from there on"),
                });
            }
        }
        // Those before the first that is not kept stay where they are.
        let still = kept.iter().enumerate().take_while(|&(n, &at)| n == at);
        let still = still.count();
        let (len, moved) = (from + kept.len() as u32, &kept[still..]);
        let first = from + still as u32;
        if !moved.is_empty() {
            self.check_moved(held, first)?;
        }
        self.check_kept(held, len)?;
        let copies = self.own_pages(sequence, first..len)?;
        let held = &self.held[sequence.slot as usize];
        let place = |row| self.place(sequence, held, row);
        let rows = moved.iter().zip(first..);
        let rows = rows.map(|(&at, to)| [from + at as u32, to].map(place));
        let rows = rows.collect();
        self.cut(sequence, len);
        Ok(Moves { copies, rows })
    }

    /// Rows from `first` on must all be there to be moved.
    fn check_moved(&self, held: &Held, first: u32) -> Result<()> {
        let stay = match self.options.kind {
            CacheKind::Ring { first, .. } => first,
            _ => 0,
        };
        match first.max(stay) >= held.lost {
            true => Ok(()),
            false => Err(Error::size(
                "from",
                first,
                format!(
                    "at least {}: the ring has overwritten tokens before that",
                    held.lost
                ),
            )),
        }
    }

    /// Makes the pages of these rows the sequence's own; answers the copies.
    fn own_pages(
        &mut self,
        sequence: Sequence,
        rows: std::ops::Range<u32>,
    ) -> Result<Vec<(u32, u32)>> {
        let Some(page_len) = self.page_len().filter(|_| !rows.is_empty()) else {
            return Ok(Vec::new());
        };
        let held = &self.held[sequence.slot as usize];
        let pages = rows.start / page_len..rows.end.div_ceil(page_len);
        let is_shared = |&n: &u32| self.pool.holders(held.pages[n as usize]) > 1;
        let shared: Vec<u32> = pages.filter(is_shared).collect();
        let (needed, free) = (shared.len() as u32, self.pool.free());
        if needed > free {
            return Err(Error::OutOfPages { needed, free });
        }
        let own = shared
            .iter()
            .filter_map(|&n| self.own_page(sequence, n as usize));
        Ok(own.collect())
    }

    fn place(&self, sequence: Sequence, held: &Held, row: u32) -> Place {
        match self.options.address() {
            KvAddress::Strided => (sequence.slot, row),
            KvAddress::Paged(pages) => {
                let page = held.pages[(row / pages.page_len) as usize];
                (page, row % pages.page_len)
            }
            KvAddress::Ring(ring) if row < ring.first => (sequence.slot, row),
            KvAddress::Ring(ring) => (sequence.slot, ring.first + (row - ring.first) % ring.len),
        }
    }
}
