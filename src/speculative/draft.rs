//! What a drafted token was drawn from.

use super::row;

/// What a drafted token was drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draft<'a> {
    /// A row of probabilities, without the tokens of earlier siblings; siblings may share one row.
    Row(&'a [f32]),
    /// Not sampled: looked up in the prompt, or one of a model's likeliest tokens. As a row: a single 1.
    Deterministic,
}

impl<'a> From<&'a [f32]> for Draft<'a> {
    fn from(row: &'a [f32]) -> Self {
        Self::Row(row)
    }
}

impl Draft<'_> {
    /// How probable each token was when `token` was drafted and those in `rejected` (sorted) were its earlier siblings.
    /// Asked about one of those, it answers more than the 0 that it was.
    pub(super) fn given(&self, token: u32, rejected: &[u32]) -> impl Fn(usize) -> f64 + '_ {
        let left = match self {
            Self::Row(row) => row::sum_without(row, rejected),
            Self::Deterministic => 1.0,
        };
        move |y| match self {
            Self::Row(row) => f64::from(row[y]) / left,
            Self::Deterministic => f64::from(u8::from(y == token as usize)),
        }
    }
}
