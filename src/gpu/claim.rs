//! Caps that the caller claims, held against those that the device has.

use crate::caps::{Caps, Subgroups};
use crate::error::{Error, Result};

impl Caps {
    /// Refuses a claim past what `device` has: kernels would fail to compile there, or compute something else.
    pub(crate) fn check_within(&self, device: &Self) -> Result<()> {
        self.check_features(device)?;
        let limits = |caps: &Self| {
            [
                (
                    "invocations_per_workgroup",
                    caps.invocations_per_workgroup.into(),
                ),
                ("workgroup_size_x", caps.workgroup_size_x.into()),
                ("workgroup_memory", caps.workgroup_memory.into()),
                ("storage_buffers", caps.storage_buffers.into()),
                ("uniform_bytes", caps.uniform_bytes),
                ("binding_bytes", caps.binding_bytes),
                ("buffer_bytes", caps.buffer_bytes),
                (
                    "workgroups_per_dimension",
                    caps.workgroups_per_dimension.into(),
                ),
                ("iterations", caps.iterations.unwrap_or(u64::MAX)),
            ]
        };
        for ((what, claimed), (_, actual)) in limits(self).into_iter().zip(limits(device)) {
            if claimed > actual {
                let told = |n: u64| {
                    if n == u64::MAX {
                        "without end".into()
                    } else {
                        n.to_string()
                    }
                };
                return Err(Error::Claim {
                    what,
                    claimed: told(claimed),
                    actual: told(actual),
                });
            }
        }
        Ok(())
    }

    fn check_features(&self, device: &Self) -> Result<()> {
        let (claimed, actual) = (&self.subgroups, &device.subgroups);
        // The width that a shader runs with must be one that the kernels expect.
        let held = match (claimed, actual) {
            (None, _) => true,
            (Some(_), None) => false,
            // The adapter does not tell.
            (Some(_), Some(Subgroups { min: 0, .. } | Subgroups { max: 0, .. })) => true,
            (Some(claim), Some(width)) => claim.min <= width.min && width.max <= claim.max,
        };
        let told = |subgroups: &Option<Subgroups>| match subgroups {
            Some(subgroups) => subgroups.to_string(),
            None => "none".into(),
        };
        if !held {
            return Err(Error::Claim {
                what: "subgroups",
                claimed: told(claimed),
                actual: told(actual),
            });
        }
        if self.int64 && !device.int64 {
            return Err(Error::Claim {
                what: "int64",
                claimed: "true".into(),
                actual: "false (request Features::SHADER_INT64)".into(),
            });
        }
        Ok(())
    }
}
