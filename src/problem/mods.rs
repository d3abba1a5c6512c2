//! The user's own score and mask functions, as WGSL text (FlexAttention's `score_mod` and `mask_mod`, 2412.05496).

mod check;
mod fault;
mod size;
mod text;

use std::sync::Arc;

pub use fault::ModFault;

use crate::error::{Error, Result};

/// Bytes of a text at the most.
pub const MAX_MODS_BYTES: usize = 64 << 10;

/// Bytes of a type at the most.
pub const MAX_MODS_TYPE_BYTES: u32 = size::MOST_BYTES;

/// Loop iterations of a call that are assumed of a text with loops, see [`Mods::with_iterations`].
pub const ASSUMED_ITERATIONS: u32 = 64;

/// User functions and the numbers that they read.
///
/// ```
/// # use wgpu_attention::problem::{Mods, ModText};
/// // Rings of 64 keys: a query sees the keys of its own.
/// let mods = Mods::new("fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return i / 64u == j / 64u; }")?;
/// assert!(mods.text.has_mask() && !mods.text.has_score());
/// # Ok::<(), wgpu_attention::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mods {
    /// The functions.
    pub text: ModText,
    /// What `mod_data` reads.
    pub data: ModData,
    /// See [`Mods::with_iterations`].
    pub iterations: u32,
}

/// What `mod_data(n)` reads; an index past the end reads the last number, and 0 where there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum ModData {
    /// Any bits, so that `bitcast<u32>(mod_data(n))` may fetch whole numbers.
    Host(Vec<f32>),
    /// `f32 [len]` in the operands' buffer `mod_data`.
    Device {
        /// How many numbers.
        len: u32,
    },
}

impl Default for ModData {
    fn default() -> Self {
        Self::Host(Vec::new())
    }
}

impl Mods {
    /// Checks a text, see [`ModText::new`]; no data.
    pub fn new(wgsl: &str) -> Result<Self> {
        let text = ModText::new(wgsl)?;
        Ok(Self {
            iterations: if text.0.defined.loops {
                ASSUMED_ITERATIONS
            } else {
                0
            },
            data: ModData::default(),
            text,
        })
    }

    /// The same functions with numbers to read.
    pub fn with_data(self, data: ModData) -> Self {
        Self { data, ..self }
    }

    /// The same functions, one call of which takes so many loop iterations at the most, all its loops together.
    ///
    /// Plans cut their steps by this, so that none takes long and none meets a software adapter's cap on the loop
    /// iterations of an invocation (lavapipe ends it after 65 535, silently). Nobody can know the number from a text;
    /// without this call one with loops is taken to need [`ASSUMED_ITERATIONS`], and one without none.
    pub fn with_iterations(self, iterations: u32) -> Self {
        Self { iterations, ..self }
    }

    /// Loop iterations of all functions for one pair at the most; a loop counts once more than it turns.
    pub(crate) fn iterations_of_pair(&self) -> u64 {
        match self.iterations {
            0 => 0,
            n => self.text.functions() * (u64::from(n) + 1),
        }
    }

    /// What all functions take for one pair, in FLOPs, at a guess: each word and sign of the text is one, as often as
    /// loops may turn.
    pub(crate) fn pair_flops(&self) -> u64 {
        self.text.0.words * (u64::from(self.iterations) + 1)
    }
}

/// A checked text that defines at least one of
///
/// - `fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool`: hides the pairs for which it is false, besides all that
///   the other masks hide;
/// - `fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32`: from the score after bias, ALiBi and T5 to the
///   one that is masked; below −2·10³⁸ (−∞ too) it hides the pair;
/// - `fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32`: ∂score_mod/∂score at the same score,
///   which the backward pass needs beside `score_mod`.
///
/// b is the batch, h the *query* head, i and j are the indices of query and key in the whole problem, always inside of
/// it. Beside functions, constants, structures and aliases of its own the text may call `query_offset(b: u32) -> i32`
/// (the key index at which query 0 stands) and `mod_data(n: u32) -> f32`. It holds no imports, directives, variables
/// at module scope, barriers, subgroup functions or atomics, and no type above [`MAX_MODS_TYPE_BYTES`]. Loops count as the kernel's own, see
/// [`Mods::with_iterations`].
///
/// Clones share the text. Two are equal when their texts are, and so share compiled kernels.
#[derive(Clone, Debug)]
pub struct ModText(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    wgsl: String,
    renamed: String,
    defined: Defined,
    words: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Defined {
    mask: bool,
    score: bool,
    grad: bool,
    loops: bool,
}

impl ModText {
    /// Parses and checks a text by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Mods`] with line and column of the first fault; [`Error::Size`] past [`MAX_MODS_BYTES`].
    pub fn new(wgsl: &str) -> Result<Self> {
        if wgsl.len() > MAX_MODS_BYTES {
            let allowed = format!("at most {MAX_MODS_BYTES}; put tables into mod_data");
            return Err(Error::size(
                "bytes of the user functions",
                wgsl.len() as u64,
                allowed,
            ));
        }
        let defined = check::check(wgsl)?;
        Ok(Self(Arc::new(Checked {
            wgsl: wgsl.to_string(),
            renamed: text::renamed(&text::initialised(wgsl)),
            defined,
            words: text::tokens(wgsl).len() as u64,
        })))
    }

    /// The text as it was given.
    pub fn wgsl(&self) -> &str {
        &self.0.wgsl
    }

    /// Whether the text defines `mask_mod`.
    pub fn has_mask(&self) -> bool {
        self.0.defined.mask
    }

    /// Whether the text defines `score_mod`.
    pub fn has_score(&self) -> bool {
        self.0.defined.score
    }

    /// Whether the text defines `score_mod_grad`.
    pub fn has_score_grad(&self) -> bool {
        self.0.defined.grad
    }

    /// Those of the three that are there.
    fn functions(&self) -> u64 {
        let defined = &self.0.defined;
        [defined.mask, defined.score, defined.grad]
            .map(u64::from)
            .iter()
            .sum()
    }

    /// The text with each of its names behind `user_` and an initial value for each variable, line by line.
    pub(crate) fn renamed(&self) -> &str {
        &self.0.renamed
    }
}

impl PartialEq for ModText {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.wgsl() == other.wgsl()
    }
}

impl Eq for ModText {}

impl std::hash::Hash for ModText {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.wgsl().hash(state);
    }
}
