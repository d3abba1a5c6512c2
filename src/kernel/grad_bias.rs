//! The gradient of a dense bias, by tiles of rows and keys.

use super::gradient::gradient_kernel;

gradient_kernel! {
    /// The key of a kernel that makes the gradient of a dense bias.
    GradBias: "grad_bias", [false, true], [false, false]
}
