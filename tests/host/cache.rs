//! The bookkeeping of caches against a plain model: every sequence's tokens, kept apart.

use proptest::prelude::*;
use wgpu_attention::cache::{CacheKind, KvCacheOptions, Sequence, Sequences};
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{Element, Error};

const PAGE: u32 = 4;
const PAGES: u32 = 12;
const CAPACITY: u32 = 23;
const BATCH: u32 = 3;
const NEW: u32 = 7;

fn paged() -> KvCacheOptions {
    let kind = CacheKind::Paged {
        page_len: PAGE,
        pages: PAGES,
        capacity: CAPACITY,
    };
    KvCacheOptions::new(kind, 2, 8)
        .with_batch(BATCH)
        .with_q_len(NEW)
}

fn contiguous() -> KvCacheOptions {
    KvCacheOptions::new(CacheKind::Contiguous { capacity: CAPACITY }, 2, 8)
        .with_batch(BATCH)
        .with_q_len(NEW)
}

#[derive(Clone, Debug)]
enum Act {
    Create,
    Append(Vec<(usize, u32)>),
    Fork(usize),
    Truncate(usize, u32),
    Free(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        1 => Just(Act::Create),
        4 => prop::collection::vec((0..6usize, 0..=NEW), 1..=BATCH as usize).prop_map(Act::Append),
        2 => (0..6usize).prop_map(Act::Fork),
        1 => (0..6usize, 0..CAPACITY).prop_map(|(n, len)| Act::Truncate(n, len)),
        1 => (0..6usize).prop_map(Act::Free),
    ];
    prop::collection::vec(act, 1..60)
}

/// Blocks of memory as a device has them, and what each sequence should hold.
struct Model {
    sequences: Sequences,
    block_len: u32,
    blocks: Vec<Vec<u32>>,
    live: Vec<(Sequence, Vec<u32>)>,
    /// The blocks of each, as the last update told them.
    next: u32,
}

impl Model {
    fn new(options: &KvCacheOptions) -> Self {
        let (count, block_len) = match options.kind {
            CacheKind::Paged {
                pages, page_len, ..
            } => (pages, page_len),
            _ => (BATCH, CAPACITY),
        };
        Self {
            sequences: Sequences::new(options).expect("valid sizes"),
            block_len,
            blocks: vec![vec![0; block_len as usize]; count as usize],
            live: Vec::new(),
            next: 1,
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Create => {
                if let Ok(sequence) = self.sequences.create() {
                    self.live.push((sequence, Vec::new()));
                }
            }
            Act::Append(new) => self.append(new),
            Act::Fork(n) => self.fork(*n),
            Act::Truncate(n, len) => {
                if let Some((sequence, tokens)) = self.live.get_mut(*n) {
                    let fits = *len as usize <= tokens.len();
                    assert_eq!(self.sequences.truncate(*sequence, *len).is_ok(), fits);
                    tokens.truncate(*len as usize);
                }
            }
            Act::Free(n) if *n < self.live.len() => {
                let (sequence, _) = self.live.remove(*n);
                self.sequences.free(sequence).expect("a live sequence");
                let again = self.sequences.free(sequence);
                assert!(matches!(again, Err(Error::Sequence { .. })));
            }
            Act::Free(_) => {}
        }
    }

    fn fork(&mut self, n: usize) {
        let Some((sequence, tokens)) = self.live.get(n).cloned() else {
            return;
        };
        match self.sequences.fork(sequence) {
            Ok((fork, copy)) => {
                if let Some((from, to)) = copy {
                    self.blocks[to as usize] = self.blocks[from as usize].clone();
                }
                self.live.push((fork, tokens));
            }
            Err(Error::EmptyFork) => assert!(tokens.is_empty()),
            Err(error) => assert!(matches!(error, Error::Slots { .. }), "{error}"),
        }
    }

    fn append(&mut self, new: &[(usize, u32)]) {
        let mut named: Vec<_> = new.iter().filter(|(n, _)| *n < self.live.len()).collect();
        named.sort();
        named.dedup_by_key(|(n, _)| *n);
        let before = self.sequences.free_pages();
        let request: Vec<_> = named.iter().map(|&&(n, c)| (self.live[n].0, c)).collect();
        let Ok(update) = self.sequences.append(&request) else {
            // Nothing has changed.
            assert_eq!(self.sequences.free_pages(), before);
            for (sequence, tokens) in &self.live {
                assert_eq!(self.sequences.len(*sequence), Ok(tokens.len() as u32));
            }
            return;
        };
        for &(from, to) in &update.copies {
            self.blocks[to as usize] = self.blocks[from as usize].clone();
        }
        for (&&(n, count), &row) in named.iter().zip(&update.rows) {
            let pages = update.pages.iter().find(|(of, _)| *of == row);
            let pages = pages.map_or(vec![row], |(_, pages)| pages.clone());
            assert_eq!(update.q_offset[row as usize] as usize, self.live[n].1.len());
            for _ in 0..count {
                let at = self.live[n].1.len() as u32;
                let block = pages[(at / self.block_len) as usize] as usize;
                self.blocks[block][(at % self.block_len) as usize] = self.next;
                self.live[n].1.push(self.next);
                self.next += 1;
            }
            let held = &self.live[n].1;
            assert_eq!(update.kv_lens[row as usize] as usize, held.len());
            for (at, token) in held.iter().enumerate() {
                let block = pages[at / self.block_len as usize] as usize;
                assert_eq!(self.blocks[block][at % self.block_len as usize], *token);
            }
        }
    }

    /// Tokens that are said to be shared are the same.
    fn compare(&self) {
        for (a, ours) in &self.live {
            for (b, theirs) in &self.live {
                let shared = self.sequences.common_prefix(&[*a, *b]).expect("live");
                let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
                assert!(
                    shared as usize <= same,
                    "{shared} of {ours:?} and {theirs:?}"
                );
                // But for a page that one of them copied.
                if self.block_len == PAGE && same >= PAGE as usize {
                    assert!(shared + PAGE > same as u32);
                }
            }
        }
    }

    /// Everything is given back.
    fn end(mut self) {
        for (sequence, tokens) in std::mem::take(&mut self.live) {
            assert_eq!(self.sequences.len(sequence), Ok(tokens.len() as u32));
            self.sequences.free(sequence).expect("a live sequence");
        }
        if self.block_len == PAGE {
            assert_eq!(self.sequences.free_pages(), PAGES);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_its_tokens(acts in acts(), in_pages: bool) {
        let options = if in_pages { paged() } else { contiguous() };
        let mut model = Model::new(&options);
        for act in &acts {
            model.act(act);
            model.compare();
        }
        model.end();
    }
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let mut cache = Sequences::new(&paged()).expect("valid sizes");
    let [a, b, c] = [(); 3].map(|()| cache.create().expect("a sequence"));
    for sequence in [a, b, c] {
        for new in [7, 7, 2] {
            cache.append(&[(sequence, new)]).expect("room");
        }
    }
    assert_eq!(cache.free_pages(), 0);
    assert_eq!(
        cache.append(&[(a, 1)]),
        Err(Error::OutOfPages { needed: 1, free: 0 })
    );
    cache.free(c).expect("a live sequence");
    cache.append(&[(a, 7)]).expect("room");
    assert_eq!(
        cache.append(&[(a, 1)]),
        Err(Error::Capacity {
            len: 23,
            new: 1,
            capacity: 23
        })
    );
    let said = |error: Error| error.to_string();
    let of = |new: &[(Sequence, u32)], cache: &mut Sequences| said(cache.append(new).unwrap_err());
    assert!(of(&[(b, 8)], &mut cache).contains("at most 7"));
    assert!(of(&[(b, 1), (b, 1)], &mut cache).contains("twice"));
    assert!(of(&[(c, 1)], &mut cache).contains("freed"));
    let mut other = Sequences::new(&paged()).expect("valid sizes");
    assert!(said(other.append(&[(b, 1)]).unwrap_err()).contains("another cache"));
    let empty = cache.create().expect("a sequence");
    assert_eq!(cache.fork(empty).unwrap_err(), Error::EmptyFork);
    assert!(said(cache.truncate(b, 17).unwrap_err()).contains("at most 16"));
}

/// Of pages that all share, as far as the shortest of them.
#[test]
fn a_common_prefix_is_what_lies_in_shared_pages() {
    let mut cache = Sequences::new(&paged()).expect("valid sizes");
    let a = cache.create().expect("a sequence");
    cache.append(&[(a, 6)]).expect("room");
    let (b, _) = cache.fork(a).expect("a fork");
    let (c, _) = cache.fork(a).expect("a fork");
    assert_eq!(cache.common_prefix(&[]), Ok(0));
    assert_eq!(cache.common_prefix(&[a, a]), Ok(6));
    assert_eq!(cache.common_prefix(&[c, a, b]), Ok(6));
    cache.append(&[(b, 3)]).expect("room");
    assert_eq!(cache.common_prefix(&[a, b, c]), Ok(4));
    assert_eq!(cache.common_prefix(&[a, c]), Ok(6));
    cache.truncate(c, 2).expect("fewer");
    assert_eq!(cache.common_prefix(&[a, b, c]), Ok(2));
    cache.free(c).expect("a live sequence");
    let error = cache.common_prefix(&[a, c]).unwrap_err();
    assert!(error.to_string().contains("freed"), "{error}");

    // Rows of a sequence of its own are copies.
    let mut cache = Sequences::new(&contiguous()).expect("valid sizes");
    let a = cache.create().expect("a sequence");
    cache.append(&[(a, 6)]).expect("room");
    let (b, _) = cache.fork(a).expect("a fork");
    assert_eq!(cache.common_prefix(&[a]), Ok(6));
    assert_eq!(cache.common_prefix(&[a, b]), Ok(0));
}

/// A fork shares pages until one of the two grows into the last.
#[test]
fn forks_share_pages_and_copy_the_last_on_writing() {
    let mut cache = Sequences::new(&paged()).expect("valid sizes");
    let a = cache.create().expect("a sequence");
    cache.append(&[(a, 6)]).expect("room");
    let (b, copy) = cache.fork(a).expect("a fork");
    assert_eq!((copy, cache.free_pages()), (None, PAGES - 2));
    let update = cache.append(&[(b, 1)]).expect("room");
    assert_eq!((update.copies.len(), cache.free_pages()), (1, PAGES - 3));
    // The page is the other's alone by now.
    let update = cache.append(&[(a, 1)]).expect("room");
    assert_eq!((update.copies.len(), cache.free_pages()), (0, PAGES - 3));
}

#[test]
fn a_ring_forgets_drafts_and_refuses_what_it_has_overwritten() {
    let kind = CacheKind::Ring {
        first: 2,
        window: 10,
    };
    let mut cache = Sequences::new(&KvCacheOptions::new(kind, 1, 8).with_q_len(4)).expect("sizes");
    let a = cache.create().expect("a sequence");
    for _ in 0..20 {
        cache.append(&[(a, 4)]).expect("room");
    }
    cache.truncate(a, 76).expect("what the last call wrote");
    cache.append(&[(a, 2)]).expect("room");
    let error = cache.truncate(a, 70).unwrap_err().to_string();
    assert!(error.contains("at least 76"), "{error}");
}

#[test]
fn bytes_are_told_before_they_are_taken() {
    // Keys of 4 bytes and values of 2, 8 channels, 2 heads, 12 pages of 4, 3 layers.
    let options = paged().with_v(Element::F16).with_layers(3);
    assert_eq!(options.bytes(), Ok(3 * 12 * 4 * 2 * 8 * (4 + 2)));
    // A ring keeps the window, the first, and room for the other new tokens.
    let ring = CacheKind::Ring {
        first: 4,
        window: 1024,
    };
    let options = KvCacheOptions::new(ring, 1, 64).with_q_len(1);
    assert_eq!(options.bytes(), Ok((4 + 1024) * 64 * 4 * 2));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let said = |options: KvCacheOptions| options.bytes().unwrap_err().to_string();
    let of = |kind| KvCacheOptions::new(kind, 2, 8);
    let pages = |page_len, pages| CacheKind::Paged {
        page_len,
        pages,
        capacity: 100,
    };
    assert!(said(of(pages(12, 9))).contains("power of two"));
    assert!(said(of(pages(16, 0))).contains("pages is 0"));
    assert!(
        said(of(CacheKind::Ring {
            first: 0,
            window: 0
        }))
        .contains("window is 0")
    );
    assert!(said(contiguous().with_q_len(24)).contains("capacity of a sequence, 23"));
    assert!(said(contiguous().with_layers(0)).contains("layers is 0"));
    let rotary = Rotary::new(8).with_dim(3);
    assert!(contiguous().with_rotary(rotary).bytes().is_err());
}
