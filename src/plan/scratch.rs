//! Plans that take no more memory beside the operands than a caller allows.

use crate::error::{Error, Result};

use super::{PARAMETER_BYTES, Plan, PlanOptions};

/// Plans, and plans again with fewer rows at a time and then fewer splits until the plan keeps to
/// [`PlanOptions::max_scratch`].
pub(super) fn bounded(
    options: &PlanOptions,
    rows: u32,
    plan: impl Fn(&PlanOptions) -> Result<Plan>,
) -> Result<Plan> {
    let first = plan(options)?;
    let Some(most) = options.max_scratch else {
        return Ok(first);
    };
    let mut least = first.scratch_bytes();
    if least <= most {
        return Ok(first);
    }
    let mut asked = vec![options.splits];
    // The planner's own choice, then fewer; never fewer than the caller's.
    if options.splits.is_none() {
        asked.extend([64, 16, 4, 2, 1].map(Some));
    }
    for splits in asked {
        let mut rows = options.slice_rows.unwrap_or(u32::MAX).min(rows.max(1));
        while rows > 1 {
            rows = rows.div_ceil(2);
            let fewer = options.clone().with_splits(splits).with_slice_rows(rows);
            // What cannot be split so, or takes more steps than a plan holds, is no way.
            let Ok(mut cut) = plan(&fewer) else {
                break;
            };
            let bytes = cut.scratch_bytes();
            if bytes <= most {
                // As it was asked for: another plan of the same task looks for its own.
                cut.options = options.clone();
                cut.notes.push(format!(
                    "max_scratch allows {}: {rows} rows at a time",
                    super::units::Bytes(most)
                ));
                return Ok(cut);
            }
            least = least.min(bytes);
            // Fewer rows are more steps, and those have parameters.
            if cut.steps.len() as u64 * PARAMETER_BYTES > most {
                break;
            }
        }
    }
    Err(Error::Limit {
        what: "the call's scratch",
        actual: least,
        limit: "PlanOptions::max_scratch",
        allowed: most,
        way_out: "this is the least that was found, in bytes; allow as much, or call it by fewer batches or heads",
    })
}
