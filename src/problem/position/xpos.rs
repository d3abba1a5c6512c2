//! xPos (arXiv 2212.10554): RoPE whose pairs also fade with distance, the slow ones least.

use std::ops::RangeInclusive;

use super::within::check_within;
use crate::error::Result;

/// ζ_i^((p − centre)/scale_base) on q and its inverse on k, with ζ_i = (2i/d + 0.4)/1.4. The product depends on the
/// difference of positions only, but each factor leaves f32 far from the centre: keep that near the block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct XPos {
    /// The position at which both factors are 1.
    pub centre: i32,
    /// Positions over which pair 0 fades by ζ_0; 512 in the paper.
    pub scale_base: f64,
}

setters! {
    XPos {
        with_centre(centre: i32);
        with_scale_base(scale_base: f64);
    }
}

impl XPos {
    /// The paper's fading about this centre.
    pub fn new(centre: i32) -> Self {
        Self {
            centre,
            scale_base: 512.0,
        }
    }

    /// ln ζ_i / scale_base for each pair: the fading a position.
    pub(super) fn rates(&self, pairs: u32) -> Vec<f64> {
        let zeta = |i| (f64::from(i) / f64::from(pairs) + 0.4) / 1.4;
        let rate = |i| zeta(i).ln() / self.scale_base;
        (0..pairs).map(rate).collect()
    }

    /// The positions at which no factor is above e⁴⁰: f32 ends at e⁸⁸, and a score multiplies two of them.
    pub(super) fn reach(&self) -> RangeInclusive<i64> {
        let most = (40.0 / self.rates(1)[0].abs()) as i64;
        let centre = i64::from(self.centre);
        centre.saturating_sub(most)..=centre.saturating_add(most)
    }

    pub(super) fn validate(&self) -> Result<()> {
        // Beyond, the rate of fading is 0 or infinite.
        let allowed = "a number above 1e-6, at most 1e30";
        check_within("xpos scale_base", self.scale_base, 1e-6, 1e30, allowed)
    }
}
