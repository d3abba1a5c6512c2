//! What a device must grant a whole plan: held before there is a device that could refuse it in its own words.

use crate::caps::Caps;
use crate::error::{Error, Result};

use super::{PARAMETER_BYTES, Plan, Step};

const REQUEST: &str =
    "request a device with a higher limit (wgpu_attention::wanted asks for what the adapter has)";
/// WebGPU's least is more, so that a device has less only because somebody asked for less, or by an adapter below WebGPU.
const BELOW_DEFAULT: &str = "request a device with wgpu::Limits::default(), which is enough for every plan; an adapter \
                             below these limits runs none of this kind";
const SPLIT: &str = "request a device with a higher limit (wgpu_attention::wanted), or where the adapter has no more, call \
                     it by fewer batches, heads or tokens at a time (Problem::slice, Merge)";

impl Plan {
    /// Refuses what only the whole plan knows.
    pub(super) fn within_limits(self) -> Result<Self> {
        let caps = &self.caps;
        let aux = self.aux.len() as u64 * 4;
        check_binding(caps, "the small operands together", aux)?;
        check_buffer(caps, "the small operands together", aux)?;
        for &bytes in &self.scratch {
            check_buffer(caps, "a buffer of scratch", bytes)?;
        }
        let parameters = self.steps.len() as u64 * PARAMETER_BYTES;
        check_buffer(caps, "the parameters of all steps", parameters)?;
        for step in &self.steps {
            step.check(caps)?;
        }
        Ok(self)
    }
}

impl Step {
    /// Storage buffers that its shader binds.
    #[doc(hidden)]
    pub fn storage_buffers(&self) -> u32 {
        self.bindings.len() as u32 + self.variant.kernel().shared_buffers()
    }

    fn check(&self, caps: &Caps) -> Result<()> {
        let workgroup = self.variant.workgroup();
        let at_most = |what, limit, actual: u64, allowed: u64, way_out| {
            if actual <= allowed {
                return Ok(());
            }
            Err(Error::Limit {
                what,
                actual,
                limit,
                allowed,
                way_out,
            })
        };
        at_most(
            "a step",
            "max_storage_buffers_per_shader_stage",
            self.storage_buffers().into(),
            caps.storage_buffers.into(),
            BELOW_DEFAULT,
        )?;
        at_most(
            "a step's parameters",
            "max_uniform_buffer_binding_size",
            PARAMETER_BYTES,
            caps.uniform_bytes,
            BELOW_DEFAULT,
        )?;
        at_most(
            "a workgroup",
            "max_compute_invocations_per_workgroup",
            workgroup.invocations.into(),
            caps.invocations_per_workgroup.into(),
            BELOW_DEFAULT,
        )?;
        at_most(
            "a workgroup",
            "max_compute_workgroup_size_x",
            workgroup.invocations.into(),
            caps.workgroup_size_x.into(),
            BELOW_DEFAULT,
        )?;
        at_most(
            "a workgroup's memory",
            "max_compute_workgroup_storage_size",
            workgroup.memory.into(),
            caps.workgroup_memory.into(),
            REQUEST,
        )
    }
}

/// Shaders index words with u32, whatever a device claims.
const MOST_BINDING_BYTES: u64 = 4 * u32::MAX as u64;

/// Refuses what is larger than one binding.
pub(super) fn check_binding(caps: &Caps, what: &'static str, bytes: u64) -> Result<()> {
    let allowed = caps.binding_bytes.min(MOST_BINDING_BYTES);
    if bytes > allowed {
        return Err(Error::Limit {
            what,
            actual: bytes,
            limit: "max_storage_buffer_binding_size",
            allowed,
            way_out: SPLIT,
        });
    }
    Ok(())
}

/// Refuses what is larger than one buffer.
fn check_buffer(caps: &Caps, what: &'static str, bytes: u64) -> Result<()> {
    if bytes > caps.buffer_bytes {
        return Err(Error::Limit {
            what,
            actual: bytes,
            limit: "max_buffer_size",
            allowed: caps.buffer_bytes,
            way_out: SPLIT,
        });
    }
    Ok(())
}
