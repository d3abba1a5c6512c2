//! Where the rows of a tensor lie, as shaders add it up.

use crate::problem::Layout;

use super::Strides;

impl Strides {
    /// A validated layout (it ends below 2³² elements). A stride of an axis of one may be anything: it is never used.
    pub fn of(layout: &Layout) -> Self {
        Self {
            start: layout.offset as u32,
            batch: layout.batch as u32,
            head: layout.head as u32,
            row: layout.row as u32,
        }
    }

    /// True when every row starts at a multiple of `n` elements, of whatever axes: one of size 1 counts too, whose stride
    /// may be anything.
    pub fn is_aligned(&self, n: u32) -> bool {
        [self.start, self.batch, self.head, self.row]
            .iter()
            .all(|x| x.is_multiple_of(n))
    }

    /// Contiguous rows of `dim`, of which the first is row `begin` of the whole problem.
    pub fn contiguous(heads: u32, rows: u32, dim: u32, begin: u32) -> Self {
        let row = dim;
        Self {
            start: begin.wrapping_mul(row).wrapping_neg(),
            batch: heads.wrapping_mul(rows).wrapping_mul(dim),
            head: rows.wrapping_mul(dim),
            row,
        }
    }
}
