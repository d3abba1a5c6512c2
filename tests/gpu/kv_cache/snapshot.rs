//! Sequences in host memory, and back.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{CacheKind, Element, Error, KvCache, KvCacheOptions, Sequence, Snapshot};

use super::harness::{Cached, DIM, KV_HEADS, encoder, kinds};
use crate::device::gpu;

fn restore(cache: &mut KvCache, snapshot: &Snapshot) -> Result<Sequence, Error> {
    let mut encoder = encoder(gpu());
    let restored = pollster::block_on(cache.restore(&mut encoder, snapshot));
    gpu().queue.submit([encoder.finish()]);
    restored
}

fn snapshot(cached: &Cached<'_>, sequence: Sequence) -> Snapshot {
    let snapshot = pollster::block_on(cached.cache.snapshot(&gpu().queue, sequence));
    snapshot.expect("a snapshot")
}

/// Twenty tokens, of which a ring has overwritten some.
#[test]
fn a_snapshot_comes_back() {
    for storage in [Element::F32, Element::BF16, Element::Int8, Element::Int4] {
        for kind in kinds() {
            let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_batch(2)
                .with_q_len(4)
                .with_k(storage)
                .with_v(storage)
                .with_rotary(Rotary::new(DIM));
            let mut cached = Cached::new(&options, Element::F32);
            let sequence = cached.create();
            for n in 0..5 {
                cached.step(&[(sequence, (4 * n..4 * (n + 1)).collect())]);
            }
            let taken = snapshot(&cached, sequence);
            let want = cached.step(&[(sequence, vec![20, 21])]);
            cached.cache.free(sequence).expect("a live sequence");

            // Into another, whose pages are taken in another order.
            let mut again = Cached::new(&options, Element::F32);
            let other = again.create();
            again.step(&[(other, vec![50, 51])]);
            let restored = restore(&mut again.cache, &taken).expect("a sequence");
            assert_eq!(snapshot(&again, restored), taken);
            let got = again.step(&[(restored, vec![20, 21])]);
            assert_eq!(got, want, "{kind:?}, {storage}");

            let mut short = taken.clone();
            short.bytes.pop();
            let refused = restore(&mut again.cache, &short);
            assert!(matches!(refused, Err(Error::Snapshot { .. })));
        }
    }
}

/// What a ring has overwritten is as lost afterwards as it was before.
#[test]
fn a_ring_that_has_gone_round_comes_back_as_it_was() {
    let options = KvCacheOptions::new(kinds()[2], KV_HEADS, DIM).with_q_len(4);
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.create();
    for n in 0..5 {
        cached.step(&[(sequence, (4 * n..4 * (n + 1)).collect())]);
    }
    // Drafts that are forgotten have overwritten what stood twelve tokens before them.
    cached.cache.truncate(sequence, 17).expect("drafts");
    let taken = snapshot(&cached, sequence);
    assert_eq!(taken.lost, 8);
    let mut again = Cached::new(&options, Element::F32);
    let restored = restore(&mut again.cache, &taken).expect("a sequence");
    for (cached, sequence) in [(&mut cached, sequence), (&mut again, restored)] {
        let refused = cached.cache.truncate(sequence, 14).unwrap_err();
        assert!(refused.to_string().contains("at least 16"), "{refused}");
    }
    let mut wrong = taken;
    wrong.lost = 18;
    let refused = restore(&mut again.cache, &wrong).unwrap_err().to_string();
    assert!(refused.contains("those before 18 are lost"), "{refused}");
}

#[test]
fn a_snapshot_of_other_options_is_refused() {
    let ring = |first| CacheKind::Ring { first, window: 9 };
    let options = KvCacheOptions::new(ring(2), KV_HEADS, DIM)
        .with_q_len(4)
        .with_rotary(Rotary::new(DIM));
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.create();
    cached.step(&[(sequence, vec![1, 2, 3])]);
    let taken = snapshot(&cached, sequence);
    let of = |options: KvCacheOptions| {
        let cache = pollster::block_on(gpu().attention.kv_cache(&options));
        restore(&mut cache.expect("a cache"), &taken).map(|_| ())
    };
    // How many sequences there are is no matter.
    assert_eq!(of(options.clone().with_batch(3)), Ok(()));
    let refused = [
        ("kind", options.clone().with_kind(ring(3)).with_q_len(4)),
        ("q_len", options.clone().with_q_len(5)),
        ("rotary", options.clone().with_rotary(None)),
        (
            "rotary",
            options.clone().with_rotary(Rotary::new(DIM).with_base(5e5)),
        ),
        ("rotated", options.clone().with_rotated(false)),
        ("v", options.clone().with_v(Element::F16)),
        ("v_hadamard", options.clone().with_v_hadamard(true)),
    ];
    for (what, options) in refused {
        let error = of(options).unwrap_err();
        assert!(matches!(error, Error::Snapshot { .. }));
        let said = error.to_string();
        assert!(said.contains(&format!("{what} of its cache is")), "{said}");
    }
    // Of a cache without a scheme it does not matter when keys would be rotated.
    let plain = KvCacheOptions::new(kinds()[0], KV_HEADS, DIM);
    let mut cached = Cached::new(&plain, Element::F32);
    let sequence = cached.create();
    cached.step(&[(sequence, vec![1])]);
    let taken = snapshot(&cached, sequence);
    let other = plain.with_rotated(false).with_q_len(3);
    let cache = pollster::block_on(gpu().attention.kv_cache(&other));
    assert!(restore(&mut cache.expect("a cache"), &taken).is_ok());
}
