//! Sequences that are created, appended to, forked, truncated and freed by turns, in every kind of cache at once.

use wgpu_attention::problem::position::{RopeKind, Rotary};
use wgpu_attention::problem::{Problem, Window};
use wgpu_attention::{CacheKind, Element, KvCacheOptions, Sequence};

use super::harness::{Cached, DIM, KV_HEADS, encoder, kinds, token};
use super::stored::{Stored, check_stored, close, expected, stored};
use crate::device::{gpu, left_out};
use crate::run::{buffer, read};
use crate::support::tensor::{decode, encode};

/// Keys and values, and the sequence of acts.
const STORAGES: [(Element, Element); 5] = [
    (Element::F32, Element::F32),
    (Element::F16, Element::F32),
    (Element::BF16, Element::F16),
    (Element::Int8, Element::Int8),
    (Element::Int4, Element::Int8),
];

/// As a ring's window hides, whatever the kind: then all of them have the same answers.
fn windowed(problem: Problem) -> Problem {
    let CacheKind::Ring { first, window } = kinds()[2] else {
        unreachable!()
    };
    let mask = problem.mask.clone().with_first(first).with_window(Window {
        left: Some(window - 1),
        right: Some(0),
    });
    problem.with_mask(mask)
}

/// A sequence in each of the caches, and its tokens.
#[derive(Clone)]
struct Live {
    handles: Vec<Sequence>,
    ids: Vec<u64>,
}

#[test]
fn every_kind_of_cache_is_the_definition() {
    let is_part = left_out("three of five ways to store keys");
    for (n, &(k, v)) in STORAGES.iter().enumerate() {
        if is_part && n % 3 != 0 {
            continue;
        }
        let rotary = (n % 2 == 0).then(|| Rotary::new(DIM));
        let options = |kind| {
            KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_batch(3)
                .with_q_len(4)
                .with_k(k)
                .with_v(v)
                .with_rotary(rotary.clone())
                .with_k_hadamard(n == 4)
                .with_v_hadamard(n == 3)
        };
        let element = if n == 2 { Element::F16 } else { Element::F32 };
        let caches = kinds().map(|kind| Cached::with(&options(kind), element, windowed));
        walk(caches, n as u64);
    }
}

fn walk(mut caches: [Cached<'static>; 3], seed: u64) {
    let mut random = 12345 + seed;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    let mut live: Vec<Live> = Vec::new();
    let (mut next, mut done) = (0, [0; 5]); // done: of each act, as they are numbered below
    for step in 0..48 {
        let of = draw(live.len().max(1) as u64) as usize;
        let act = if live.is_empty() { 1 } else { draw(8) as usize };
        let before = live.len();
        match act {
            1 if live.len() < 2 => {
                let handles = caches.iter_mut().map(Cached::create).collect();
                let ids = Vec::new();
                live.push(Live { handles, ids });
            }
            2 if live.len() < 3 && !live[of].ids.is_empty() => {
                let from = live[of].clone();
                let fork = |(cached, &handle): (&mut Cached<'_>, &Sequence)| {
                    let mut encoder = encoder(gpu());
                    let fork = cached.cache.fork(&mut encoder, handle).expect("room");
                    gpu().queue.submit([encoder.finish()]);
                    fork
                };
                let handles = caches.iter_mut().zip(&from.handles).map(fork).collect();
                live.push(Live { handles, ..from });
            }
            3 => {
                let of = &mut live[of];
                let len = of.ids.len().saturating_sub(draw(5) as usize);
                // A ring may have lost what is behind: then none of them goes back.
                if caches[2].cache.truncate(of.handles[2], len as u32).is_err() {
                    continue;
                }
                for (cached, &handle) in caches.iter_mut().zip(&of.handles).take(2) {
                    cached.cache.truncate(handle, len as u32).expect("fewer");
                }
                of.ids.truncate(len);
            }
            4 if live.len() > 1 => {
                let of = live.remove(of);
                for (cached, handle) in caches.iter_mut().zip(of.handles) {
                    cached.cache.free(handle).expect("a live sequence");
                }
            }
            _ => append(&mut caches, &mut live, &mut next, &mut draw, step),
        }
        let is_append = act == 0 || act > 4 || (act < 3 || act == 4) && live.len() == before;
        done[if is_append { 0 } else { act }] += 1;
    }
    assert!(done.iter().all(|&n| n > 1), "{done:?}");
}

fn append(
    caches: &mut [Cached<'static>; 3],
    live: &mut [Live],
    next: &mut u64,
    draw: &mut impl FnMut(u64) -> u64,
    step: usize,
) {
    let mut fresh = vec![Vec::new(); live.len()];
    for (of, fresh) in live.iter_mut().zip(&mut fresh) {
        let room = 48 - of.ids.len() as u64;
        *fresh = (*next..*next + draw(5).min(room)).collect();
        *next += fresh.len() as u64;
        of.ids.extend(fresh.iter());
    }
    let mut rows: Vec<Vec<Stored>> = vec![Vec::new(); live.len()];
    for (n, cached) in caches.iter_mut().enumerate() {
        let named = live.iter().zip(&fresh);
        let named: Vec<_> = named
            .map(|(of, new)| (of.handles[n], new.clone()))
            .collect();
        let got = cached.step(&named);
        for ((of, got), rows) in live.iter().zip(&got).zip(&mut rows) {
            if got.is_empty() {
                continue;
            }
            let (options, element) = (cached.cache.options(), cached.element);
            let context = format!("step {step} of {options:?}");
            let held = stored(cached.gpu, &cached.cache, of.handles[n]);
            check_stored(&held, options, (&of.ids, element), &context);
            let want = expected(&held, options, (&of.ids, element), got.len(), windowed);
            close(got, &want, 8e-6, &context);
            rows.push(held);
        }
    }
    for rows in rows.iter().filter(|rows| !rows.is_empty()) {
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a == b || b.is_nan());
        for other in &rows[1..] {
            assert!(same(&rows[0].k, &other.k) && same(&rows[0].v, &other.v));
        }
    }
}

/// Several tokens in one encoder: each append and each call sees the lengths that stand before it.
#[test]
fn many_tokens_in_one_encoder() {
    let gpu = gpu();
    for kind in kinds() {
        let options = KvCacheOptions::new(kind, KV_HEADS, DIM).with_rotary(Rotary::new(DIM));
        let mut cached = Cached::new(&options, Element::F32);
        let sequence = cached.create();
        let mut encoder = encoder(gpu);
        let bytes = cached.o.size();
        let kept = buffer(&gpu.device, &vec![0; 20 * bytes as usize]);
        let ids: Vec<u64> = (0..20).collect();
        for &id in &ids {
            cached
                .cache
                .begin(&mut encoder, &[(sequence, 1)])
                .expect("room");
            let inputs = token(id);
            for (x, to) in inputs.iter().zip([&cached.q, &cached.k, &cached.v]) {
                let from = buffer(&gpu.device, &encode(Element::F32, x));
                encoder.copy_buffer_to_buffer(&from, 0, to, 0, from.size());
            }
            cached.append.encode(&mut encoder);
            cached.attend.encode(&mut encoder);
            encoder.copy_buffer_to_buffer(&cached.o, 0, &kept, id * bytes, bytes);
        }
        gpu.queue.submit([encoder.finish()]);
        let [kept] = read(gpu, [&kept]);
        let got: Vec<_> = decode(Element::F32, &kept)
            .chunks(bytes as usize / 4)
            .map(<[f64]>::to_vec)
            .collect();
        let held = stored(gpu, &cached.cache, sequence);
        let last = if matches!(kind, CacheKind::Ring { .. }) {
            1
        } else {
            20
        };
        let want = expected(&held, &options, (&ids, Element::F32), last, |problem| {
            problem
        });
        close(&got[20 - last..], &want, 5e-6, &format!("{kind:?}"));
    }
}

/// Page tables are those of the call, whatever became of encoders before.
#[test]
fn an_encoder_that_is_dropped_leaves_no_wrong_pages() {
    let kind = kinds()[1];
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM).with_q_len(4);
    let mut cached = Cached::new(&options, Element::F32);
    let other = cached.create();
    cached.step(&[(other, vec![90, 91])]);
    let dropped = cached.create();
    let begun = cached.cache.begin(&mut encoder(gpu()), &[(dropped, 3)]);
    begun.expect("room");
    cached.cache.free(dropped).expect("a live sequence");
    let sequence = cached.create();
    let ids = vec![1, 2, 3];
    let got = cached.step(&[(sequence, ids.clone())]).remove(0);
    let held = stored(gpu(), &cached.cache, sequence);
    check_stored(&held, &options, (&ids, Element::F32), "pages");
    let want = expected(&held, &options, (&ids, Element::F32), 3, |problem| problem);
    close(&got, &want, 5e-6, "pages");
}

/// A scheme by which nothing rotates is no reason to fail.
#[test]
fn what_does_not_rotate_is_kept_as_it_is() {
    for kind in kinds() {
        for rotated in [true, false] {
            let nope = Rotary::new(DIM).with_kind(RopeKind::Nope);
            let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_q_len(4)
                .with_rotated(rotated)
                .with_rotary(nope);
            let mut cached = Cached::new(&options, Element::F32);
            let sequence = cached.create();
            let ids = vec![1, 2, 3];
            let got = cached.step(&[(sequence, ids.clone())]).remove(0);
            let plain = options.with_rotary(None);
            let held = stored(gpu(), &cached.cache, sequence);
            check_stored(&held, &plain, (&ids, Element::F32), "nope");
            let want = expected(&held, &plain, (&ids, Element::F32), 3, |problem| problem);
            close(&got, &want, 5e-6, "nope");
        }
    }
}

/// Room for the last call's tokens is room in the rotary table, too.
#[test]
fn a_full_cache_of_keys_that_are_not_rotated_yet_is_checked() {
    let kind = CacheKind::Contiguous { capacity: 8 };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_q_len(4)
        .with_rotary(Rotary::new(DIM))
        .with_rotated(false);
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.create();
    for ids in [vec![0, 1, 2, 3], vec![4, 5], vec![6, 7], vec![]] {
        cached.step(&[(sequence, ids)]);
        let checked = pollster::block_on(cached.attend.check(&gpu().queue));
        assert_eq!(checked, Ok(()));
        let checked = pollster::block_on(cached.append.check(&gpu().queue));
        assert_eq!(checked, Ok(()));
    }
}
