//! The optimiser of the examples that train.

/// Adam (1412.6980): running means of gradients and of their squares.
pub struct Adam {
    means: Vec<[f32; 2]>,
    time: i32,
}

impl Adam {
    pub fn new(count: usize) -> Self {
        Self {
            means: vec![[0.0; 2]; count],
            time: 0,
        }
    }

    /// Moves `values` against their gradients.
    pub fn step(&mut self, values: &mut [f32], gradients: &[f32], rate: f32) {
        self.time += 1;
        let unbias = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(self.time));
        for ((value, g), [mean, square]) in values.iter_mut().zip(gradients).zip(&mut self.means) {
            *mean += 0.1 * (g - *mean);
            *square += 0.001 * (g * g - *square);
            *value -= rate * (*mean / unbias[0]) / ((*square / unbias[1]).sqrt() + 1e-10);
        }
    }
}
