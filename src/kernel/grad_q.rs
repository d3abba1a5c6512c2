//! dQ, by tiles of query rows.

use super::gradient::gradient_kernel;

gradient_kernel! {
    /// The key of a kernel that makes dQ.
    GradQ: "grad_q", [false, false], [true, false]
}
