//! Gradients through rotations: channels at the end of a row, keys that are rotated already, layers that do not rotate.

use wgpu_attention::Element;
use wgpu_attention::problem::Mask;
use wgpu_attention::problem::position::{RopeKind, Rotary, RotaryLayout, Yarn};

use super::run::{Given, run_and_check};
use crate::device::gpu;
use crate::run::strategies;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// In f32, and in f16, whose gradients are packed.
fn check(rotary: &Rotary, k_rotated: bool) {
    for element in [Element::F32, Element::F16] {
        let sizes = Sizes::two(4, 2, 13, 22);
        let setting = Setting::new(rotary.head_dim, 12, element);
        let name = format!("{rotary}, keys rotated: {k_rotated}, {element}");
        let case = Case::new(name, &setting, sizes).with(|p| {
            p.mask = Mask::causal();
            p.position.rotary = Some(rotary.clone());
            p.position.k_rotated = k_rotated;
        });
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        for choice in strategies(gpu()) {
            run_and_check(gpu(), &case, &inputs, &Given::new(&case, 3), &choice);
        }
    }
}

#[test]
fn channels_at_the_end_of_a_row() {
    for layout in [RotaryLayout::Half, RotaryLayout::Interleaved] {
        for (head_dim, dim) in [(24, 8), (22, 6)] {
            let rotary = Rotary::new(head_dim)
                .with_start(head_dim - dim)
                .with_dim(dim)
                .with_layout(layout);
            check(&rotary, false);
        }
    }
}

/// dk is the gradient by the keys as they were given: it is not rotated back.
#[test]
fn rotated_keys() {
    let yarn = RopeKind::Yarn(Yarn::new(8.0, 16));
    check(&Rotary::new(16).with_kind(yarn), true);
}

#[test]
fn layers_that_do_not_rotate() {
    check(&Rotary::new(16).with_kind(RopeKind::Nope), false);
}
