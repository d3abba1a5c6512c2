//! A value projection for each head, and its chain rule.

/// v `[H, N, D]` = x `[N, E]` · W `[H, E, D]`
pub struct Projection {
    pub heads: usize,
    pub len: usize,
    pub embed: usize,
    pub dim: usize,
}

impl Projection {
    /// v = x·W
    pub fn forward(&self, x: &[f32], w: &[f32]) -> Vec<f32> {
        let mut v = vec![0.0; self.heads * self.len * self.dim];
        self.products(|row, weight, embed| v[row] += x[embed] * w[weight]);
        v
    }

    /// dW = xᵀ·dV
    pub fn backward(&self, x: &[f32], dv: &[f32]) -> Vec<f32> {
        let mut dw = vec![0.0; self.heads * self.embed * self.dim];
        self.products(|row, weight, embed| dw[weight] += x[embed] * dv[row]);
        dw
    }

    /// Calls `f` with the indices in v, W and x of every product.
    fn products(&self, mut f: impl FnMut(usize, usize, usize)) {
        for (h, n) in (0..self.heads).flat_map(|h| (0..self.len).map(move |n| (h, n))) {
            for (e, d) in (0..self.embed).flat_map(|e| (0..self.dim).map(move |d| (e, d))) {
                f(
                    (h * self.len + n) * self.dim + d,
                    (h * self.embed + e) * self.dim + d,
                    n * self.embed + e,
                );
            }
        }
    }
}
