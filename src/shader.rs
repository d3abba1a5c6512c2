//! From a variant to WGSL: which modules, which constants, which flags.

mod compose;
mod library;
mod unroll;

use crate::error::{Error, Result};
use crate::plan::{
    CHECK_RUN, Delta, Gradient, Input, ListFrom, MaskKey, Output, Pack, PackRows, Prefill,
    ROTATED_HEADS, ROW_KERNEL_INVOCATIONS, Rotate, SINK_ROWS, ScoreKey, ScoreNumbers, Strategy,
    Tiles, Variant,
};
use crate::problem::position::RotaryLayout;
use crate::problem::{Element, MAX_LEN, ModText};

pub use compose::{Shader, Source};

/// The WGSL of a variant that calls no functions of the user's, composed of the crate's modules.
pub fn compose(variant: &Variant) -> Result<Shader> {
    compose_with(variant, None)
}

/// The WGSL of a variant with the user's functions that it calls.
pub fn compose_with(variant: &Variant, mods: Option<&ModText>) -> Result<Shader> {
    let mut source = source(variant);
    if variant.uses_mods() {
        let text = mods.ok_or_else(|| {
            Error::compose(
                "slot::mods",
                0,
                "the variant calls user functions and none are given",
            )
        })?;
        source.text("mods", text.renamed());
    }
    source.compose(library::find)
}

/// The modules, constants and flags that a variant is composed of.
pub fn source(variant: &Variant) -> Source {
    let mut source = Source::new(variant.kernel());
    // Of tensors whose rows no variant lays otherwise.
    source.slot("address", vec!["address::strided"]);
    match variant {
        Variant::Prefill(key) => prefill(&mut source, key),
        Variant::Rotate(key) => rotate(&mut source, key),
        Variant::Combine { output } => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            add_output(&mut source, *output);
        }
        Variant::Pack(key) => pack(&mut source, key),
        Variant::Check => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            source.constant("RUN", CHECK_RUN);
        }
        Variant::Delta(key) => delta(&mut source, key),
        Variant::GradQ(key) => {
            gradient(&mut source, key);
            source.flag("head_sum", true);
        }
        Variant::GradBias(key) => {
            gradient(&mut source, key);
            source.flag("every_tile", true);
        }
        Variant::GradScore(key, numbers) => {
            gradient(&mut source, key);
            source.flag("grad_slopes", *numbers == ScoreNumbers::Slopes);
            source.constant("PARTS", numbers.parts());
            source.constant("PART_SUMS", numbers.parts() * key.tiling.invocations);
        }
        Variant::GradSinks => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            source.constant("PART_ROWS", SINK_ROWS);
        }
        Variant::Reduce => source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS),
        Variant::Pool(key) => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            source.slot("x_rows", input_modules(&key.input, false));
            source.flag("extremes", key.extremes);
        }
        Variant::ScoreBlocks(key) => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            source.constant("FOUR", 4);
            source.signed("MAX_OFFSET", MAX_LEN as i32);
            source.flag("extremes", key.extremes);
            source.flag("scanned", key.scanned);
            source.flag("transposed", false);
        }
        Variant::ScanBlocks(key) => {
            source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
            source.signed("MAX_OFFSET", MAX_LEN as i32);
            source.flag("intervals", key.intervals);
            source.flag("transposed", false);
            source.flag("mods", key.mask_mod);
            source.flag("mask_mod", key.mask_mod);
            source.flag("segments", key.segments);
            source.slot("mods", Vec::new());
        }
        Variant::ListBlocks(key) => {
            source.constant("INVOCATIONS", key.invocations);
            source.flag("top_k", key.from == ListFrom::Scores);
            source.flag("from_lists", key.from == ListFrom::Lists);
            let states = match key.from {
                ListFrom::Scores | ListFrom::Scan => "schedule::states_matrix",
                ListFrom::Lists => "schedule::states_lists",
            };
            source.slot("states", vec![states]);
        }
        Variant::GradKv(key) => {
            gradient(&mut source, key);
            source.flag("transposed", true);
            source.flag("head_sum", true);
            source.flag("value_sum", true);
        }
    }
    source
}

fn prefill(source: &mut Source, key: &Prefill) {
    if let Some(tiles) = Variant::Prefill(*key).tiles() {
        add_tiles(source, &tiles);
    }
    for (slot, input) in [
        ("q_rows", &key.input),
        ("k_rows", &key.input),
        ("v_rows", &key.value),
    ] {
        source.slot(slot, input_modules(input, key.wide));
    }
    add_score(source, &key.score, &key.mask, key.rotary);
    add_mask(source, &key.mask);
    add_output(source, key.output);
    for name in ["gradient", "transposed", "every_tile"] {
        source.flag(name, false);
    }
    add_operands(source, false);
    source.flag("value_sum", true);
    source.flag("count_tiles", key.count_tiles);
}

fn gradient(source: &mut Source, key: &Gradient) {
    add_tiles(source, &key.tiles());
    for (slot, input) in [
        ("q_rows", &key.input),
        ("k_rows", &key.input),
        ("v_rows", &key.value),
        ("d_o_rows", &key.d_o),
    ] {
        source.slot(slot, input_modules(input, key.wide));
    }
    add_score(source, &key.score, &key.mask, None);
    add_mask(source, &key.mask);
    source.flag("gradient", true);
    source.flag("transposed", false);
    source.flag("every_tile", false);
    add_operands(source, true);
    source.flag("count_tiles", key.count_tiles);
}

/// Which operands a kernel has of rows, of as many channels as a head or a value has, and into which it sums: none of
/// the latter, unless its variant says so.
fn add_operands(source: &mut Source, value_rows: bool) {
    source.flag("head_rows", true);
    source.flag("value_rows", value_rows);
    source.flag("head_sum", false);
    source.flag("value_sum", false);
}

fn delta(source: &mut Source, key: &Delta) {
    source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
    source.slot("o_rows", input_modules(&key.o, false));
    source.slot("d_o_rows", input_modules(&key.d_o, false));
    source.flag("dlse", key.dlse);
}

/// Rows of which an invocation sums four channels at once: more are more sums than a processor has registers (AVX-512
/// has 32, AVX2 16). Tiles for GPUs have no more rows.
const MOST_ROWS_OF_FOUR: u32 = 5;

/// What every kernel that owns tiles is told of them, and how its rows meet what is streamed past them.
fn add_tiles(source: &mut Source, tiles: &Tiles) {
    let (tiling, lanes) = (&tiles.tiling, tiles.tiling.lanes_per_row);
    let vec4s = add_chunks(source, tiles.wide);
    // Parts of a chunk that are multiplied one after the other: a chunk of workgroup memory is read once, but of what
    // lanes hold a shuffle takes a 4-vector, and products of one at a time need fewer registers.
    let shuffles = tiles.strategy != Strategy::Workgroup;
    let shares = if shuffles { vec4s } else { 1 };
    let all = [tiles.chunks, tiles.value_chunks].map(|of_row| of_row.div_ceil(vec4s));
    let [chunks, value_chunks] = all.map(|chunks| chunks.div_ceil(lanes));
    for (name, value) in [
        ("INVOCATIONS", tiling.invocations),
        ("LANES", lanes),
        ("ROWS", tiling.rows),
        ("ROW_STRIDE", tiling.invocations / lanes),
        ("TILE_ROWS", tiling.tile_rows()),
        ("KEYS", tiling.keys),
        ("TILE", tiling.tile),
        ("GROUPS", tiling.tile / tiling.keys),
        ("HEAD_CHUNKS", chunks),
        ("HEAD_ALL_CHUNKS", all[0]),
        ("VALUE_CHUNKS", value_chunks),
        ("VALUE_ALL_CHUNKS", all[1]),
        ("KEY_PAIRS", tiling.keys / 2),
        ("SHARES", shares),
        ("SHARE_VEC4S", vec4s / shares),
    ] {
        source.constant(name, value);
    }
    source.signed("MAX_OFFSET", MAX_LEN as i32);
    source.flag("head_ragged", !all[0].is_multiple_of(lanes));
    source.flag("value_ragged", !all[1].is_multiple_of(lanes));
    source.flag("shared_rows", lanes > 1);
    source.flag("by_channel", shuffles && tiling.rows > MOST_ROWS_OF_FOUR);
    for (name, least) in [
        ("lanes_2", 2),
        ("lanes_4", 4),
        ("lanes_8", 8),
        ("lanes_16", 16),
    ] {
        source.flag(name, lanes >= least);
    }
    add_strategy(source, tiles, chunks, value_chunks);
}

/// The parts of the score, and how q and k are rotated as they are loaded.
fn add_score(source: &mut Source, key: &ScoreKey, mask: &MaskKey, rotary: Option<RotaryLayout>) {
    for (name, value) in key.flags() {
        source.flag(name, value);
    }
    source.flag("positions", key.alibi || key.t5);
    source.flag("hiding_scores", key.bias || key.score_mod);
    source.flag("mods", key.mask_mod || key.score_mod);
    source.flag("asked_everywhere", key.mask_mod && !mask.marked);
    source.slot("mods", Vec::new());
    source.flag("rotary", rotary.is_some());
    source.flag("half_pairs", rotary == Some(RotaryLayout::Half));
    // The table follows the bias, where there is one.
    source.constant("TABLE_BINDING", if key.bias { 8 } else { 7 });
    let load = match rotary {
        Some(RotaryLayout::Half) => "position::load_half",
        Some(RotaryLayout::Interleaved) => "position::load_interleaved",
        None => "position::load_plain",
    };
    source.slot("q_load", vec![load]);
    source.slot("k_load", vec![load]);
    source.slot(
        "rotations",
        if rotary.is_some() {
            vec!["position::table"]
        } else {
            Vec::new()
        },
    );
}

/// Which tiles are visited, and which masks are asked pair by pair.
fn add_mask(source: &mut Source, key: &MaskKey) {
    let schedule = match key.list {
        true => "schedule::list",
        false => "schedule::interval",
    };
    source.slot("schedule", vec![schedule]);
    source.flag("list", key.list);
    source.flag("block_bits", key.bits);
    source.flag("segments", key.segments);
    source.flag("device_list", key.device);
    source.flag("marked_list", key.marked);
}

fn pack(source: &mut Source, key: &Pack) {
    source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
    source.flag("half_output", key.output != Element::F32);
    source.slot(
        "o_element",
        element_module(key.output).into_iter().collect(),
    );
    let (by_position, add, positions) = match key.rows {
        PackRows::Table { add, positions } => (true, add, positions),
        _ => (false, false, false),
    };
    source.flag("by_position", by_position);
    source.flag("add", add);
    source.flag("positions_given", positions);
}

fn rotate(source: &mut Source, key: &Rotate) {
    source.constant("INVOCATIONS", ROW_KERNEL_INVOCATIONS);
    source.constant("HEADS", ROTATED_HEADS);
    add_chunks(source, key.wide);
    source.slot("x_rows", input_modules(&key.input, key.wide));
    source.flag("half_pairs", key.layout == RotaryLayout::Half);
    source.flag("whole_chunks", key.whole_chunks);
    source.flag(
        "whole_halves",
        key.whole_chunks && key.layout == RotaryLayout::Half,
    );
    source.flag(
        "whole_interleaved",
        key.whole_chunks && key.layout == RotaryLayout::Interleaved,
    );
    source.flag("positions_given", key.positions);
    add_wide_output(source, key.output, key.wide);
}

/// The channels that are loaded at once; answers how many 4-vectors they are.
fn add_chunks(source: &mut Source, wide: bool) -> u32 {
    let vec4s = if wide { 2 } else { 1 };
    source.constant("VEC4S", vec4s);
    source.constant("CHUNK", 4 * vec4s);
    source.flag("vec8", wide);
    vec4s
}

fn add_strategy(source: &mut Source, key: &Tiles, chunks: u32, value_chunks: u32) {
    let tiling = &key.tiling;
    source.flag("fixed_source", false);
    match key.strategy {
        Strategy::Subgroup { width, fixed } => {
            let strategy = match key.rolled {
                true => "strategy::subgroup_loop",
                false => "strategy::subgroup",
            };
            source.slot("strategy", vec![strategy]);
            source.constant("WIDTH", width);
            source.flag("fixed_source", fixed && tiling.lanes_per_row == 1);
        }
        Strategy::Workgroup => {
            source.slot("strategy", vec!["strategy::workgroup"]);
            source.constant("HEAD_TILE_CHUNKS", tiling.tile * chunks);
            source.constant("VALUE_TILE_CHUNKS", tiling.tile * value_chunks);
        }
    }
}

fn input_modules(input: &Input, wide: bool) -> Vec<&'static str> {
    let codec = match (input.element, input.aligned) {
        (Element::F32, true) if wide => "codec::f32_vec8",
        (_, true) if wide => "codec::half_vec8",
        (Element::F32, true) => "codec::f32_vec4",
        (Element::F32, false) => "codec::f32_any",
        (_, true) => "codec::half_vec4",
        (_, false) => "codec::half_any",
    };
    let mut modules = vec!["address::strided", codec];
    modules.extend(element_module(input.element));
    modules
}

fn element_module(element: Element) -> Option<&'static str> {
    match element {
        Element::F32 => None,
        Element::F16 => Some("codec::f16"),
        Element::BF16 => Some("codec::bf16"),
    }
}

fn add_output(source: &mut Source, output: Output) {
    add_wide_output(source, output, false);
}

fn add_wide_output(source: &mut Source, output: Output, wide: bool) {
    let codec = match (output.element, output.aligned) {
        (Element::F32, true) if wide => "codec::f32_output_vec8",
        (_, true) if wide => "codec::half_output_vec8",
        (Element::F32, true) => "codec::f32_output_vec4",
        (Element::F32, false) => "codec::f32_output_any",
        (_, true) => "codec::half_output_vec4",
        (_, false) => "codec::half_output_even",
    };
    let mut modules = vec!["address::strided", codec];
    modules.extend(element_module(output.element));
    source.slot("o_rows", modules);
}
