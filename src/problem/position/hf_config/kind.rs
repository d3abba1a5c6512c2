//! Which rule stretches the frequencies, and its parameters.

use super::fields::{Fields, ORIGINAL};
use super::model::Model;
use crate::error::{Error, Result};
use crate::problem::position::{Llama3, LongRope, RopeKind, Yarn};

/// The names of `rope_type`: those of transformers, and "ntk". Older files say "su" for longrope; "mrope" is plain
/// RoPE where all its sections share one position, as they do for text.
const TYPES: &str =
    "default, linear, ntk, dynamic, yarn, longrope (or su), llama3, proportional, mrope";

const MAX_POSITIONS: &str = "max_position_embeddings";

impl<'a> Model<'a> {
    pub fn kind(self, fraction: f64) -> Result<RopeKind> {
        let Some(rope) = self.layers.rope else {
            return Ok(RopeKind::Default);
        };
        let (field, name) = self.rope_type(rope)?;
        Ok(match name {
            "default" | "mrope" => RopeKind::Default,
            "linear" => RopeKind::Linear {
                factor: self.factor()?,
            },
            "ntk" => RopeKind::NtkAware {
                factor: self.factor()?,
            },
            "dynamic" => RopeKind::DynamicNtk {
                factor: self.factor()?,
                original: self.max_positions()?,
            },
            "yarn" => RopeKind::Yarn(self.yarn(rope)?),
            "longrope" | "su" => RopeKind::LongRope(self.long_rope(rope)?),
            "llama3" => RopeKind::Llama3(self.llama3()?),
            "proportional" => RopeKind::Proportional {
                factor: rope.number("factor")?.unwrap_or(1.0),
                fraction,
            },
            other => {
                return Err(rope.refuse(field, &other.into(), &format!("one of {TYPES}")));
            }
        })
    }

    /// The name of the kind, and the field that gives it.
    fn rope_type(self, rope: Fields<'a>) -> Result<(&'static str, &'a str)> {
        for field in ["rope_type", "type"] {
            if let Some(name) = rope.text(field)? {
                return Ok((field, name));
            }
        }
        // The new form may state a base alone; a factor without a type is a mistake.
        match rope.get("factor") {
            None => Ok(("rope_type", "default")),
            Some(_) => Err(rope.missing("rope_type", "the rule that `factor` belongs to")),
        }
    }

    fn yarn(self, rope: Fields) -> Result<Yarn> {
        let given = self.original()?;
        let original = given.map_or_else(|| self.max_positions(), Ok)?;
        let factor = self.factor_or_ratio(rope, given)?;
        let plain = Yarn::new(factor, original);
        // As in transformers, an mscale of 0 counts as not given.
        let mscale = |name| Ok::<_, Error>(rope.number(name)?.filter(|k| *k != 0.0));
        Ok(Yarn {
            beta_fast: rope.number("beta_fast")?.unwrap_or(plain.beta_fast),
            beta_slow: rope.number("beta_slow")?.unwrap_or(plain.beta_slow),
            truncate: rope.flag("truncate")?.unwrap_or(true),
            mscale: mscale("mscale")?,
            mscale_all_dim: mscale("mscale_all_dim")?,
            attention_factor: rope.number("attention_factor")?,
            scales_softmax: self.head.tail.is_some(),
            ..plain
        })
    }

    fn long_rope(self, rope: Fields) -> Result<LongRope> {
        let original = self.required(
            ORIGINAL,
            Fields::count,
            "the length the model was first trained for",
        )?;
        let meaning = "one divisor per pair";
        Ok(LongRope {
            short_factor: self.required("short_factor", Fields::list, meaning)?,
            long_factor: self.required("long_factor", Fields::list, meaning)?,
            factor: self.factor_or_ratio(rope, Some(original))?,
            original,
            attention_factor: rope.number("attention_factor")?,
        })
    }

    fn llama3(self) -> Result<Llama3> {
        let turns = "a number of turns in the original context";
        Ok(Llama3 {
            factor: self.factor()?,
            low_freq_factor: self.required("low_freq_factor", Fields::number, turns)?,
            high_freq_factor: self.required("high_freq_factor", Fields::number, turns)?,
            original: self.required(
                ORIGINAL,
                Fields::count,
                "the length the model was first trained for",
            )?,
        })
    }

    fn factor(self) -> Result<f64> {
        self.required("factor", Fields::number, "the stretch of the context")
    }

    /// s as stated, or the model's positions over the original ones (at least 1).
    fn factor_or_ratio(self, rope: Fields, original: Option<u32>) -> Result<f64> {
        match (rope.number("factor")?, original) {
            (Some(factor), _) => Ok(factor),
            (None, Some(original)) => {
                Ok((f64::from(self.max_positions()?) / f64::from(original)).max(1.0))
            }
            (None, None) => self.factor(),
        }
    }

    /// L0 where it is stated.
    fn original(self) -> Result<Option<u32>> {
        self.either(ORIGINAL, Fields::count)
    }

    fn max_positions(self) -> Result<u32> {
        let meaning = "the longest context of the model";
        let stated = self.top.count(MAX_POSITIONS)?;
        stated.ok_or_else(|| self.top.missing(MAX_POSITIONS, meaning))
    }
}
