//! What a cascade saves.

use crate::plan::builder::PlanBuilder;
use crate::plan::forward::decode::MOST_QUERIES;
use crate::plan::forward::plan_of_few;
use crate::plan::units::Bytes;
use crate::problem::{Problem, Slice};

use super::suits::partial_bytes;
use super::{part, sequences};

/// What reading a prefix once saves.
pub(super) struct Gain {
    /// Bytes that are read of it for all sequences at once, and for each by itself.
    pub together: u64,
    pub apart: u64,
    /// Rows up to which decode takes it.
    pub few: u32,
}

impl Gain {
    /// By the plans of both ways.
    pub fn of(builder: &PlanBuilder<'_>, problem: &Problem) -> Result<Self, String> {
        let bytes = |problem: &Problem, few| {
            let plan = plan_of_few(problem, builder.caps, builder.options, few);
            plan.map(|plan| plan.cost().read_bytes)
        };
        let prefix = Slice {
            k: 0..problem.shared_prefix,
            ..problem.slice()
        };
        let said = |error: crate::Error| error.to_string();
        let apart = bytes(&part(problem, prefix), MOST_QUERIES).map_err(said)?;
        let shared = sequences::prefix_of(problem);
        let mut ways = Vec::new();
        // Rows that are many for decode may still share keys with those of other heads.
        for few in [MOST_QUERIES, u32::MAX] {
            ways.push((bytes(&shared, few).map_err(said)?, few));
        }
        let (together, few) = match ways[1].0 < ways[0].0 {
            true => ways[1],
            false => ways[0],
        };
        // Both are written and read again.
        let merged = partial_bytes(problem).saturating_mul(2);
        match apart > together.saturating_add(merged) {
            true => Ok(Self {
                together,
                apart,
                few,
            }),
            false => Err(format!(
                "{} of the shared keys would be read instead of {}, and the merge moves {}",
                Bytes(together),
                Bytes(apart),
                Bytes(merged)
            )),
        }
    }
}
