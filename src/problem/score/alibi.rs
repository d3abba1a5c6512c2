//! ALiBi (arXiv 2108.12409): a penalty on the score, linear in the distance of query and key.

/// The paper's slopes for this many heads. A power of two has 2^(−8(h+1)/n); any other number has those of the power
/// below, then every second slope of the power above (the paper's section 3 and its code).
pub fn alibi_slopes(heads: u32) -> Vec<f32> {
    let Some(log) = heads.checked_ilog2() else {
        return Vec::new();
    };
    let below = 1 << log;
    let rest = (0..heads - below).map(|h| slope(2 * h, 2 * u64::from(below)));
    let slopes = (0..below).map(|h| slope(h, below.into()));
    slopes.chain(rest).collect()
}

fn slope(h: u32, heads: u64) -> f32 {
    (-8.0 * (f64::from(h) + 1.0) / heads as f64).exp2() as f32
}
