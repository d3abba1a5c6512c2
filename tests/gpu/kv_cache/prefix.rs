//! Forks of a prompt whose pages are read once for all of them.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{CacheKind, Element, KvCacheOptions};

use super::harness::{Cached, DIM, KV_HEADS, encoder};
use super::stored::{check_stored, close, expected, stored};
use crate::device::gpu;

#[test]
fn forks_share_the_reading_of_their_prefix() {
    const PROMPT: u32 = 70;
    const SHARED: u32 = 64;
    let kind = CacheKind::Paged {
        page_len: 8,
        pages: 24,
        capacity: 96,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_batch(4)
        .with_q_len(2)
        .with_rotary(Rotary::new(DIM));
    let mut cached = Cached::with(&options, Element::F32, |problem| {
        problem.with_shared_prefix(SHARED)
    });
    let plan = cached.attend.plan().to_string();
    assert!(plan.contains("for all 4 sequences at once"), "{plan}");
    let first = cached.create();
    for n in 0..u64::from(PROMPT / 2) {
        cached.step(&[(first, vec![2 * n, 2 * n + 1])]);
    }
    let mut encoder = encoder(gpu());
    let mut all = vec![first];
    for _ in 0..3 {
        all.push(cached.cache.fork(&mut encoder, first).expect("a fork"));
    }
    gpu().queue.submit([encoder.finish()]);
    assert_eq!(cached.cache.common_prefix(&all), Ok(PROMPT));
    let mut texts = vec![(0..u64::from(PROMPT)).collect::<Vec<_>>(); 4];
    for step in 0..6u64 {
        let new: Vec<_> = (0..4u64)
            .map(|n| {
                (0..1 + (step + n) % 2)
                    .map(|i| 1000 + 100 * n + 2 * step + i)
                    .collect()
            })
            .collect();
        let named: Vec<_> = all.iter().copied().zip(new.iter().cloned()).collect();
        let got = cached.step(&named);
        for (n, got) in got.iter().enumerate() {
            texts[n].extend(&new[n]);
            let (text, context) = ((&texts[n][..], Element::F32), format!("step {step}"));
            let held = stored(gpu(), &cached.cache, all[n]);
            check_stored(&held, &options, text, &context);
            let want = expected(&held, &options, text, new[n].len(), |problem| problem);
            close(got, &want, 5e-6, &context);
        }
    }
    // The page that the prompt filled in part was copied.
    assert_eq!(cached.cache.common_prefix(&all), Ok(SHARED));
}
