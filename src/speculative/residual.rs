//! The distribution that the next token still has to come from.

use super::draft::Draft;
use super::row;

/// A target row, less what rejected drafts have taken of it.
#[derive(Default)]
pub(super) struct Residual {
    /// In proportion to probabilities; one allocation for all rows of a call.
    weights: Vec<f64>,
    sum: f64,
    /// Tokens of rejected siblings, sorted. Their weights are 0, for they were rejected where r < p.
    rejected: Vec<u32>,
}

impl Residual {
    /// Begins with a row of which nothing is rejected.
    pub fn start(&mut self, row: &[f32]) {
        self.rejected.clear();
        self.weights.clear();
        self.weights.extend(row.iter().map(|&q| f64::from(q)));
        self.sum = row::sum(row);
    }

    /// Leaves out `tokens`. False where nothing else has a weight.
    pub fn remove(&mut self, tokens: &[u32]) -> bool {
        for &token in tokens {
            self.weights[token as usize] = 0.0;
        }
        self.sum = self.weights.iter().sum();
        self.sum > 0.0
    }

    /// Keeps `token` with probability min(1, r/p), or leaves (r − p)₊.
    pub fn accepts(&mut self, token: u32, draft: &Draft<'_>, uniform: f64) -> bool {
        let p = draft.given(token, &self.rejected);
        let r = self.weights[token as usize] / self.sum;
        if uniform * p(token as usize) < r {
            return true;
        }
        self.subtract(p);
        let at = self.rejected.partition_point(|&other| other < token);
        self.rejected.insert(at, token);
        false
    }

    /// r becomes (r − p)₊. Where f64 sees nothing left, r and p are equal but for rounding, and r stays.
    fn subtract(&mut self, p: impl Fn(usize) -> f64) {
        let sum = self.sum;
        let less = |(y, &r): (usize, &f64)| (r / sum - p(y)).max(0.0);
        let left: f64 = self.weights.iter().enumerate().map(less).sum();
        if left > 0.0 {
            for (y, r) in self.weights.iter_mut().enumerate() {
                *r = less((y, r));
            }
            self.sum = left;
        }
    }

    /// The token at which the running sum passes `uniform` of the whole; never one of weight 0.
    pub fn draw(&self, uniform: f64) -> u32 {
        let mut left = uniform * self.sum;
        let mut last = 0;
        for (token, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                last = token;
                if left < weight {
                    break;
                }
                left -= weight;
            }
        }
        last as u32
    }
}
