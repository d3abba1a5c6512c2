//! What happens to a score between the product q·k and the mask.

mod alibi;
mod t5;

pub use alibi::alibi_slopes;
pub use t5::T5;

use std::ops::RangeInclusive;

use crate::error::{Error, Result};

use super::{Element, Layout, Operand, Shape};

/// Largest magnitude of what a score is made of: a sink, an entry of T5's table, a bias that does not hide. A softmax
/// multiplies differences of scores by log₂ e; with all parts this large they stay in f32, which ends at 3.4·10³⁸, where
/// an infinity would make NaN of the row.
pub const MAX_SCORE: f32 = 1e37;
/// Largest magnitude of an ALiBi slope: times 2³¹, the farthest that two positions are apart, it stays below
/// [`MAX_SCORE`].
pub const MAX_SLOPE: f32 = 1e27;
/// Least and largest softcap: kernels multiply by its inverse, and x/c of a score from 10⁻⁸ to 10⁸ is neither 0 nor
/// infinite in f32.
pub const SOFTCAPS: RangeInclusive<f32> = 1e-30..=1e30;
/// Largest magnitude of the factor on q·k: with the largest temperature and rotary factor it leaves products up to 10⁹
/// below [`MAX_SCORE`].
pub const MAX_SCALE: f32 = 1e12;

/// A few numbers that either side may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Known to the host, which refuses slopes beyond [`MAX_SLOPE`] and others beyond [`MAX_SCORE`].
    Host(Vec<f32>),
    /// In the operand's buffer. A number beyond what the host would refuse may make NaN of its head's rows and no others;
    /// `Call::check` finds it.
    Device,
}

impl Values {
    pub(crate) fn validate(
        &self,
        what: &'static str,
        expected: u64,
        most: Magnitude,
    ) -> Result<()> {
        let Self::Host(values) = self else {
            return Ok(());
        };
        Error::check_values(what, values.len(), expected)?;
        match values.iter().position(|&x| !most.allows(x)) {
            Some(index) => Err(Error::number_at(what, index, values[index], most.says)),
            None => Ok(()),
        }
    }
}

/// Numbers up to a magnitude, and how to say so.
#[derive(Clone, Copy)]
pub(crate) struct Magnitude {
    pub most: f32,
    pub says: &'static str,
}

impl Magnitude {
    /// Of slopes.
    pub const SLOPE: Self = Self {
        most: MAX_SLOPE,
        says: "-1e27 to 1e27",
    };
    /// Of other parts of a score.
    pub const SCORE: Self = Self {
        most: MAX_SCORE,
        says: "-1e37 to 1e37",
    };

    fn allows(self, x: f32) -> bool {
        x.abs() <= self.most
    }
}

/// T5's relative bias: how distances fall into buckets, and the learned table `[buckets, Hq]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct T5Bias {
    /// How distances fall into buckets.
    pub buckets: T5,
    /// `[buckets, Hq]`
    pub table: Values,
}

setters! {
    T5Bias {
        with_buckets(buckets: T5);
        with_table(table: Values);
    }
}

impl T5Bias {
    /// Of a learned table `[buckets, Hq]`.
    pub const fn new(buckets: T5, table: Values) -> Self {
        Self { buckets, table }
    }
}

/// The parts of a score, applied in the order of the fields:
/// `softcap(x) + bias_ij − slope_h·|p_i − p_j| + t5[bucket(p_j − p_i), h]`, then the mask; sinks enter the sum last.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// `c·tanh(x/c)` of the scaled product (Gemma 2), c within [`SOFTCAPS`].
    pub softcap: Option<f32>,
    /// Strides of a `[B, Hq, Nq, Nk]` in the buffer `bias`; 0 for an axis that is broadcast, over queries too (a
    /// key-padding mask). −∞ hides a pair, and so does all below −2·10³⁸ (the least f32 and bf16 among it; of f16
    /// −∞ alone does, −65504 is a number like others); above [`MAX_SCORE`] a number may make NaN of its row.
    pub bias: Option<Layout>,
    /// How the bias is stored; its gradient is f32.
    pub bias_element: Element,
    /// The bias joins the product before the softcap and not after it: `c·tanh((x + bias)/c)`, as in ONNX's Attention of
    /// opset 24. What it hides stays hidden.
    pub bias_before_softcap: bool,
    /// ALiBi (2108.12409): `[Hq]` slopes on the distance of positions; [`alibi_slopes`] are the paper's.
    pub slopes: Option<Values>,
    /// The slopes are `[B, Hq]`, and so is their gradient: each batch has its own.
    pub slopes_per_batch: bool,
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
        with_bias_element(bias_element: Element);
        with_bias_before_softcap(bias_before_softcap: bool);
        with_slopes(slopes?: Values);
        with_slopes_per_batch(slopes_per_batch: bool);
        with_t5(t5?: T5Bias);
        with_sinks(sinks?: Values);
    }
}

impl Score {
    /// The dense bias as a tensor.
    pub(crate) fn bias_operand(&self) -> Option<Operand> {
        self.bias
            .map(|layout| Operand::new(self.bias_element, layout))
    }

    /// Batches that have slopes of their own; 1 where all share them.
    pub(crate) fn slope_batches(&self, shape: &Shape) -> u32 {
        if self.slopes_per_batch {
            shape.batch
        } else {
            1
        }
    }

    /// Where the slope of a batch and head stands among them.
    pub(crate) fn slope_index(&self, shape: &Shape, b: u32, h: u32) -> usize {
        let batch = if self.slopes_per_batch { b } else { 0 };
        batch as usize * shape.q_heads as usize + h as usize
    }

    /// True when a part of the score looks at positions.
    pub fn uses_positions(&self) -> bool {
        self.slopes.is_some() || self.t5.is_some()
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        if let Some(c) = self.softcap
            && !SOFTCAPS.contains(&c)
        {
            let allowed = "1e-30 to 1e30; leave it out where nothing is capped";
            return Err(Error::number("softcap", c, allowed));
        }
        if let Some(bias) = self.bias_operand() {
            bias.validate(
                "bias",
                [shape.batch, shape.q_heads, shape.q_len],
                shape.kv_len.max(1),
            )?;
        }
        self.validate_options()?;
        let heads = u64::from(shape.q_heads);
        if let Some(slopes) = &self.slopes {
            let count = u64::from(self.slope_batches(shape)) * heads;
            slopes.validate("slopes", count, Magnitude::SLOPE)?;
        }
        if let Some(t5) = &self.t5 {
            t5.buckets.validate()?;
            t5.table.validate(
                "t5",
                u64::from(t5.buckets.buckets) * heads,
                Magnitude::SCORE,
            )?;
        }
        if let Some(sinks) = &self.sinks {
            sinks.validate("sinks", heads, Magnitude::SCORE)?;
        }
        Ok(())
    }

    /// Options of a part need the part.
    fn validate_options(&self) -> Result<()> {
        let first = ("bias_before_softcap", self.bias_before_softcap);
        let element = ("bias_element", self.bias_element != Element::F32);
        let per_batch = ("slopes_per_batch", self.slopes_per_batch);
        let options = [
            (first, "bias", self.bias.is_some()),
            (first, "softcap", self.softcap.is_some()),
            (element, "bias", self.bias.is_some()),
            (per_batch, "slopes", self.slopes.is_some()),
        ];
        for ((what, asked), parameter, there) in options {
            if asked && !there {
                return Err(Error::NoParameter { what, parameter });
            }
        }
        Ok(())
    }
}
