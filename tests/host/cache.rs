//! The bookkeeping of caches against a plain model: every sequence's tokens, kept apart.

mod model;

use proptest::prelude::*;
use wgpu_attention::cache::{CacheKind, KvCacheOptions, Sequence, Sequences};
use wgpu_attention::problem::position::{RopeKind, Rotary, XPos};
use wgpu_attention::{Element, Error};

use self::model::{Model, acts};

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

/// 9 tokens beside the first two: those that the first of 7 new ones sees, and the new ones.
fn ring() -> KvCacheOptions {
    let kind = CacheKind::Ring {
        first: 2,
        window: 3,
    };
    KvCacheOptions::new(kind, 2, 8)
        .with_batch(BATCH)
        .with_q_len(NEW)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_its_tokens(acts in acts(), kind in 0..3usize) {
        let options = [paged(), contiguous(), ring()][kind].clone();
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

/// Of two forks that grow into one page in one call, the last one keeps it.
#[test]
fn forks_that_grow_together_need_one_page_less_than_they_are() {
    let mut cache = Sequences::new(&paged()).expect("valid sizes");
    let [a, full] = [(); 2].map(|()| cache.create().expect("a sequence"));
    cache.append(&[(a, 2)]).expect("room");
    let (b, _) = cache.fork(a).expect("a fork");
    for count in [7, 7, 7, 2] {
        cache.append(&[(full, count)]).expect("room");
    }
    let other = cache.create().expect("a sequence");
    cache.append(&[(other, 7)]).expect("room");
    cache.append(&[(other, 7)]).expect("room");
    assert_eq!(cache.free_pages(), 1);
    let update = cache.append(&[(a, 1), (b, 2)]).expect("the last page");
    assert_eq!((update.copies.len(), cache.free_pages()), (1, 0));
    // A third holder keeps the page for itself.
    cache.free(other).expect("a live sequence");
    let (c, _) = cache.fork(a).expect("a fork");
    let update = cache.append(&[(c, 1)]).expect("room");
    assert_eq!(update.copies.len(), 1);
}

/// Where the new tokens of ragged calls begin, row by row.
#[test]
fn new_tokens_of_ragged_calls_are_counted() {
    let mut cache = Sequences::new(&paged().with_tokens(9)).expect("valid sizes");
    let [a, b, c] = [(); 3].map(|()| cache.create().expect("a sequence"));
    let update = cache.append(&[(b, 4), (a, 0), (c, 5)]).expect("room");
    assert_eq!(update.cu_seqlens, [0, 4, 4, 9]);
    let error = cache.append(&[(a, 4), (b, 6)]).unwrap_err().to_string();
    assert!(error.contains("is 10; allowed is at most 9"), "{error}");
    assert!(paged().with_tokens(0).bytes().is_err());
    // Rows of a cache with room for each are theirs.
    let mut cache = Sequences::new(&contiguous()).expect("valid sizes");
    let [_, b, c] = [(); 3].map(|()| cache.create().expect("a sequence"));
    let update = cache.append(&[(c, 1), (b, 2)]).expect("room");
    assert_eq!(update.cu_seqlens, [0, 0, 2, 3]);
}

#[test]
fn what_is_kept_of_drafts_rises_and_is_there() {
    let mut cache = Sequences::new(&paged()).expect("valid sizes");
    let a = cache.create().expect("a sequence");
    cache.append(&[(a, 7)]).expect("room");
    let mut said = |from, kept: &[usize]| cache.keep(a, from, kept).unwrap_err().to_string();
    assert!(said(8, &[]).contains("at most 7"));
    assert!(said(3, &[1, 1]).contains("kept[1] is 1; allowed is 2 or more, and below 4"));
    assert!(said(3, &[4]).contains("below 4"));
    // Tokens 3, 4 and 6; only the last moves, and its page is given back.
    let moves = cache.keep(a, 3, &[0, 1, 3]).expect("some of them");
    assert_eq!(cache.len(a), Ok(6));
    let [[from, to]] = moves.rows[..] else {
        panic!("{moves:?}")
    };
    assert_eq!((from.1, to.1), (2, 1));
    assert_eq!(moves.copies, []);
    // A page that a fork shares is copied before.
    let (fork, _) = cache.fork(a).expect("a fork");
    let moves = cache.keep(fork, 0, &[1, 2, 3, 4]).expect("some of them");
    assert_eq!((moves.rows.len(), moves.copies.len()), (4, 1));
    assert_eq!(cache.common_prefix(&[a, fork]), Ok(0));
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
    assert!(error.contains("at least 76, or at most 2"), "{error}");
    // What is there for good, or is written again, is never missed.
    for len in [2, 1, 0] {
        cache.truncate(a, len).expect("the first tokens");
    }
    cache.append(&[(a, 4)]).expect("room");
    cache.append(&[(a, 4)]).expect("room");
    cache.truncate(a, 5).expect("tokens that are there");
    // A window of one token looks at nothing behind.
    let kind = CacheKind::Ring {
        first: 0,
        window: 1,
    };
    let mut cache = Sequences::new(&KvCacheOptions::new(kind, 1, 8)).expect("sizes");
    let a = cache.create().expect("a sequence");
    for _ in 0..9 {
        cache.append(&[(a, 1)]).expect("room");
    }
    cache.truncate(a, 4).expect("nothing of it is looked at");
}

/// Schemes that do not reach the last token, or that need a table longer than shaders index, are no cache's.
#[test]
fn rotations_reach_every_token() {
    let far = Rotary::new(8).with_xpos(XPos::new(0));
    let long = |options: KvCacheOptions| {
        let kind = CacheKind::Contiguous { capacity: 1 << 20 };
        options.with_kind(kind).with_rotary(far.clone())
    };
    for options in [contiguous(), contiguous().with_rotated(false)] {
        assert!(options.clone().with_rotary(far.clone()).bytes().is_ok());
        let error = long(options).bytes().unwrap_err();
        assert!(matches!(error, Error::Positions { .. }), "{error}");
    }
    // What does not rotate reaches everywhere.
    let nope = far.clone().with_kind(RopeKind::Nope);
    assert!(long(contiguous()).with_rotary(nope).bytes().is_ok());
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
