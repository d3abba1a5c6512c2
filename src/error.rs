//! Every way a call can be refused, each with the actual value, the allowed one and the way out.

use crate::problem::{Element, ModFault};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plan, a preparation or a download was refused. Nothing was recorded or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{what} is {actual}; allowed is {allowed}")]
    Size {
        what: &'static str,
        actual: u64,
        allowed: String,
    },
    #[error("{what} is {actual}; allowed is {allowed}")]
    Number {
        what: &'static str,
        actual: f32,
        allowed: &'static str,
    },
    #[error("{what}[{index}] is {actual}; allowed is {allowed}")]
    Element {
        what: &'static str,
        index: usize,
        actual: i64,
        allowed: String,
    },
    #[error("{what} has {actual} values; it needs one per batch, {expected}")]
    Count {
        what: &'static str,
        actual: usize,
        expected: usize,
    },
    #[error("{what} is {start}..{end}; it must be an ordered range inside of 0..{len}")]
    Range {
        what: &'static str,
        start: u32,
        end: u32,
        len: u32,
    },
    #[error(
        "the {axis} stride of output {what} is {stride}, but what lies inside of it takes {least} elements; \
             give rows that do not overlap (nested strides)"
    )]
    Overlap {
        what: &'static str,
        axis: &'static str,
        stride: u64,
        least: u64,
    },
    #[error("operand {what} ends at element {}; shaders index up to 4294967295 elements, so split the call by batch or heads",
            .end.map_or("2^64 or beyond".to_string(), |end| end.to_string()))]
    Extent {
        what: &'static str,
        end: Option<u64>,
    },
    #[error("q, k and v have the elements {q}, {k} and {v}; they must be of one type")]
    Mixed { q: Element, k: Element, v: Element },
    #[error("{what} takes {actual}; the device allows {allowed} ({limit}): {way_out}")]
    Limit {
        what: &'static str,
        actual: u64,
        limit: &'static str,
        allowed: u64,
        way_out: &'static str,
    },
    #[error("strategy {strategy} cannot run here: {reason}")]
    Strategy {
        strategy: &'static str,
        reason: String,
    },
    #[error(
        "list {list} names block {block} twice or outside of the matrix; allowed are {}, each once",
        .blocks.checked_sub(1).map_or("none".to_string(), |last| format!("0 to {last}"))
    )]
    Block {
        /// Of all lists: batch by batch, head by head, query block by query block.
        list: usize,
        block: u32,
        /// Blocks of keys.
        blocks: u32,
    },
    #[error("{what} has {actual} values; it needs {expected}")]
    Values {
        what: &'static str,
        actual: usize,
        expected: usize,
    },
    #[error("{what}[{index}] is {actual}; allowed are {allowed}")]
    NumberAt {
        what: &'static str,
        index: usize,
        actual: f32,
        allowed: &'static str,
    },
    #[error(
        "positions or offsets lie on the device, so the host cannot see which the rotary table must hold; \
         state them in Position::range"
    )]
    Unstated,
    #[error(
        "Position::k_rotated says that k holds rotated keys, but no scheme rotates q; state Position::rotary or leave \
         k_rotated out"
    )]
    RotatedKeys,
    #[error(
        "{what} is asked for, but the problem has no {parameter}; state it in Problem::score or do not ask"
    )]
    NoParameter {
        what: &'static str,
        parameter: &'static str,
    },
    #[error(
        "{what} and {other} share bytes {start} to {end} of one buffer; give each a part of its own (Layout::offset)"
    )]
    SharedBytes {
        what: &'static str,
        other: &'static str,
        start: u64,
        end: u64,
    },
    #[error("operand {what} is missing; bind it with Operands::with or Host::with")]
    Missing { what: &'static str },
    #[error(
        "the buffer of {what} has {actual} bytes; the plan needs {least} (see Plan::requirements)"
    )]
    BufferSize {
        what: &'static str,
        actual: u64,
        least: u64,
    },
    #[error(
        "the buffer of {what} lacks the usage {missing}; create it with BufferUsages::{missing}"
    )]
    BufferUsage {
        what: &'static str,
        missing: &'static str,
    },
    #[error("the device refused {what}: {message}")]
    Device { what: String, message: String },
    #[error("nothing could be downloaded: {message}; if the device was lost, make a new one")]
    Download { message: String },
    #[error("shader module {module}, line {line}: {message}")]
    Compose {
        module: String,
        line: usize,
        message: String,
    },
    #[error("{what} has {actual} values; it needs one per rotary pair, {expected}")]
    Pairs {
        what: &'static str,
        actual: usize,
        expected: usize,
    },
    #[error("the range of positions is {start}..={end}; allowed is {allowed}")]
    Positions {
        start: i32,
        end: i32,
        allowed: String,
    },
    #[error("the model's config is no JSON object: {reason}")]
    ConfigSyntax { reason: String },
    #[error("config field {field} is missing; it gives {meaning}")]
    ConfigMissing {
        field: String,
        meaning: &'static str,
    },
    #[error("config field {field} is {actual}; allowed is {allowed}")]
    ConfigField {
        field: String,
        actual: String,
        allowed: String,
    },
    #[error("user functions, line {line}, column {column}: {fault}")]
    Mods {
        /// From 1, in the user's own text.
        line: usize,
        /// From 1, in characters.
        column: usize,
        fault: ModFault,
    },
    #[error(
        "the backward pass of a score_mod needs its derivative; define \
         score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 beside it"
    )]
    NoScoreGradient,
    #[error(
        "a scan of blocks asks mask_mod, which the text does not define; define \
         mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool"
    )]
    NoMaskMod,
    #[error(
        "the config {}; choose one layer type (Rotary::from_hf_layer, attend's --rope-layer): {names}",
        .actual.as_ref().map_or("rotates each type of layer its own way".to_string(), |layer| format!("has no layer type {layer}"))
    )]
    ConfigLayer {
        actual: Option<String>,
        names: String,
    },
    #[error(
        "the config has one rotation for {names}, so there is no layer type {layer} to choose; leave the choice out \
         (Rotary::from_hf_config, attend without --rope-layer)"
    )]
    ConfigOneRotation { layer: String, names: String },
    #[error("config field {field} is not known, and might change the answer; known are {known}")]
    ConfigUnknown { field: String, known: String },
}

impl Error {
    pub(crate) fn size(
        what: &'static str,
        actual: impl Into<u64>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Size {
            what,
            actual: actual.into(),
            allowed: allowed.into(),
        }
    }

    pub(crate) fn number(what: &'static str, actual: f32, allowed: &'static str) -> Self {
        Self::Number {
            what,
            actual,
            allowed,
        }
    }

    pub(crate) fn check_count(what: &'static str, actual: usize, expected: usize) -> Result<()> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Count {
                what,
                actual,
                expected,
            })
        }
    }

    pub(crate) fn check_values(what: &'static str, actual: usize, expected: usize) -> Result<()> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Values {
                what,
                actual,
                expected,
            })
        }
    }

    pub(crate) fn number_at(
        what: &'static str,
        index: usize,
        actual: f32,
        allowed: &'static str,
    ) -> Self {
        Self::NumberAt {
            what,
            index,
            actual,
            allowed,
        }
    }

    pub(crate) fn compose(module: &str, line: usize, message: impl Into<String>) -> Self {
        Self::Compose {
            module: module.into(),
            line,
            message: message.into(),
        }
    }

    /// Gives a composition error that knows no line yet the one of `module` that led to it.
    pub(crate) fn at_line(self, at: &str, number: usize) -> Self {
        match self {
            Self::Compose {
                module,
                line: 0,
                message,
            } if module == at => Self::Compose {
                module,
                line: number,
                message,
            },
            other => other,
        }
    }
}

/// An error and its causes in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
