//! dK and dV, by tiles of key rows.

use super::gradient::gradient_kernel;

gradient_kernel! {
    /// The key of a kernel that makes dK and dV.
    GradKv: "grad_kv", [true, false], [true, true]
}
