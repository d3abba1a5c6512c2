//! A prompt of n + 1 tokens is one of n and a token: under every mask, score, rotation and way to store keys.

use std::ops::Range;

use wgpu_attention::problem::position::{Rotary, RotaryLayout, XPos};
use wgpu_attention::problem::{Segments, T5, T5Bias, Values, Window, alibi_slopes};
use wgpu_attention::{CacheKind, Element, KvCache, KvCacheOptions, Problem, Sequence};

use super::harness::{DIM, HEADS, KV_HEADS, Rows, call};
use super::stored::{Stored, check_stored, close, expected, stored};
use crate::device::{gpu, left_out};
use crate::support::rotary::kinds as rotations;

/// Tokens of the prompt, and of the cache.
const N: usize = 19;
const CAPACITY: u32 = 40;

const STORAGES: [Element; 5] = [
    Element::F32,
    Element::F16,
    Element::BF16,
    Element::Int8,
    Element::Int4,
];

const PAGED: CacheKind = CacheKind::Paged {
    page_len: 8,
    pages: 5,
    capacity: CAPACITY,
};

/// What a call adds to the cache's problem, told which tokens of the sequence its queries are.
type Change = fn(Problem, Range<usize>) -> Problem;

fn causal(problem: Problem, _: Range<usize>) -> Problem {
    problem
}

/// Documents of 7 tokens.
fn segments(problem: Problem, new: Range<usize>) -> Problem {
    let ids = |tokens: Range<usize>| tokens.map(|n| (n / 7) as i32).collect();
    let (q, k) = (ids(new), ids(0..problem.shape.kv_len as usize));
    let mask = problem.mask.clone().with_segments(Segments::Host { q, k });
    problem.with_mask(mask)
}

fn window(problem: Problem, first: u32) -> Problem {
    let sides = Window {
        left: Some(6),
        right: Some(0),
    };
    let mask = problem.mask.clone().with_window(sides).with_first(first);
    problem.with_mask(mask)
}

/// By name, and whether rows of a ring of this window hold what is seen.
fn masks_and_scores() -> [(&'static str, Change); 9] {
    [
        ("causal", causal),
        ("window", |p, _| window(p, 0)),
        ("window with first", |p, _| window(p, 3)),
        ("prefix", |p, _| {
            let mask = p.mask.clone().with_prefix(5);
            p.with_mask(mask)
        }),
        ("segments", segments),
        ("ALiBi", |mut p, _| {
            p.score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
            p
        }),
        ("T5", |mut p, _| {
            let buckets = T5::causal();
            let table = (0..buckets.buckets * HEADS).map(|n| (n % 13) as f32 * 0.2 - 1.0);
            p.score.t5 = Some(T5Bias::new(buckets, Values::Host(table.collect())));
            p
        }),
        ("softcap", |mut p, _| {
            p.score.softcap = Some(2.0);
            p
        }),
        ("sinks", |mut p, _| {
            p.score.sinks = Some(Values::Host(vec![0.5, -1.0, 2.0, 0.0]));
            p
        }),
    ]
}

/// Tokens of a fresh cache, by calls of so many; answers o of the last of them and all that is stored.
fn through(options: &KvCacheOptions, calls: &[usize], change: Change) -> (Rows, Stored) {
    let mut cache: KvCache =
        pollster::block_on(gpu().attention.kv_cache(options)).expect("a cache");
    let sequence: Sequence = cache.create().expect("a sequence");
    let (mut o, mut len) = (Vec::new(), 0);
    for count in calls {
        let new = len..len + count;
        len = new.end;
        let ids: Vec<u64> = (new.start as u64..new.end as u64).collect();
        o = call(&mut cache, sequence, (&ids, None), |p| {
            change(p, new.clone())
        });
    }
    let last = o.pop().expect("a token");
    (vec![last], stored(gpu(), &cache, sequence))
}

fn check(name: &str, options: &KvCacheOptions, change: Change) {
    let options = options.clone().with_q_len(N as u32 + 1);
    let (at_once, whole) = through(&options, &[N + 1], change);
    let (one_more, grown) = through(&options, &[N, 1], change);
    let context = format!("{name}: {options:?}");
    let same = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .all(|(a, b)| a == b || a.is_nan() && b.is_nan())
    };
    assert!(
        same(&whole.k, &grown.k) && same(&whole.v, &grown.v),
        "{context}"
    );
    close(&one_more, &at_once, 4e-6, &context);
    let ids: Vec<u64> = (0..=N as u64).collect();
    let tokens = (&ids[..], Element::F32);
    check_stored(&whole, &options, tokens, &context);
    let want = expected(&whole, &options, tokens, 1, |p| change(p, 0..N + 1));
    close(&one_more, &want, 5e-6, &context);
}

#[test]
fn under_every_mask_and_score() {
    let is_part = left_out("some pairs of masks and storages");
    for (n, (name, change)) in masks_and_scores().into_iter().enumerate() {
        for (m, &storage) in STORAGES.iter().enumerate() {
            // Each mask with f32 and with one other storage.
            if m != 0 && (is_part || m != 1 + n % 4) {
                continue;
            }
            let kind = match n % 2 {
                0 => PAGED,
                _ => CacheKind::Contiguous { capacity: CAPACITY },
            };
            let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_k(storage)
                .with_v(storage)
                .with_rotary((m == 0).then(|| Rotary::new(DIM)));
            check(name, &options, change);
        }
    }
}

/// A ring's own window is its mask; scores go with it.
#[test]
fn in_a_ring() {
    let kind = CacheKind::Ring {
        first: 3,
        window: 7,
    };
    for (n, (name, change)) in masks_and_scores().into_iter().enumerate() {
        if !["causal", "ALiBi", "softcap", "sinks"].contains(&name) {
            continue;
        }
        let storage = STORAGES[n % 5];
        let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
            .with_k(storage)
            .with_v(storage)
            .with_rotary(Rotary::new(DIM));
        check(name, &options, change);
    }
}

/// Rotated as they are written and as they are read, by every kind of frequencies.
#[test]
fn under_every_rotation() {
    let is_part = left_out("half of the rotations");
    let mut schemes: Vec<(&str, Rotary)> = rotations(DIM)
        .into_iter()
        .map(|(name, kind)| (name, Rotary::new(DIM).with_kind(kind)))
        .collect();
    schemes.push(("xPos", Rotary::new(DIM).with_xpos(XPos::new(9))));
    let interleaved = Rotary::new(DIM).with_layout(RotaryLayout::Interleaved);
    schemes.push(("interleaved", interleaved));
    schemes.push(("half of the channels", Rotary::new(DIM).with_dim(DIM / 2)));
    for (n, (name, rotary)) in schemes.into_iter().enumerate() {
        for rotated in [true, false] {
            if is_part && (n + usize::from(rotated)) % 2 == 0 {
                continue;
            }
            let storage = STORAGES[(n + 2 * usize::from(rotated)) % 5];
            let options = KvCacheOptions::new(PAGED, KV_HEADS, DIM)
                .with_k(storage)
                .with_v(storage)
                .with_rotary(rotary.clone())
                .with_rotated(rotated);
            check(name, &options, causal);
        }
    }
}
