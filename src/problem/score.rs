//! What happens to a score between the product q·k and the mask.

mod alibi;
mod t5;

pub use alibi::alibi_slopes;
pub use t5::T5;

use crate::error::{Error, Result};

use super::Shape;

/// The parts of a score, applied in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// `c·tanh(x/c)` of the scaled product (Gemma 2).
    pub softcap: Option<f32>,
}

impl Score {
    pub(crate) fn validate(&self, _shape: &Shape) -> Result<()> {
        if let Some(c) = self.softcap
            && !(c.is_finite() && c > 0.0)
        {
            return Err(Error::number("softcap", c, "a finite number above 0"));
        }
        Ok(())
    }
}
