//! T5's relative bias (arXiv 1910.10683, section 2.1): one learned number per head for each bucket of distances.

use crate::error::{Error, Result};

/// The host states the bucket of every distance up to m, on either side: 32 MiB at the most.
const MAX_DISTANCE: u32 = 1 << 22;

/// How distances fall into buckets. The learned table is `[buckets, Hq]`, added to the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct T5 {
    /// n, the rows of the table; 32 in the published models.
    pub buckets: u32,
    /// m, the distance from which all share the last bucket; 128 in the published models.
    pub distance: u32,
    /// Whether keys after the query have buckets of their own (an encoder), or count as distance 0.
    pub bidirectional: bool,
}

setters! {
    T5 {
        with_buckets(buckets: u32);
        with_distance(distance: u32);
        with_bidirectional(bidirectional: bool);
    }
}

impl T5 {
    /// The published decoder's buckets.
    pub fn causal() -> Self {
        Self {
            buckets: 32,
            distance: 128,
            bidirectional: false,
        }
    }

    /// The published encoder's buckets.
    pub fn both() -> Self {
        Self {
            bidirectional: true,
            ..Self::causal()
        }
    }

    /// Buckets of one direction.
    fn side(&self) -> u32 {
        if self.bidirectional {
            self.buckets / 2
        } else {
            self.buckets
        }
    }

    /// e: distances below have a bucket each.
    pub fn exact(&self) -> u32 {
        self.side() / 2
    }

    /// The least distance of bucket e + 1, e + 2, … of one direction, ascending: a distance r ≥ e has the bucket e plus
    /// the number of thresholds not above r. So a shader needs no logarithm.
    pub fn thresholds(&self) -> Result<Vec<u32>> {
        self.validate()?;
        let (e, m) = (f64::from(self.exact()), f64::from(self.distance));
        let wide = self.side() - self.exact();
        let bound = |j: u32| e * (m / e).powf(f64::from(j) / f64::from(wide));
        // A bound that is a whole number may come out a rounding above itself.
        let least = |j: u32| (bound(j) * (1.0 - 1e-12)).ceil() as u32;
        Ok((1..wide).map(least).collect())
    }

    /// The bucket of `relative` = p_k − p_q, by these [thresholds](Self::thresholds).
    pub fn bucket(&self, relative: i64, thresholds: &[u32]) -> u32 {
        let after = relative > 0;
        let first = if self.bidirectional && after {
            self.side()
        } else {
            0
        };
        let r = match (self.bidirectional, after) {
            (false, true) => 0,
            _ => relative.unsigned_abs(),
        };
        if r < u64::from(self.exact()) {
            return first + r as u32;
        }
        let passed = thresholds.partition_point(|&t| u64::from(t) <= r);
        first + self.exact() + passed as u32
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let least = if self.bidirectional { 4 } else { 2 };
        if self.buckets < least || self.buckets > 1 << 16 {
            let allowed = format!("{least} to 65536");
            return Err(Error::size("t5 buckets", self.buckets, allowed));
        }
        if self.distance <= self.exact() || self.distance > MAX_DISTANCE {
            let exact = self.exact();
            let allowed =
                format!("more than the {exact} distances of their own, at most {MAX_DISTANCE}");
            return Err(Error::size("t5 distance", self.distance, allowed));
        }
        Ok(())
    }
}
