//! Caches that cannot be.

use wgpu_attention::{CacheKind, Error, KvCacheOptions};

use super::harness::kinds;
use crate::device::gpu;
use crate::run::buffer;

#[test]
fn a_cache_larger_than_a_binding_is_refused() {
    let caps = gpu().attention.caps();
    // 8 heads of 128 channels in f32: 4 KiB per token, more than a binding holds by one.
    let capacity = (caps.binding_bytes / 4096 + 1) as u32;
    let kind = CacheKind::Contiguous { capacity };
    let refused = pollster::block_on(gpu().attention.kv_cache(&KvCacheOptions::new(kind, 8, 128)));
    match refused.map(|_| ()).unwrap_err() {
        Error::Limit {
            what: "a layer of the cache",
            limit: "max_storage_buffer_binding_size",
            actual,
            allowed,
            ..
        } => assert_eq!(
            (actual, allowed),
            (u64::from(capacity) * 4096, caps.binding_bytes)
        ),
        other => panic!("{other}"),
    }
    // More elements than shaders index is told before any device is asked.
    let kind = CacheKind::Contiguous { capacity: 1 << 24 };
    let refused = pollster::block_on(gpu().attention.kv_cache(&KvCacheOptions::new(kind, 8, 128)));
    let error = refused.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Extent { what: "k", .. }), "{error}");
}

#[test]
fn a_layer_that_there_is_not_is_refused() {
    let options = KvCacheOptions::new(kinds()[0], 2, 32);
    let cache = pollster::block_on(gpu().attention.kv_cache(&options)).expect("a cache");
    let o = buffer(&gpu().device, &[0; 16]);
    let refused = cache.operands(1, &o, &o, &o).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("layer is 1"));
}
