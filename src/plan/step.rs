//! One dispatch: its kernel, what it binds and what it costs.

use crate::kernel::{Params, Variant};
use crate::problem::Role;

use super::Cost;

/// What stands behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The caller's buffer.
    Operand(Role),
    /// A buffer of the call's own, by its number in [`crate::Plan::scratch`].
    Scratch(usize),
    /// The call's small operands.
    Aux,
    /// Cosines and sines of [`crate::Plan::table`].
    Table,
}

/// What a step binds to a name of its shader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// What stands behind it.
    pub slot: Slot,
    /// Bytes, a multiple of 256.
    pub offset: u64,
    /// Bytes; 0 is all of a buffer.
    pub size: u64,
}

/// Tensors by the names that the shader gives them; the small operands (`aux`), the rotary table (`table`) and the
/// parameters are bound by the call.
pub type Bindings = Vec<(&'static str, Binding)>;

/// One dispatch of bounded cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    pub(crate) variant: Variant,
    pub(crate) bindings: Bindings,
    pub(crate) params: Params,
    /// Numbers of `params.work` that a workgroup takes; 0 of a step that is not cut.
    pub(crate) items: u32,
    /// Workgroups.
    pub grid: [u32; 3],
    /// What it costs.
    pub cost: Cost,
}

impl Step {
    /// The kind of its kernel: `prefill`, `merge`, …
    pub fn kernel(&self) -> &'static str {
        self.variant.entry()
    }

    #[doc(hidden)]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    #[doc(hidden)]
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    #[doc(hidden)]
    pub fn params(&self) -> &Params {
        &self.params
    }
}
