//! The host's parameters lie where the shaders read them.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use wgpu_attention::plan::{Output, Params, Variant};
use wgpu_attention::shader;

/// Offset of each member of the WGSL struct, and its size, as naga lays it out.
fn reflected() -> (BTreeMap<String, u32>, u32) {
    let output = Output::scratch(4);
    let variant = Variant::Combine { output };
    let shader = shader::compose(&variant).expect("a whole library");
    let (module, _) = shader.validate(&variant).expect("a valid shader");
    let (_, params) = module
        .types
        .iter()
        .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
        .expect("the uniform's struct");
    let naga::TypeInner::Struct { members, span } = &params.inner else {
        panic!("Params is no struct");
    };
    let offsets = members
        .iter()
        .map(|m| (m.name.clone().unwrap_or_default(), m.offset));
    (offsets.collect(), *span)
}

macro_rules! offsets {
    ($($field:ident)*) => {
        BTreeMap::from([$((stringify!($field).to_string(), offset_of!(Params, $field) as u32)),*])
    };
}

#[test]
fn host_and_shader_agree_on_every_field() {
    let host = offsets!(
        q k v o batch q_heads group q_len kv_len head_dim value_dim splits q_begin q_end k_begin k_end work_begin
        work_end q_tiles o_split lse lse_split scale softcap softcap_inverse causal prefix window_left window_right
        first lens_at offsets_at partials_at block_side block_rows_at block_batch block_head block_columns
        block_tiles_from block_bits_at segment_keys_at segment_queries_at segments_q_at segments_k_at block_capacity
        bias slopes_at sinks_at t5_at t5_buckets_at t5_distance q_positions_at
        k_positions_at q_rotations_at k_rotations_at table_start table_rows rotary_dim table_stride table_key_at
        table_side_at table_sine temperature_scale temperature_floor temperature_offset work_heads d_o stats dv
        group_begin group_end accumulate part_begin part_stride shared_batches shared_heads mods_at pool_ends_at pool_blocks
        pool_begin block_begin keep_blocks local_blocks lists_at list_rows list_columns list_capacity chunks_at
        rotary_start
    );
    let (shader, span) = reflected();
    assert_eq!(host, shader);
    assert_eq!(size_of::<Params>() as u32, span);
}
