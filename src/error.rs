//! Every way a call can be refused, each with the actual value, the allowed one and the way out.

mod make;

pub(crate) use make::chain;

use crate::problem::{Element, ModFault};

/// What every fallible function of the crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plan, a preparation or a download was refused. Nothing was recorded or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A whole number out of its range.
    #[error("{what} is {actual}; allowed is {allowed}")]
    Size {
        /// The operand, size or field at fault.
        what: &'static str,
        /// What it is.
        actual: u64,
        /// What may stand there.
        allowed: String,
    },
    /// A feature that the device was requested without.
    #[error(
        "{what} needs {feature}, which this device was requested without; request it where the adapter has it"
    )]
    NotGranted {
        /// What was asked for.
        what: &'static str,
        /// The feature of wgpu's.
        feature: &'static str,
    },
    /// A number out of its range.
    #[error("{what} is {actual}; allowed is {allowed}")]
    Number {
        /// The operand, size or field at fault.
        what: &'static str,
        /// What it is.
        actual: f32,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A whole number of a list out of its range.
    #[error("{what}[{index}] is {actual}; allowed is {allowed}")]
    Element {
        /// The operand, size or field at fault.
        what: &'static str,
        /// Which of its values.
        index: usize,
        /// What it is.
        actual: i64,
        /// What may stand there.
        allowed: String,
    },
    /// A wrong number of values per batch.
    #[error("{what} has {actual} values; it needs one per batch, {expected}")]
    Count {
        /// The operand, size or field at fault.
        what: &'static str,
        /// How many it has.
        actual: usize,
        /// How many it needs.
        expected: usize,
    },
    /// A slice that is none.
    #[error("{what} is {start}..{end}; it must be an ordered range inside of 0..{len}")]
    Range {
        /// The operand, size or field at fault.
        what: &'static str,
        /// Where it begins.
        start: u32,
        /// One past its end.
        end: u32,
        /// How many there are.
        len: u32,
    },
    /// An output whose rows overlap.
    #[error(
        "the {axis} stride of output {what} is {stride}, but what lies inside of it takes {least} elements; \
             give rows that do not overlap (nested strides)"
    )]
    Overlap {
        /// The operand, size or field at fault.
        what: &'static str,
        /// Batch, head or row.
        axis: &'static str,
        /// In elements.
        stride: u64,
        /// Elements that it takes at the least.
        least: u64,
    },
    /// An operand that ends beyond what shaders index.
    #[error("operand {what} ends at element {}; shaders index up to 4294967295 elements, so split the call by batch or heads",
            .end.map_or("2^64 or beyond".to_string(), |end| end.to_string()))]
    Extent {
        /// The operand, size or field at fault.
        what: &'static str,
        /// One past the last element, where u64 holds it.
        end: Option<u64>,
    },
    /// A backward pass whose q, k and v are of different element types, or quantised.
    #[error(
        "q, k and v have the elements {q}, {k} and {v}; a backward pass takes all of one type, f32, f16 or bf16"
    )]
    Mixed {
        /// q's type.
        q: Element,
        /// k's type.
        k: Element,
        /// v's type.
        v: Element,
    },
    /// Rows of a cache that share words.
    #[error(
        "rows of {what} ({element}) share words of 32 bits, and a row is written by itself; give strides and channels that are \
         whole words"
    )]
    SharedWords {
        /// The cache.
        what: &'static str,
        /// How it is stored.
        element: Element,
    },
    /// Too few free pages.
    #[error(
        "the new tokens need {needed} more pages and {free} are free; free or truncate sequences, or make the cache with more \
         pages"
    )]
    OutOfPages {
        /// Pages that are needed.
        needed: u32,
        /// Pages that nobody holds.
        free: u32,
    },
    /// More tokens than a sequence has room for.
    #[error(
        "a sequence of {len} tokens cannot take {new} more, for its capacity is {capacity}; truncate it, or make the cache \
         for longer ones"
    )]
    Capacity {
        /// Tokens that it has.
        len: u32,
        /// New ones.
        new: u32,
        /// Tokens that it may have.
        capacity: u32,
    },
    /// A handle that stands for no sequence of this cache.
    #[error(
        "the sequence {reason}; name each sequence of this cache once, as long as it is not freed"
    )]
    Sequence {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Positions per token, of a cache that rotates keys by their index.
    #[error(
        "positions are given per token, but the cache keeps its keys unrotated and rotates them by their index as they are read; \
         make it with KvCacheOptions::rotated, or begin by counts (KvCache::begin)"
    )]
    PositionsOfCache,
    /// A fork of nothing.
    #[error("a sequence without tokens cannot be forked; create another, or append to it first")]
    EmptyFork,
    /// More sequences than a cache has room for.
    #[error(
        "the cache holds {allowed} sequences already, one per row of its batch; free one, or make it for a larger batch or \
         with pages"
    )]
    Slots {
        /// Sequences that it may hold.
        allowed: u32,
    },
    /// A snapshot that does not fit.
    #[error("the snapshot does not fit: {reason}; restore into a cache of the same options")]
    Snapshot {
        /// What differs.
        reason: String,
    },
    /// An operand other than k and v whose rows would hold scales.
    #[error(
        "{what} has the element {element}, which only k and v of a forward call may have; give it as f32, f16 or bf16"
    )]
    Quantized {
        /// The operand at fault.
        what: &'static str,
        /// Its type.
        element: Element,
    },
    /// A Walsh–Hadamard rotation of rows that no power of two divides.
    #[error(
        "{what} rotates blocks of channels by powers of two, and none from 2 divides {dim}; leave it out"
    )]
    OddHadamard {
        /// The field.
        what: &'static str,
        /// Channels of a row.
        dim: u32,
    },
    /// Keys that were rotated by Hadamard matrices before they were rotated by their positions.
    #[error(
        "k_hadamard holds of keys that are rotated by their positions before they are stored: say so by \
         Position::k_rotated, or leave k_hadamard out"
    )]
    HadamardBeforeRotation,
    /// A backward pass of rows that a Walsh–Hadamard rotation was stored of.
    #[error("a backward pass takes k and v as they are: leave k_hadamard and v_hadamard out")]
    HadamardGradient,
    /// A float type, where rows are to be quantised.
    #[error("{element} stores number by number; rows are quantised as int8 or int4")]
    NotQuantized {
        /// The type asked for.
        element: Element,
    },
    /// No whole number of rows.
    #[error("{len} {what} are no whole number of rows of {row} each, 1 at least")]
    Rows {
        /// What they are.
        what: &'static str,
        /// How many there are.
        len: usize,
        /// How many a row takes.
        row: u32,
    },
    /// Rows with scales that do not begin at whole 32-bit words.
    #[error(
        "{what} has the {distance} {actual}; rows of {element} begin at whole words, so it must be a multiple of {per_word} \
         elements (Element::row_elements says how many a row takes)"
    )]
    WholeWords {
        /// The operand at fault.
        what: &'static str,
        /// Its offset, or which stride.
        distance: &'static str,
        /// What it is, in elements.
        actual: u64,
        /// Its type.
        element: Element,
        /// Elements of a word.
        per_word: u64,
    },
    /// More than the device allows.
    #[error("{what} takes {actual}; the device allows {allowed} ({limit}): {way_out}")]
    Limit {
        /// The operand, size or field at fault.
        what: &'static str,
        /// What it is.
        actual: u64,
        /// The name of the device's limit.
        limit: &'static str,
        /// The device's limit.
        allowed: u64,
        /// What to do.
        way_out: &'static str,
    },
    /// Capabilities that a device does not have.
    #[error(
        "the Caps claim {what} {claimed}; the device has {actual}: claim what it has (Caps::of) or less"
    )]
    Claim {
        /// The field of [`crate::Caps`].
        what: &'static str,
        /// What is claimed.
        claimed: String,
        /// What the device has.
        actual: String,
    },
    /// A path that was asked for and cannot run.
    #[error("strategy {strategy} cannot run here: {reason}")]
    Strategy {
        /// The path that was asked for.
        strategy: &'static str,
        /// Why.
        reason: String,
    },
    /// A tuning's text that is none.
    #[error(
        "the tuning's {field} is {actual}; allowed is {allowed}: measure anew (Attention::tune), or plan without a tuning"
    )]
    Tuning {
        /// The field at fault, by its path.
        field: String,
        /// What it is.
        actual: String,
        /// What may stand there.
        allowed: String,
    },
    /// A tuning of another device.
    #[error("the tuning is of {of} and this is {here}; measure anew (Attention::tune)")]
    StaleTuning {
        /// Whose it is.
        of: String,
        /// Where it is to be used.
        here: String,
    },
    /// A plan that no tuning can be made for.
    #[error("the plan cannot be tuned: {reason}")]
    Untunable {
        /// Why, and what would help.
        reason: String,
    },
    /// An option that a task has no use for.
    #[error("PlanOptions::{option} is stated, but {task} has no use for it; leave it out")]
    UnusedOption {
        /// The field.
        option: &'static str,
        /// What is planned.
        task: &'static str,
    },
    /// A list of blocks that names one twice or outside of the matrix.
    #[error(
        "list {list} names block {block} twice or outside of the matrix; allowed are {}, each once",
        .blocks.checked_sub(1).map_or("none".to_string(), |last| format!("0 to {last}"))
    )]
    Block {
        /// Of all lists: batch by batch, head by head, query block by query block.
        list: usize,
        /// The block that is named.
        block: u32,
        /// Blocks of keys.
        blocks: u32,
    },
    /// A wrong number of values.
    #[error("{what} has {actual} values; it needs {expected}")]
    Values {
        /// The operand, size or field at fault.
        what: &'static str,
        /// How many it has.
        actual: usize,
        /// How many it needs.
        expected: usize,
    },
    /// A value of a list out of its range.
    #[error("{what}[{index}] is {actual}; allowed are {allowed}")]
    NumberAt {
        /// The operand, size or field at fault.
        what: &'static str,
        /// Which of its values.
        index: usize,
        /// What it is.
        actual: f32,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Positions that only the device knows, without a range for the rotary table.
    #[error(
        "positions or offsets lie on the device, so the host cannot see which the rotary table must hold; \
         state them in Position::range"
    )]
    Unstated,
    /// What a ragged batch does not go with.
    #[error("{what} does not go with a ragged batch (cu_seqlens): {way_out}")]
    Ragged {
        /// What was given beside `cu_seqlens`.
        what: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// Rotated keys where nothing rotates.
    #[error(
        "Position::k_rotated says that k holds rotated keys, but no scheme rotates q; state Position::rotary or leave \
         k_rotated out"
    )]
    RotatedKeys,
    /// Rotary rows that are given where others are needed too, or none.
    #[error(
        "Position::rows_given says that the operand rotations holds the queries' rows, but {reason}"
    )]
    GivenRows {
        /// What is in the way, and the way out.
        reason: &'static str,
    },
    /// Positions within a ring where they cannot be.
    #[error("Position::within_cache counts positions within a ring, but {reason}")]
    WithinCache {
        /// What is in the way, and the way out.
        reason: &'static str,
    },
    /// Keys in pages or a ring where rows at equal distances are needed.
    #[error(
        "{what} reads keys at equal distances, and k and v lie in {address}; give strided ones (KvAddress::Strided)"
    )]
    Address {
        /// What is planned.
        what: &'static str,
        /// Where k and v lie.
        address: &'static str,
    },
    /// A gradient of something that the problem does not have.
    #[error(
        "{what} is asked for, but the problem has no {parameter}; state it in Problem::score or do not ask"
    )]
    NoParameter {
        /// The operand, size or field at fault.
        what: &'static str,
        /// What the problem would have to have.
        parameter: &'static str,
    },
    /// Two operands in the same bytes of one buffer.
    #[error(
        "{what} and {other} share bytes {start} to {end} of one buffer; give each a part of its own (Layout::offset)"
    )]
    SharedBytes {
        /// The operand, size or field at fault.
        what: &'static str,
        /// The other operand.
        other: &'static str,
        /// The first shared byte.
        start: u64,
        /// One past the last shared byte.
        end: u64,
    },
    /// Two operands in one buffer that need one each.
    #[error("{what} lies in the buffer of {other}; give it a buffer of its own")]
    SharedBuffer {
        /// The operand at fault.
        what: &'static str,
        /// The other operand.
        other: &'static str,
    },
    /// An operand that is not bound.
    #[error("operand {what} is missing; bind it with Operands::with or Host::with")]
    Missing {
        /// The operand.
        what: &'static str,
    },
    /// Lengths or offsets given anew to a call that does not hold them on the host.
    #[error(
        "{what} can be set anew only where the problem holds them on the host; elsewhere write them to the operand's buffer"
    )]
    NotHostHeld {
        /// The operand.
        what: &'static str,
    },
    /// An operand that nothing would read or write.
    #[error("operand {what} is given, but {task} does not name it; state it there or leave it out")]
    Unnamed {
        /// The operand.
        what: &'static str,
        /// What was planned.
        task: &'static str,
    },
    /// A buffer that is too small.
    #[error(
        "the buffer of {what} has {actual} bytes; the plan needs {least} (see Plan::requirements)"
    )]
    BufferSize {
        /// The operand, size or field at fault.
        what: &'static str,
        /// What it is.
        actual: u64,
        /// Bytes at the least.
        least: u64,
    },
    /// A buffer without a usage that it needs.
    #[error(
        "the buffer of {what} lacks the usage {missing}; create it with BufferUsages::{missing}"
    )]
    BufferUsage {
        /// The operand, size or field at fault.
        what: &'static str,
        /// The flag of `wgpu::BufferUsages`.
        missing: &'static str,
    },
    /// What the device refused.
    #[error("the device refused {what}: {message}")]
    Device {
        /// What was made or done.
        what: String,
        /// What the device says.
        message: String,
    },
    /// No memory of the device for what is needed; the device works on.
    #[error("the device has no memory for {what} ({}): {way_out}", match .bytes {
        0 => "it does not say of how many bytes".to_string(),
        bytes => format!("{bytes} bytes"),
    })]
    OutOfMemory {
        /// What was made or done.
        what: String,
        /// Bytes of all that was made at once; 0 where that is not known.
        bytes: u64,
        /// What to do.
        way_out: &'static str,
    },
    /// A warm-up that was ended before it was done.
    #[error(
        "the warm-up was cancelled; what it had compiled is kept, and what a call lacks is compiled when it is prepared"
    )]
    Cancelled,
    /// A buffer of another device, or one that is destroyed or mapped.
    #[error(
        "the buffer of {what} cannot be used: {message}; give one of the Attention's own device that is neither \
         destroyed nor mapped"
    )]
    Buffer {
        /// The operand.
        what: &'static str,
        /// What is wrong, as the device says it.
        message: String,
    },
    /// A queue of another device.
    #[error(
        "the queue is of another device; give the one that request_device gave with the device"
    )]
    ForeignQueue,
    /// The device is lost: destroyed, reset by its driver or unplugged.
    #[error(
        "the device is lost; request a new one, and make a new Attention (Attention::rebuild), buffers and calls with it"
    )]
    DeviceLost,
    /// Nothing came back.
    #[error("nothing could be downloaded: {message}")]
    Download {
        /// What the device says.
        message: String,
    },
    /// A fault of the crate's own shader text.
    #[error("shader module {module}, line {line}: {message}")]
    Compose {
        /// The module of the crate.
        module: String,
        /// From 1 on.
        line: usize,
        /// What is wrong, or what the device says.
        message: String,
    },
    /// A wrong number of factors of rotary pairs.
    #[error("{what} has {actual} values; it needs one per rotary pair, {expected}")]
    Pairs {
        /// The operand, size or field at fault.
        what: &'static str,
        /// How many it has.
        actual: usize,
        /// How many it needs.
        expected: usize,
    },
    /// A range of positions that does not fit.
    #[error("the range of positions is {start}..={end}; allowed is {allowed}")]
    Positions {
        /// Where it begins.
        start: i32,
        /// Where it ends.
        end: i32,
        /// What may stand there.
        allowed: String,
    },
    /// A probability that is none, or one of a drafted token that could not have been drawn.
    #[error("{what}[{row}] gives token {token} the probability {actual}; allowed are {allowed}")]
    Probability {
        /// The rows at fault.
        what: &'static str,
        /// Which of them.
        row: usize,
        /// Whose probability it is.
        token: usize,
        /// What it is.
        actual: f32,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A config that is no JSON object.
    #[error("the model's config is no JSON object: {reason}")]
    ConfigSyntax {
        /// What the parser says.
        reason: String,
    },
    /// A field that a config must have.
    #[error("config field {field} is missing; it gives {meaning}")]
    ConfigMissing {
        /// The config's field.
        field: String,
        /// What the field gives.
        meaning: &'static str,
    },
    /// A config's field out of its range.
    #[error("config field {field} is {actual}; allowed is {allowed}")]
    ConfigField {
        /// The config's field.
        field: String,
        /// What it is.
        actual: String,
        /// What may stand there.
        allowed: String,
    },
    /// A fault of the user's functions.
    #[error("user functions, line {line}, column {column}: {fault}")]
    Mods {
        /// From 1, in the user's own text.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        fault: ModFault,
    },
    /// A backward pass through a `score_mod` without its derivative.
    #[error(
        "the backward pass of a score_mod needs its derivative; define \
         score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 beside it"
    )]
    NoScoreGradient,
    /// A scan without a `mask_mod`.
    #[error(
        "a scan of blocks asks mask_mod, which the text does not define; define \
         mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool"
    )]
    NoMaskMod,
    /// A config whose layers differ, or have not the type that was asked for.
    #[error(
        "the config {}; choose one layer type (Rotary::from_hf_layer, attend's --rope-layer): {names}",
        .actual.as_ref().map_or("rotates each type of layer its own way".to_string(), |layer| format!("has no layer type {layer}"))
    )]
    ConfigLayer {
        /// The layer type that was asked for, if any.
        actual: Option<String>,
        /// The names that are there.
        names: String,
    },
    /// A choice where there is none.
    #[error(
        "the config has one rotation for {names}, so there is no layer type {layer} to choose; leave the choice out \
         (Rotary::from_hf_config, attend without --rope-layer)"
    )]
    ConfigOneRotation {
        /// The layer type that was asked for.
        layer: String,
        /// The layer types that share the rotation.
        names: String,
    },
    /// A field that might change the answer and is not known.
    #[error("config field {field} is not known, and might change the answer; known are {known}")]
    ConfigUnknown {
        /// The config's field.
        field: String,
        /// The fields that are known.
        known: String,
    },
}
