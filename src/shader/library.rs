//! The crate's WGSL modules by name.

macro_rules! modules {
    ($($name:literal => $path:literal,)*) => {
        /// The text of module `name`.
        pub(super) fn find(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../../shaders/", $path, ".wgsl"))),)*
                _ => None,
            }
        }
    };
}

modules! {
    "kernel::prefill" => "kernel/prefill",
    "kernel::combine" => "kernel/combine",
    "kernel::pack" => "kernel/pack",
    "kernel::rotate" => "kernel/rotate",
    "kernel::delta" => "kernel/delta",
    "kernel::grad_q" => "kernel/grad_q",
    "kernel::grad_kv" => "kernel/grad_kv",
    "kernel::grad_score" => "kernel/grad_score",
    "kernel::grad_bias" => "kernel/grad_bias",
    "kernel::grad_sinks" => "kernel/grad_sinks",
    "kernel::reduce" => "kernel/reduce",
    "kernel::pool" => "kernel/pool",
    "kernel::score_blocks" => "kernel/score_blocks",
    "kernel::scan_blocks" => "kernel/scan_blocks",
    "kernel::list_blocks" => "kernel/list_blocks",
    "part::ranks" => "part/ranks",
    "schedule::states_matrix" => "schedule/states_matrix",
    "schedule::states_lists" => "schedule/states_lists",
    "part::gradient_rows" => "part/gradient_rows",
    "part::gradient" => "part/gradient",
    "schedule::transposed" => "schedule/transposed",
    "address::f32_sum" => "address/f32_sum",
    "kernel::check" => "kernel/check",
    "part::place" => "part/place",
    "score::chain" => "score/chain",
    "position::table" => "position/table",
    "position::load_plain" => "position/load_plain",
    "position::load_half" => "position/load_half",
    "position::load_interleaved" => "position/load_interleaved",
    "score::softcap" => "score/softcap",
    "score::bias" => "score/bias",
    "score::alibi" => "score/alibi",
    "score::mods" => "score/mods",
    "mask::mods" => "mask/mods",
    "mask::user" => "mask/user",
    "score::t5" => "score/t5",
    "part::params" => "part/params",
    "part::numbers" => "part/numbers",
    "part::work" => "part/work",
    "part::online_softmax" => "part/online_softmax",
    "part::scores" => "part/scores",
    "part::chunk" => "part/chunk",
    "part::subgroup" => "part/subgroup",
    "part::workgroup" => "part/workgroup",
    "mask::interval" => "mask/interval",
    "mask::elements" => "mask/elements",
    "mask::block_bits" => "mask/block_bits",
    "mask::segments" => "mask/segments",
    "schedule::interval" => "schedule/interval",
    "schedule::list" => "schedule/list",
    "address::f32_aligned" => "address/f32_aligned",
    "address::f32_unaligned" => "address/f32_unaligned",
    "address::half_aligned" => "address/half_aligned",
    "address::half_unaligned" => "address/half_unaligned",
    "address::f32_wide" => "address/f32_wide",
    "address::half_wide" => "address/half_wide",
    "address::f32_output" => "address/f32_output",
    "address::f32_output_aligned" => "address/f32_output_aligned",
    "address::half_output" => "address/half_output",
    "address::half_output_aligned" => "address/half_output_aligned",
    "element::f16" => "element/f16",
    "element::bf16" => "element/bf16",
}
