//! What a device must grant a whole plan, held before there is a device that could refuse it in its own words, and what a
//! plan may hold.

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
const UNCUT: &str = "this is its least part, after cuts over batches, heads, queries and keys as far as they go; request a \
                     device with a higher limit (wgpu_attention::wanted), or lay it out with rows closer together";

/// The operands that share one buffer of the call's.
pub(super) const SMALL_OPERANDS: &str = "the small operands together";
/// The host holds them, and uploads them with every call.
pub(super) const MOST_AUX_BYTES: u64 = 1 << 30;
/// Steps of a plan: each is about a kilobyte here, and 10 GFLOP or more where it is cut for its work.
const MOST_STEPS: u64 = 1 << 18;
/// Seconds of counting. A million keys in 64 parts are a sixteenth of it.
const MOST_COUNTED: u64 = 1 << 30;

impl Plan {
    /// Refuses what only the whole plan knows.
    pub(super) fn within_limits(self) -> Result<Self> {
        let caps = &self.caps;
        let aux = self.aux.len() as u64 * 4;
        check_binding(caps, SMALL_OPERANDS, aux)?;
        check_buffer(caps, SMALL_OPERANDS, aux)?;
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

/// Bytes of a binding at the most.
pub(super) fn binding_limit(caps: &Caps) -> u64 {
    caps.binding_bytes.min(MOST_BINDING_BYTES)
}

/// Refuses what is larger than one binding.
pub(super) fn check_binding(caps: &Caps, what: &'static str, bytes: u64) -> Result<()> {
    refuse_larger(what, bytes, binding_limit(caps), SPLIT)
}

/// Refuses a tensor of which the least part that a step takes is larger than one binding.
pub(super) fn refuse_uncut(what: &'static str, bytes: u64, allowed: u64) -> Result<()> {
    refuse_larger(what, bytes, allowed, UNCUT)
}

fn refuse_larger(
    what: &'static str,
    actual: u64,
    allowed: u64,
    way_out: &'static str,
) -> Result<()> {
    if actual > allowed {
        return Err(Error::Limit {
            what,
            actual,
            limit: "max_storage_buffer_binding_size",
            allowed,
            way_out,
        });
    }
    Ok(())
}

/// Refuses what is larger than one buffer.
pub(super) fn check_buffer(caps: &Caps, what: &'static str, bytes: u64) -> Result<()> {
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

/// Refuses a plan of more steps than one holds.
pub(super) fn check_steps(steps: u64) -> Result<()> {
    if steps > MOST_STEPS {
        return Err(Error::Limit {
            what: "the plan's steps",
            actual: steps,
            limit: "steps that a plan holds",
            allowed: MOST_STEPS,
            way_out: "call it by slices of the queries, or with larger PlanOptions::slice_rows",
        });
    }
    Ok(())
}

/// Refuses a loop that a software adapter would leave without a word.
pub(super) fn check_iterations(caps: &Caps, what: &'static str, iterations: u32) -> Result<()> {
    match caps.iterations.filter(|&cap| u64::from(iterations) >= cap) {
        Some(allowed) => Err(Error::Limit {
            what,
            actual: iterations.into(),
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "call it with fewer sequences, or give cu_seqlens by the host",
        }),
        None => Ok(()),
    }
}

/// Refuses parts that each look at so many rows: what they cost is counted row by row.
pub(super) fn check_parts(parts: u64, rows: [u32; 2]) -> Result<()> {
    check_steps(parts)?;
    let actual = product([parts, rows[0].into(), rows[1].into()]);
    if actual > MOST_COUNTED {
        return Err(Error::Limit {
            what: "the rows of all parts of a gradient together",
            actual,
            limit: "rows that a plan counts through",
            allowed: MOST_COUNTED,
            way_out: "call it by slices, or with fewer PlanOptions::splits or larger slice_rows",
        });
    }
    Ok(())
}

/// `a · b · …`, or the largest number where that is larger still: what is compared with a limit.
pub(super) fn product(numbers: impl IntoIterator<Item = u64>) -> u64 {
    // A factor 0 may come last.
    let numbers: Vec<u64> = numbers.into_iter().collect();
    if numbers.contains(&0) {
        return 0;
    }
    numbers.into_iter().fold(1, u64::saturating_mul)
}
