//! What happens to a score between the product q·k and the mask.

mod alibi;
mod t5;

pub use alibi::alibi_slopes;
pub use t5::T5;

use crate::error::{Error, Result};

use super::{Element, Layout, Operand, Shape};

/// A few numbers that either side may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Known to the host.
    Host(Vec<f32>),
    /// In the operand's buffer.
    Device,
}

impl Values {
    fn validate(&self, what: &'static str, expected: usize) -> Result<()> {
        let Self::Host(values) = self else {
            return Ok(());
        };
        Error::check_values(what, values.len(), expected)?;
        match values.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(Error::number_at(
                what,
                index,
                values[index],
                "finite numbers",
            )),
            None => Ok(()),
        }
    }
}

/// T5's relative bias: how distances fall into buckets, and the learned table `[buckets, Hq]`.
#[derive(Clone, Debug, PartialEq)]
pub struct T5Bias {
    /// How distances fall into buckets.
    pub buckets: T5,
    /// `[buckets, Hq]`
    pub table: Values,
}

/// The parts of a score, applied in the order of the fields:
/// `softcap(x) + bias_ij − slope_h·|p_i − p_j| + t5[bucket(p_j − p_i), h]`, then the mask; sinks enter the sum last.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// `c·tanh(x/c)` of the scaled product (Gemma 2).
    pub softcap: Option<f32>,
    /// Strides of an f32 `[B, Hq, Nq, Nk]` in the buffer `bias`; 0 for a batch or head axis that is broadcast. −∞
    /// hides a pair, and so does all below −2·10³⁸ (a framework's least f32 among it).
    pub bias: Option<Layout>,
    /// ALiBi (2108.12409): `[Hq]` slopes on the distance of positions; [`alibi_slopes`] are the paper's.
    pub slopes: Option<Values>,
    /// T5's relative bias (1910.10683).
    pub t5: Option<T5Bias>,
    /// Learned sinks `[Hq]`: `e^z` joins each row's sum, with no value. A call over a part of the keys leaves them to
    /// the merge.
    pub sinks: Option<Values>,
}

setters! {
    Score {
        with_softcap(softcap?: f32);
        with_bias(bias?: Layout);
        with_slopes(slopes?: Values);
        with_t5(t5?: T5Bias);
        with_sinks(sinks?: Values);
    }
}

impl Score {
    /// The dense bias as a tensor.
    pub(crate) fn bias_operand(&self) -> Option<Operand> {
        self.bias.map(|layout| Operand::new(Element::F32, layout))
    }

    /// True when a part of the score looks at positions.
    pub fn uses_positions(&self) -> bool {
        self.slopes.is_some() || self.t5.is_some()
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        if let Some(c) = self.softcap
            && !(c.is_finite() && c > 0.0)
        {
            let allowed = "a finite number above 0; leave it out where nothing is capped";
            return Err(Error::number("softcap", c, allowed));
        }
        if let Some(bias) = self.bias_operand() {
            bias.validate(
                "bias",
                [shape.batch, shape.q_heads, shape.q_len],
                shape.kv_len.max(1),
            )?;
        }
        let heads = shape.q_heads as usize;
        if let Some(slopes) = &self.slopes {
            slopes.validate("slopes", heads)?;
        }
        if let Some(t5) = &self.t5 {
            t5.buckets.validate()?;
            t5.table
                .validate("t5", t5.buckets.buckets as usize * heads)?;
        }
        if let Some(sinks) = &self.sinks {
            sinks.validate("sinks", heads)?;
        }
        Ok(())
    }
}
