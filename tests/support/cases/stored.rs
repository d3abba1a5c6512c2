//! Keys and values of other elements than q's.

use wgpu_attention::problem::{Element, Operand};

use super::Case;

impl Case {
    /// Stores k and v as these elements, with as many rows between rows as before and gaps beside.
    pub fn store(&mut self, k: Element, v: Element) {
        let p = &mut self.problem;
        // Rows of different elements share no buffer.
        self.packed = false;
        store(&mut p.k, k, p.shape.head_dim);
        store(&mut p.v, v, p.shape.value_dim);
    }
}

/// Every distance grows alike, by so many whole words that a row fits where it was: what did not overlap does not.
fn store(operand: &mut Operand, element: Element, dim: u32) {
    operand.element = element;
    if !element.is_quantized() {
        return;
    }
    let by = 8 * u64::from(element.row_elements(dim).div_ceil(8 * dim));
    let layout = &mut operand.layout;
    for distance in [
        &mut layout.offset,
        &mut layout.batch,
        &mut layout.head,
        &mut layout.row,
    ] {
        *distance *= by;
    }
}
