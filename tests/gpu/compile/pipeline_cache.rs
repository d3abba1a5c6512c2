//! What a driver keeps, given and taken.

use std::time::Instant;

use wgpu_attention::{Attention, wanted};

use crate::device::{Gpu, gpu, say};
use crate::run::{Buffers, check, execute};

use super::case;

/// A device that keeps what it compiles, if the adapter has such.
fn keeping() -> Option<Gpu> {
    let (features, _) = wanted(&gpu().adapter);
    let keeps = features.contains(wgpu::Features::PIPELINE_CACHE);
    if !keeps {
        say("this adapter keeps no pipelines");
    }
    keeps.then(Gpu::another)
}

/// Computes with this cache; answers what is kept, and what was said of the bytes.
fn started(bytes: &[u8]) -> Option<(Vec<u8>, Option<String>)> {
    let gpu = keeping()?;
    let attention = Attention::with_adapter(&gpu.adapter, &gpu.device).with_pipeline_cache(bytes);
    let (case, inputs) = case(36, 33);
    let plan = attention.plan(&case.problem).expect("a plan");
    let start = Instant::now();
    let warm_up = attention.warm_up(&gpu.queue, std::slice::from_ref(&plan));
    pollster::block_on(warm_up).expect("warm");
    let took = start.elapsed();
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    let output = execute(&gpu, &attention, &plan, &buffers);
    check(&case, &inputs, &output, &plan.to_string());
    let kept = attention.pipeline_cache_data().expect("bytes");
    say(&format!(
        "warm in {took:.1?} with {} bytes, which became {}",
        bytes.len(),
        kept.len()
    ));
    Some((kept, attention.pipeline_cache_note()))
}

#[test]
fn a_second_start() {
    let Some((kept, note)) = started(&[]) else {
        return;
    };
    assert_eq!(note, None);
    let (again, note) = started(&kept).expect("the same adapter");
    assert_eq!(note, None);
    assert!(
        again.len() >= kept.len() / 2,
        "{} of {}",
        again.len(),
        kept.len()
    );
}

#[test]
fn damaged_bytes_are_noted_and_ignored() {
    let Some((kept, _)) = started(&[]) else {
        return;
    };
    let mut damaged = kept.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let key = kept.windows(6).position(|part| part == b"vulkan");
    let key = key.expect("the backend in the frame's key");
    let mut of_another = kept.clone();
    of_another[key] = b'w';
    for (bytes, says) in [
        (&damaged[..], "checksum"),
        (&kept[..kept.len() - 1], "end is missing"),
        (&of_another, "another driver"),
        (b"garbage", "none of wgpu-attention's"),
    ] {
        let (_, note) = started(bytes).expect("the same adapter");
        let note = note.expect("a note");
        assert!(note.contains(says), "{note}");
    }
}

#[test]
fn a_device_without_the_feature() {
    let least = Gpu::least();
    let attention = Attention::new(&least.device).with_pipeline_cache(&[]);
    let note = attention.pipeline_cache_note().expect("a note");
    assert!(note.contains("PIPELINE_CACHE"), "{note}");
    assert_eq!(attention.pipeline_cache_data(), None);
}
