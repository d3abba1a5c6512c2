//! A new device in place of one that is lost.

use crate::caps::Caps;
use crate::kernel::Variant;

use super::attention::Attention;
use super::warm_up::{Wanted, WarmUp};

impl Attention {
    /// The same on another device, for when this one is lost: plans and problems hold on, buffers, calls and caches are
    /// to be made anew. The second is a future that compiles there what is compiled here, the kernels used last first; calls may be
    /// prepared before and beside it.
    ///
    /// A tuning ([`Self::with_tuning`]) comes along; on another adapter plans leave it out and say so.
    /// What the new device cannot run is left out; plans made for more than it has are refused as ever. Give it what the driver
    /// kept ([`Self::with_pipeline_cache`]) before the future is polled.
    pub fn rebuild(&self, device: &wgpu::Device, queue: &wgpu::Queue) -> (Self, WarmUp) {
        let own = Caps::of(device, None);
        let attention = match self.claimed() {
            Some(claimed) if claimed.check_within(&own).is_ok() => Self::claiming(device, claimed),
            _ => Self::new(device),
        };
        let attention = attention.with_tuning(self.tuning().cloned());
        let caps = attention.caps();
        let mut wanted = Wanted::default();
        let kept = self.pipelines().keys().into_iter().rev();
        wanted.keys = kept.filter(|(variant, _)| runs(variant, caps)).collect();
        let warm_up = WarmUp::new(attention.device(), queue, attention.shared(), wanted);
        (attention, warm_up)
    }
}

/// Whether a device of these caps runs the kernel.
fn runs(variant: &Variant, caps: &Caps) -> bool {
    let (needs, workgroup) = (variant.needs(), variant.workgroup());
    (caps.subgroups.is_some() || !needs.subgroups)
        && (caps.int64 || !needs.int64)
        && workgroup.invocations <= caps.invocations_per_workgroup
        && workgroup.memory <= caps.workgroup_memory
}
