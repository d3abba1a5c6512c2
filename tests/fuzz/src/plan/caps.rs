//! Devices that there cannot be.

use wgpu_attention::Caps;
use wgpu_attention::caps::Subgroups;

use crate::support::drawn::{Draw, device};

pub fn draw(draw: &mut Draw) -> Caps {
    let mut caps = device::draw(draw);
    if !draw.one_in(3) {
        return caps;
    }
    if draw.rarely() {
        let (min, max) = (draw.near(1, 128), draw.near(1, 128));
        caps.subgroups = Some(Subgroups::new(min, max));
    }
    for limit in [
        &mut caps.lanes,
        &mut caps.invocations_per_workgroup,
        &mut caps.workgroup_size_x,
        &mut caps.workgroup_memory,
        &mut caps.storage_buffers,
        &mut caps.workgroups_per_dimension,
    ] {
        if draw.rarely() {
            *limit = draw.absurd();
        }
    }
    if draw.rarely() {
        let size = u64::from(draw.absurd());
        caps.binding_bytes = draw.pick(&[0, 4, 255, 256, size, size << 32, u64::MAX]);
    }
    if draw.rarely() {
        caps.iterations = Some(draw.pick(&[0, 1, 63, 64, 100, 1000, 70_000, u64::MAX]));
    }
    caps
}
