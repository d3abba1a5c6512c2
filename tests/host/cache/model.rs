//! A plain model of a cache: blocks of memory as a device has them, and what each sequence should hold.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wgpu_attention::Error;
use wgpu_attention::cache::{CacheKind, KvCacheOptions, Sequence, Sequences};

use super::{BATCH, CAPACITY, NEW, PAGE, PAGES};

#[derive(Clone, Debug)]
pub enum Act {
    Create,
    Append(Vec<(usize, u32)>),
    Fork(usize),
    Truncate(usize, u32),
    /// Of so many of the last tokens those whose bit is set.
    Keep(usize, usize, u32),
    Free(usize),
}

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        1 => Just(Act::Create),
        4 => prop::collection::vec((0..6usize, 0..=NEW), 1..=BATCH as usize).prop_map(Act::Append),
        2 => (0..6usize).prop_map(Act::Fork),
        1 => (0..6usize, 0..CAPACITY).prop_map(|(n, len)| Act::Truncate(n, len)),
        1 => (0..6usize, 0..8usize, 0..256u32).prop_map(|(n, last, kept)| Act::Keep(n, last, kept)),
        1 => (0..6usize).prop_map(Act::Free),
    ];
    prop::collection::vec(act, 1..60)
}

#[derive(Clone)]
struct Live {
    sequence: Sequence,
    tokens: Vec<u32>,
    /// Of a paged cache, as updates told them; else the one block.
    blocks: Vec<u32>,
}

pub struct Model {
    sequences: Sequences,
    kind: CacheKind,
    memory: Vec<Vec<u32>>,
    live: Vec<Live>,
    /// The next token.
    next: u32,
}

impl Model {
    pub fn new(options: &KvCacheOptions) -> Self {
        let (count, len) = match options.kind {
            CacheKind::Paged {
                pages, page_len, ..
            } => (pages, page_len),
            CacheKind::Ring { first, window } => (BATCH, first + window + NEW - 1),
            _ => (BATCH, CAPACITY),
        };
        Self {
            sequences: Sequences::new(options).expect("valid sizes"),
            kind: options.kind,
            memory: vec![vec![0; len as usize]; count as usize],
            live: Vec::new(),
            next: 1,
        }
    }

    fn is_paged(&self) -> bool {
        matches!(self.kind, CacheKind::Paged { .. })
    }

    /// Where token `at` of a sequence in these blocks lies.
    fn place(&self, blocks: &[u32], at: u32) -> (usize, usize) {
        match self.kind {
            CacheKind::Paged { .. } => {
                (blocks[(at / PAGE) as usize] as usize, (at % PAGE) as usize)
            }
            CacheKind::Ring { first, window } if at >= first => {
                let row = first + (at - first) % (window + NEW - 1);
                (blocks[0] as usize, row as usize)
            }
            _ => (blocks[0] as usize, at as usize),
        }
    }

    /// What token `at` sees before it, were the sequence that long.
    fn visible(&self, at: u32) -> Vec<u32> {
        let is_seen = |j: &u32| match self.kind {
            CacheKind::Ring { first, window } => *j < first || *j + window > at,
            _ => true,
        };
        (0..at).filter(is_seen).collect()
    }

    /// Whether all of them are in memory.
    fn are_there(&self, of: &Live, rows: &[u32]) -> bool {
        rows.iter().all(|&at| {
            let (block, row) = self.place(&of.blocks, at);
            self.memory[block][row] == of.tokens[at as usize]
        })
    }

    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Create => self.create(),
            Act::Append(new) => self.append(new),
            Act::Fork(n) => self.fork(*n),
            Act::Truncate(n, len) => self.truncate(*n, *len),
            Act::Keep(n, last, bits) => self.keep(*n, *last, *bits),
            Act::Free(n) if *n < self.live.len() => {
                let sequence = self.live.remove(*n).sequence;
                self.sequences.free(sequence).expect("a live sequence");
                let again = self.sequences.free(sequence);
                assert!(matches!(again, Err(Error::Sequence { .. })));
            }
            Act::Free(_) => {}
        }
        if self.is_paged() {
            assert_eq!(self.sequences.free_pages(), self.free());
        }
    }

    fn free(&self) -> u32 {
        let held: BTreeSet<u32> = self.live.iter().flat_map(|x| x.blocks.clone()).collect();
        PAGES - held.len() as u32
    }

    fn is_full(&self) -> bool {
        !self.is_paged() && self.live.len() >= BATCH as usize
    }

    /// A block that no live sequence is in, the lowest: where a cache without pages puts the next one.
    fn room(&self) -> Vec<u32> {
        if self.is_paged() {
            return Vec::new();
        }
        let is_free = |n: &u32| self.live.iter().all(|x| x.blocks != [*n]);
        (0..BATCH).find(is_free).into_iter().collect()
    }

    fn create(&mut self) {
        let blocks = self.room();
        match self.sequences.create() {
            Ok(sequence) => self.live.push(Live {
                sequence,
                tokens: Vec::new(),
                blocks,
            }),
            Err(error) => {
                assert!(self.is_full());
                assert_eq!(error, Error::Slots { allowed: BATCH });
            }
        }
    }

    fn fork(&mut self, n: usize) {
        let Some(from) = self.live.get(n).cloned() else {
            return;
        };
        let room = self.room();
        match self.sequences.fork(from.sequence) {
            Ok((sequence, copy)) => {
                assert_eq!(copy.is_some(), !self.is_paged());
                if let Some((from, to)) = copy {
                    assert_eq!(room, [to]);
                    self.memory[to as usize] = self.memory[from as usize].clone();
                }
                let blocks = if self.is_paged() { from.blocks } else { room };
                self.live.push(Live {
                    sequence,
                    tokens: from.tokens,
                    blocks,
                });
            }
            Err(Error::EmptyFork) => assert!(from.tokens.is_empty()),
            Err(error) => {
                assert!(self.is_full());
                assert_eq!(error, Error::Slots { allowed: BATCH });
            }
        }
    }

    fn truncate(&mut self, n: usize, len: u32) {
        let Some(of) = self.live.get(n).cloned() else {
            return;
        };
        let fits = len as usize <= of.tokens.len();
        let there = fits && self.are_there(&of, &self.visible(len));
        let all = len as usize == of.tokens.len();
        let answer = self.sequences.truncate(of.sequence, len);
        assert_eq!(answer.is_ok(), fits && (there || all), "{len}: {answer:?}");
        if answer.is_ok() {
            self.cut(n, len);
        }
    }

    fn cut(&mut self, n: usize, len: u32) {
        let paged = self.is_paged();
        let of = &mut self.live[n];
        of.tokens.truncate(len as usize);
        if paged {
            of.blocks.truncate(len.div_ceil(PAGE) as usize);
        }
    }

    fn keep(&mut self, n: usize, last: usize, bits: u32) {
        let Some(of) = self.live.get(n).cloned() else {
            return;
        };
        let last = last.min(of.tokens.len());
        let from = of.tokens.len() - last;
        let kept: Vec<usize> = (0..last).filter(|n| bits >> n & 1 == 1).collect();
        let Ok(moves) = self.sequences.keep(of.sequence, from as u32, &kept) else {
            // Of pages too few are free; a ring may have lost what the next token would see, or what is to move.
            let visible = self.visible((from + kept.len()) as u32).into_iter();
            let visible: Vec<u32> = visible.filter(|&at| (at as usize) < from).collect();
            let last: Vec<u32> = (from as u32..of.tokens.len() as u32).collect();
            let others = self.live.iter().filter(|x| x.sequence != of.sequence);
            let others: BTreeSet<u32> = others.flat_map(|x| x.blocks.clone()).collect();
            let shared = of.blocks.iter().filter(|&page| others.contains(page));
            let pages = self.is_paged() && shared.count() as u32 > self.free();
            assert!(pages || !self.are_there(&of, &visible) || !self.are_there(&of, &last));
            assert_eq!(self.sequences.len(of.sequence), Ok(of.tokens.len() as u32));
            return;
        };
        for (from, to) in moves.copies {
            self.memory[to as usize] = self.memory[from as usize].clone();
            let page = self.live[n].blocks.iter_mut().find(|page| **page == from);
            *page.expect("one of its pages") = to;
        }
        for [from, to] in moves.rows {
            let token = self.memory[from.0 as usize][from.1 as usize];
            self.memory[to.0 as usize][to.1 as usize] = token;
        }
        let stay = &of.tokens[from..];
        self.live[n].tokens.truncate(from);
        let kept = kept.iter().map(|&at| stay[at]);
        self.live[n].tokens.extend(kept);
        let len = self.live[n].tokens.len() as u32;
        self.cut(n, len);
        let of = &self.live[n];
        assert!(
            self.are_there(of, &self.visible(len)),
            "what is kept is there"
        );
    }

    /// What an append of these must answer, where it cannot be done.
    fn refusal(&self, named: &[(usize, u32)]) -> Option<Error> {
        let mut pages: Vec<Vec<u32>> = self.live.iter().map(|x| x.blocks.clone()).collect();
        let mut needed = 0;
        for &(n, count) in named {
            let len = self.live[n].tokens.len() as u32;
            if len + count > CAPACITY && !matches!(self.kind, CacheKind::Ring { .. }) {
                return Some(Error::Capacity {
                    len,
                    new: count,
                    capacity: CAPACITY,
                });
            }
            if !self.is_paged() {
                continue;
            }
            if count > 0 && !len.is_multiple_of(PAGE) {
                let last = pages[n].last().copied();
                let holders = pages.iter().filter(|x| x.last() == last.as_ref()).count();
                if holders > 1 || self.is_inside(&pages, last) {
                    needed += 1;
                    *pages[n].last_mut().expect("a page") = u32::MAX - needed;
                }
            }
            needed += (len + count).div_ceil(PAGE) - len.div_ceil(PAGE);
        }
        let free = self.free();
        let few = self.is_paged() && needed > free;
        few.then_some(Error::OutOfPages { needed, free })
    }

    /// A page that is not the last of one of its holders.
    fn is_inside(&self, pages: &[Vec<u32>], page: Option<u32>) -> bool {
        let inner = |x: &Vec<u32>| x[..x.len().saturating_sub(1)].to_vec();
        page.is_some_and(|page| pages.iter().flat_map(inner).any(|x| x == page))
    }

    fn append(&mut self, new: &[(usize, u32)]) {
        let mut named: Vec<_> = new.to_vec();
        named.retain(|(n, _)| *n < self.live.len());
        named.sort();
        named.dedup_by_key(|(n, _)| *n);
        let request: Vec<_> = named
            .iter()
            .map(|&(n, c)| (self.live[n].sequence, c))
            .collect();
        let refusal = self.refusal(&named);
        let update = match self.sequences.append(&request) {
            Ok(update) => update,
            Err(error) => {
                assert_eq!(Some(error), refusal);
                // Nothing has changed.
                for of in &self.live {
                    let len = of.tokens.len() as u32;
                    assert_eq!(self.sequences.len(of.sequence), Ok(len));
                }
                return;
            }
        };
        assert_eq!(refusal, None);
        for &(from, to) in &update.copies {
            self.memory[to as usize] = self.memory[from as usize].clone();
        }
        for (&(n, count), &row) in named.iter().zip(&update.rows) {
            let before = self.live[n].tokens.len() as u32;
            assert_eq!(update.q_offset[row as usize] as u32, before);
            let told = update.pages.iter().find(|(of, _)| *of == row);
            match told {
                Some((_, pages)) => self.live[n].blocks = pages.clone(),
                None if self.is_paged() => assert_eq!(before + count, 0),
                None => assert_eq!(self.live[n].blocks, [row]),
            }
            for at in before..before + count {
                let (block, place) = self.place(&self.live[n].blocks, at);
                self.memory[block][place] = self.next;
                self.live[n].tokens.push(self.next);
                self.next += 1;
            }
            let of = &self.live[n];
            assert_eq!(update.kv_lens[row as usize], before + count);
            for at in before..before + count {
                let visible = [self.visible(at), vec![at]].concat();
                assert!(self.are_there(of, &visible), "{at} of {:?}", of.tokens);
            }
        }
    }

    /// Tokens that are said to be shared are the same.
    pub fn compare(&self) {
        for a in &self.live {
            for b in &self.live {
                let shared = self.sequences.common_prefix(&[a.sequence, b.sequence]);
                let pairs = a.tokens.iter().zip(&b.tokens);
                let same = pairs.take_while(|(a, b)| a == b).count() as u32;
                let shared = shared.expect("live");
                assert!(
                    shared <= same,
                    "{shared} of {:?} and {:?}",
                    a.tokens,
                    b.tokens
                );
            }
        }
    }

    /// Everything is given back.
    pub fn end(mut self) {
        for of in std::mem::take(&mut self.live) {
            assert_eq!(self.sequences.len(of.sequence), Ok(of.tokens.len() as u32));
            self.sequences.free(of.sequence).expect("a live sequence");
        }
        if self.is_paged() {
            assert_eq!(self.sequences.free_pages(), PAGES);
        }
    }
}
