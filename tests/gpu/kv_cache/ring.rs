//! Rings: positions within them, and texts that are much longer than they are.

use wgpu_attention::problem::position::{Rotary, XPos};
use wgpu_attention::{CacheKind, Element, Error, KvCacheOptions};

use super::harness::{Cached, DIM, KV_HEADS, encoder};
use super::stored::{check_stored, close, expected, stored};
use crate::device::{Gpu, gpu};

/// StreamingLLM: the keys that are kept stand side by side, whatever is gone between.
#[test]
fn positions_within_a_ring_are_those_of_the_kept_keys() {
    let kind = CacheKind::Ring {
        first: 3,
        window: 8,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_rotary(Rotary::new(DIM))
        .with_rotated(false);
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.create();
    // A contiguous cache of the same scheme, of which the tokens are those that the ring keeps.
    let kind = CacheKind::Contiguous { capacity: 48 };
    let plain = options.clone().with_kind(kind);
    for id in 0..40 {
        let got = cached.step(&[(sequence, vec![id])]);
        let all: Vec<u64> = (0..=id).collect();
        let mut held = stored(gpu(), &cached.cache, sequence);
        check_stored(&held, &options, (&all, Element::F32), "a ring");
        let kept: Vec<u64> = (0..=id).filter(|&n| n < 3 || n + 8 > id).collect();
        let of_kept = |rows: &[f64]| -> Vec<f64> {
            let heads = rows.chunks(all.len() * DIM as usize);
            let row =
                |head: &[f64], &j: &u64| head[j as usize * DIM as usize..][..DIM as usize].to_vec();
            heads
                .flat_map(|head| {
                    kept.iter()
                        .flat_map(move |j| row(head, j))
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        (held.k, held.v, held.len) = (of_kept(&held.k), of_kept(&held.v), kept.len() as u32);
        let want = expected(&held, &plain, (&kept, Element::F32), 1, |problem| problem);
        close(&got[0], &want, 5e-6, &format!("token {id}"));
    }
}

/// What an instance holds of what the library makes, and what the library keeps.
fn held(instance: &wgpu::Instance, gpu: &Gpu, cached: &Cached<'_>) -> Vec<u64> {
    let poll = gpu.device.poll(wgpu::PollType::wait_indefinitely());
    poll.expect("the device answers");
    let report = instance.generate_report().expect("a native instance");
    let hub = report.hub_report();
    let made = [
        &hub.buffers,
        &hub.bind_groups,
        &hub.bind_group_layouts,
        &hub.pipeline_layouts,
        &hub.shader_modules,
        &hub.compute_pipelines,
    ];
    let made = made.map(|registry| registry.num_allocated as u64);
    let kept = [
        cached.cache.bytes(),
        gpu.attention.compiled_variants() as u64,
        gpu.attention.waiting_scratch_bytes(),
        gpu.attention.waiting_constant_bytes(),
        gpu.attention.table_bytes(),
    ];
    [made.to_vec(), kept.to_vec()].concat()
}

/// Ten thousand tokens, and nothing is made that was not there after the first.
#[test]
fn a_ring_takes_ten_thousand_tokens_without_growing() {
    let kind = CacheKind::Ring {
        first: 4,
        window: 30,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_q_len(50)
        .with_rotary(Rotary::new(DIM));
    let (instance, gpu) = Gpu::alone();
    let mut cached = Cached::on(&gpu, &options, Element::F32, |problem| problem);
    let sequence = cached.create();
    let mut last = Vec::new();
    let mut before = Vec::new();
    for n in 0..200u64 {
        let ids: Vec<u64> = (50 * n..50 * (n + 1)).collect();
        last = cached.step(&[(sequence, ids)]).remove(0);
        match n {
            // Buffers for small values come back when their submission is done.
            0 | 1 => before = held(&instance, &gpu, &cached),
            _ if n % 20 == 19 => assert_eq!(held(&instance, &gpu, &cached), before, "step {n}"),
            _ => {}
        }
    }
    assert_eq!(cached.cache.len(sequence), Ok(10_000));
    let ids: Vec<u64> = (0..10_000).collect();
    let held = stored(&gpu, &cached.cache, sequence);
    check_stored(&held, &options, (&ids, Element::F32), "the last tokens");
    let want = expected(&held, &options, (&ids, Element::F32), 50, |problem| problem);
    close(&last, &want, 2e-5, "the last tokens");
}

/// A prompt much longer than the ring is read in parts, each of which sees its window.
#[test]
fn a_prompt_of_ten_thousand_tokens_goes_through_a_ring_of_1024() {
    let kind = CacheKind::Ring {
        first: 0,
        window: 512,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM).with_q_len(513);
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.create();
    let ids: Vec<u64> = (0..10_000).collect();
    let refused = cached
        .cache
        .begin(&mut encoder(gpu()), &[(sequence, 10_000)]);
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("give longer prompts in parts"), "{said}");
    let mut last = Vec::new();
    for part in ids.chunks(513) {
        last = cached.step(&[(sequence, part.to_vec())]).remove(0);
    }
    let held = stored(gpu(), &cached.cache, sequence);
    check_stored(&held, &options, (&ids, Element::F32), "a prompt");
    let want = expected(&held, &options, (&ids, Element::F32), 3, |problem| problem);
    close(&last[last.len() - 3..], &want, 1e-5, "a prompt");
}

/// Where xPos ends an append is refused before anything has changed.
#[test]
fn what_is_refused_changes_nothing() {
    let kind = CacheKind::Ring {
        first: 0,
        window: 9,
    };
    let rotary = Rotary::new(DIM).with_xpos(XPos::new(-16_000));
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_q_len(50)
        .with_rotary(rotary);
    let mut cache = pollster::block_on(gpu().attention.kv_cache(&options)).expect("a cache");
    let sequence = cache.create().expect("a sequence");
    let mut encoder = encoder(gpu());
    let refused = loop {
        let len = cache.len(sequence);
        if let Err(error) = cache.begin(&mut encoder, &[(sequence, 50)]) {
            assert_eq!(cache.len(sequence), len);
            break error;
        }
    };
    assert!(matches!(refused, Error::Positions { .. }), "{refused}");
    gpu().queue.submit([encoder.finish()]);
}
