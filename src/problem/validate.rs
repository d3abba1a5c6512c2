//! Refuses problems that are none: what the host can know of sizes, operands and how they go together.

use crate::error::{Error, Result};

use super::position::Side;
use super::{KvAddress, MAX_DIM, MAX_LEN, MAX_SCALE, Positions, Problem};

/// Refuses a factor on q·k that makes no finite numbers.
pub(crate) fn check_scale(scale: f32) -> Result<()> {
    match scale.is_nan() || scale.abs() > MAX_SCALE {
        true => Err(Error::number(
            "scale",
            scale,
            "a finite number, -1e12 to 1e12",
        )),
        false => Ok(()),
    }
}

/// The channels that a Walsh–Hadamard rotation of rows of `dim` mixes: the largest power of two that divides it.
pub(crate) fn hadamard_block(dim: u32) -> u32 {
    1 << dim.trailing_zeros()
}

/// Refuses such a rotation of rows that no power of two divides.
pub(crate) fn check_hadamard(what: &'static str, asked: bool, dim: u32) -> Result<()> {
    match asked && hadamard_block(dim) < 2 {
        true => Err(Error::OddHadamard { what, dim }),
        false => Ok(()),
    }
}

impl Problem {
    /// Checks everything that the host can know.
    pub fn validate(&self) -> Result<()> {
        let s = &self.shape;
        for (what, value) in [("q_heads", s.q_heads), ("kv_heads", s.kv_heads)] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        if !s.q_heads.is_multiple_of(s.kv_heads) {
            return Err(Error::size(
                "q_heads",
                s.q_heads,
                format!("a multiple of kv_heads = {}", s.kv_heads),
            ));
        }
        for (what, value) in [("head_dim", s.head_dim), ("value_dim", s.value_dim)] {
            if value == 0 || value > MAX_DIM {
                return Err(Error::size(what, value, format!("1 to {MAX_DIM}")));
            }
        }
        for (what, value) in [("q_len", s.q_len), ("kv_len", s.kv_len)] {
            if value > MAX_LEN {
                return Err(Error::size(what, value, format!("at most {MAX_LEN}")));
            }
        }
        self.validate_slice()?;
        self.kv_address.validate(s)?;
        self.validate_ragged()?;
        let (q, kv) = (self.q_sizes(), self.kv_sizes());
        self.q.validate("q", q, s.head_dim)?;
        self.k.validate_stored("k", kv, s.head_dim)?;
        self.v.validate_stored("v", kv, s.value_dim)?;
        self.o.validate("o", q, s.value_dim)?;
        self.o.validate_output("o", q, s.value_dim)?;
        self.lse_operand().validate("lse", q, 1)?;
        self.lse_operand().validate_output("lse", q, 1)?;
        if let Some(max_score) = &self.max_score {
            max_score.validate(s)?;
        }
        self.scale.map_or(Ok(()), check_scale)?;
        let tokens = [self.queries(), self.keys()];
        self.mask.validate(s, tokens)?;
        self.validate_shared_prefix()?;
        self.kv_address
            .validate_mask(s, &self.mask, self.slice().q.start)?;
        if self.mask.selected_blocks().is_some() {
            self.kv_address.check_strided("the choice of blocks")?;
        }
        self.score.validate(s)?;
        let known = self.resolved();
        self.position.validate(s, &known.mask, tokens)?;
        self.validate_given_positions()?;
        let is_ring = matches!(self.kv_address, KvAddress::Ring(_));
        if self.position.within_cache && !is_ring {
            return Err(Error::WithinCache {
                reason: "k and v lie in no ring; state Problem::kv_address",
            });
        }
        self.validate_hadamard()
    }

    /// Positions beside the queries' rotary rows are for biases by distance and temperatures only.
    fn validate_given_positions(&self) -> Result<()> {
        let position = &self.position;
        let temperature = position.rotary.as_ref().and_then(|x| x.temperature);
        let read = self.score.uses_positions() || temperature.is_some();
        let stated = position.q_positions != Positions::Index;
        match position.rows_given && stated && !read {
            true => Err(Error::GivenRows {
                reason: "Position::q_positions are stated, which nothing reads then; give the rows of these positions, and \
                         leave them out",
            }),
            false => Ok(()),
        }
    }

    fn validate_hadamard(&self) -> Result<()> {
        let s = &self.shape;
        check_hadamard("k_hadamard", self.k_hadamard, s.head_dim)?;
        check_hadamard("v_hadamard", self.v_hadamard, s.value_dim)?;
        match self.k_hadamard && self.position.rotates(Side::Key) {
            true => Err(Error::HadamardBeforeRotation),
            false => Ok(()),
        }
    }

    fn validate_slice(&self) -> Result<()> {
        let slice = self.slice();
        for (what, range, len) in [
            ("slice.q", &slice.q, self.shape.q_len),
            ("slice.k", &slice.k, self.shape.kv_len),
        ] {
            if range.start > range.end || range.end > len {
                return Err(Error::Range {
                    what,
                    start: range.start,
                    end: range.end,
                    len,
                });
            }
        }
        Ok(())
    }
}
