//! A row of probabilities: what makes it one, and sums over it.

use crate::error::{Error, Result};

/// How far a row's sum may be from 1: what rounding to f32 or f16 leaves, not what a forgotten softmax does.
pub const TOLERANCE: f64 = 1e-3;

/// In eight running sums, so that no addition waits for the one before it.
pub(super) fn sum(row: &[f32]) -> f64 {
    let (eights, rest) = row.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, &p) in sums.iter_mut().zip(eight) {
            *sum += f64::from(p);
        }
    }
    let rest: f64 = rest.iter().map(|&p| f64::from(p)).sum();
    sums.iter().sum::<f64>() + rest
}

/// The sum over all tokens but `taken`, which is sorted. What is left may be tiny beside 1, so nothing is subtracted.
pub(super) fn sum_without(row: &[f32], taken: &[u32]) -> f64 {
    let mut total = 0.0;
    let mut start = 0;
    for &token in taken {
        total += sum(&row[start..token as usize]);
        start = token as usize + 1;
    }
    total + sum(&row[start..])
}

/// What errors call rows, so that a message says which is at fault.
pub(super) struct Rows {
    pub name: &'static str,
    pub sum: &'static str,
    pub length: &'static str,
}

pub(super) const DRAFTS: Rows = Rows {
    name: "drafts",
    sum: "the sum of drafts",
    length: "the length of drafts",
};

pub(super) const TARGETS: Rows = Rows {
    name: "targets",
    sum: "the sum of targets",
    length: "the length of targets",
};

pub(super) const ROW: Rows = Rows {
    name: "row",
    sum: "the sum of row",
    length: "the length of row",
};

impl Rows {
    /// Row `index` as one of probabilities.
    pub fn check(&self, index: usize, row: &[f32]) -> Result<()> {
        if row.is_empty() {
            let allowed = "the vocabulary's size, 1 or more".to_string();
            return Err(self.length(index, row, allowed));
        }
        let wrong = |p: &f32| !p.is_finite() || *p < 0.0;
        if let Some(token) = row.iter().position(wrong) {
            let allowed = "finite numbers from 0 on";
            return Err(self.probability(index, token, row[token], allowed));
        }
        let sum = sum(row);
        if (sum - 1.0).abs() <= TOLERANCE {
            return Ok(());
        }
        Err(Error::number_at(
            self.sum,
            index,
            sum as f32,
            "1 within 0.001; give what softmax makes of the scores",
        ))
    }

    /// Row `index` as one over as many tokens as the first target row.
    pub fn check_length(&self, index: usize, row: &[f32], vocabulary: usize) -> Result<()> {
        if row.len() == vocabulary {
            return Ok(());
        }
        Err(self.length(index, row, format!("{vocabulary}, that of targets[0]")))
    }

    fn length(&self, index: usize, row: &[f32], allowed: String) -> Error {
        Error::Element {
            what: self.length,
            index,
            actual: row.len() as i64,
            allowed,
        }
    }

    pub fn probability(
        &self,
        row: usize,
        token: usize,
        actual: f32,
        allowed: &'static str,
    ) -> Error {
        Error::Probability {
            what: self.name,
            row,
            token,
            actual,
            allowed,
        }
    }
}
