//! From logits to the probabilities that a token is drawn from.

use std::cmp::Ordering;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// The likeliest tokens are kept that together have this probability, and the one that reaches it.
    pub top_p: f32,
}

impl Sampling {
    /// A row of probabilities, which sums to 1: a single 1 where the temperature is 0.
    pub fn row(&self, logits: &[f32]) -> Vec<f32> {
        let likeliest = likeliest(logits);
        let mut row = vec![0.0; logits.len()];
        if self.temperature == 0.0 {
            row[likeliest] = 1.0;
            return row;
        }
        let largest = logits[likeliest];
        for (p, logit) in row.iter_mut().zip(logits) {
            *p = ((logit - largest) / self.temperature).exp();
        }
        scale(&mut row);
        if self.top_p < 1.0 {
            self.keep_likeliest(&mut row);
        }
        row
    }

    fn keep_likeliest(&self, row: &mut [f32]) {
        let mut order: Vec<usize> = (0..row.len()).filter(|&token| row[token] > 0.0).collect();
        order.sort_unstable_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        let mut sum = 0.0;
        let reaches = |&token: &usize| {
            sum += row[token];
            sum >= self.top_p
        };
        let kept = order
            .iter()
            .position(reaches)
            .map_or(order.len(), |last| last + 1);
        order[kept..].iter().for_each(|&token| row[token] = 0.0);
        scale(row);
    }
}

/// The token of the largest logit, of equal ones the first.
pub fn likeliest(logits: &[f32]) -> usize {
    let larger = |a: &(usize, &f32), b: &(usize, &f32)| match a.1.total_cmp(b.1) {
        Ordering::Equal => b.0.cmp(&a.0),
        order => order,
    };
    logits
        .iter()
        .enumerate()
        .max_by(larger)
        .map_or(0, |(token, _)| token)
}

fn scale(row: &mut [f32]) {
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    row.iter_mut()
        .for_each(|p| *p = (f64::from(*p) / sum) as f32);
}
