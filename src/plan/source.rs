//! Rows that a kernel reads: the caller's tensor, or what a step before made of it in scratch.

use crate::kernel::Address;
use crate::problem::Operand;

use super::view::View;

/// An input as the attention kernel reads it: the caller's tensor, or its rows rotated into scratch.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub operand: Operand,
    pub view: View,
    pub address: Address,
}

impl Source {
    /// The same rows, found by another address.
    pub fn at(&self, address: Address) -> Self {
        Self {
            operand: self.operand,
            view: self.view.at(address),
            address,
        }
    }
}
