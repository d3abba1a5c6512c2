//! Devices, and what a plan for one must keep.

use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::plan::Slot;
use wgpu_attention::{Caps, Plan};

use super::Draw;

/// A device as there may be one.
pub fn draw(draw: &mut Draw) -> Caps {
    let mut caps = Caps::BASELINE;
    caps.class = draw.pick(&[
        AdapterClass::Cpu,
        AdapterClass::Integrated,
        AdapterClass::Discrete,
    ]);
    if draw.one_in(2) {
        let min = draw.size(2, 5);
        caps.subgroups = Some(Subgroups::new(1 << min, 1 << (min + draw.size(0, 2))));
        caps.lanes = 1 << min;
    }
    caps.workgroup_memory = draw.pick(&[16 << 10, 32 << 10, 64 << 10]);
    caps.workgroups_per_dimension = draw.pick(&[97, 65_535]);
    caps.int64 = draw.one_in(2);
    caps.iterations = (caps.class == AdapterClass::Cpu).then_some(Caps::SOFTWARE_ITERATIONS);
    caps
}

/// Whether every step keeps every limit of the device.
pub fn keeps_limits(plan: &Plan, caps: &Caps) -> Result<(), String> {
    for (n, step) in plan.steps().iter().enumerate() {
        let fault = |what: String| Err(format!("step {n}, {}: {what}", step.kernel()));
        let workgroup = step.variant().workgroup();
        if workgroup.memory > caps.workgroup_memory {
            return fault(format!("{} bytes of workgroup memory", workgroup.memory));
        }
        let most = caps.invocations_per_workgroup.min(caps.workgroup_size_x);
        if workgroup.invocations > most || workgroup.invocations == 0 {
            return fault(format!("{} invocations", workgroup.invocations));
        }
        let fits = |n: &u32| (1..=caps.workgroups_per_dimension).contains(n);
        if !step.grid.iter().all(fits) {
            return fault(format!("a grid of {:?} workgroups", step.grid));
        }
        if step.variant().needs().subgroups && caps.subgroups.is_none() {
            return fault("subgroups, which the device does not have".into());
        }
        for (name, binding) in step.bindings() {
            if binding.size > caps.binding_bytes || binding.offset % 256 != 0 {
                return fault(format!("{name} bound as {binding:?}"));
            }
            if let Slot::Scratch(n) = binding.slot
                && (binding.offset.checked_add(binding.size))
                    .is_none_or(|end| end > plan.scratch()[n])
            {
                return fault(format!("{name} bound as {binding:?} beyond its scratch"));
            }
        }
    }
    Ok(())
}
