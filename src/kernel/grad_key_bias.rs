//! The gradient of a dense bias that queries share, by tiles of keys.

use super::gradient::gradient_kernel;

gradient_kernel! {
    /// The key of a kernel that sums a dense bias's gradient over queries.
    GradKeyBias: "grad_key_bias", [true, false], [false, false]
}
