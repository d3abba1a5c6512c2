//! How a position enters the score.
//!
//! [`Rotary`] says how q and k turn with their positions and [`Table`] holds the cosines and sines a shader reads;
//! [`absolute`] has the schemes that are added to embeddings instead. Biases by distance are parts of the score:
//! [`alibi_slopes`](super::alibi_slopes) and [`T5`](super::T5).

pub mod absolute;
mod frequencies;
mod hf_config;
mod rope;
mod table;
mod temperature;
mod xpos;

pub use frequencies::{Llama3, LongRope, RopeKind, Yarn, mscale};
pub use rope::{Precision, Rotary, RotaryLayout};
pub use table::{Growth, Side, Table};
pub use temperature::Temperature;
pub use xpos::XPos;

/// A position scheme.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Position {
    /// Scores depend on q and k alone.
    #[default]
    None,
}
