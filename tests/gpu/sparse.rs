//! Attention over block lists and documents, against the definition.

mod lists;
mod scan;
mod segments;
mod select;

use wgpu_attention::Element;
use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Mask, Pattern};

use crate::support::cases::{Case, Setting, Sizes};

/// Every static pattern, small enough for a hundred tokens.
pub fn patterns() -> Vec<Pattern> {
    vec![
        Pattern::full(),
        Pattern::causal(),
        Pattern::sliding_window(20, 3),
        Pattern::dilated_window(5, 3),
        Pattern::strided(7),
        Pattern::fixed(16, 2),
        Pattern::global([0, 1, 40]),
        Pattern::longformer(6, [0, 1, 40]),
        Pattern::big_bird(1, 1, 1, 5),
        Pattern::sinks_and_window(5, 9),
        Pattern::vertical_slash([3, 30], [0, 1, 17]),
        Pattern::prefix_lm(21),
    ]
}

/// A case of f32 operands with head size 12, a mask over it.
pub fn case(name: impl Into<String>, sizes: Sizes, mask: Mask) -> Case {
    let setting = Setting::new(12, 12, Element::F32);
    Case::new(name, &setting, sizes).with(|p| p.mask = mask)
}

pub fn of_pattern(grid: BlockGrid, pattern: &Pattern) -> Blocks {
    Blocks::from(BlockMask::from_pattern(grid, pattern).expect("it fits the grid"))
}
