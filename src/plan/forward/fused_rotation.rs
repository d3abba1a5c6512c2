//! Whether a kernel rotates rows as it loads them.

use crate::error::{Error, Result};
use crate::kernel::Input;
use crate::plan::RotateWhere;
use crate::plan::builder::PlanBuilder;
use crate::plan::operation::rotate;
use crate::plan::tiles::TileChoice;
use crate::problem::Problem;

/// Whether the kernel rotates q and k as it loads them. Each tile of queries then rotates every key anew, which pays
/// only where there are few: a pass before reads and writes each row once.
pub(super) fn fuses_rotation(
    problem: &Problem,
    (chosen, packed): (&TileChoice, u32),
    builder: &mut PlanBuilder<'_>,
) -> Result<bool> {
    let Some(rotary) = problem.position.rotation() else {
        return Ok(false);
    };
    let shape = &problem.shape;
    let slice = problem.slice();
    let rows = (slice.q.end - slice.q.start) * packed;
    let reads = rows.div_ceil(chosen.tiling.tile_rows()) * (shape.group() / packed);
    let aligned = [&problem.q, &problem.k]
        .iter()
        .all(|x| Input::of(&[x], &[shape.head_dim]).aligned);
    let whole = rotate::whole_chunks(rotary, 4);
    let able = whole && !problem.position.k_rotated;
    let selects = problem.mask.selected_blocks().is_some();
    let within = problem.position.within_cache;
    if within && (!able || builder.options.rotate == Some(RotateWhere::Pass)) {
        let reason = "positions within a ring are known as keys are loaded, so keys are rotated then: leave \
                      PlanOptions::rotate out, and rotate whole 4-vectors of channels"
            .into();
        return Err(Error::Strategy {
            strategy: "a rotation pass",
            reason,
        });
    }
    let fused = match builder.options.rotate {
        Some(RotateWhere::Fused) if selects => {
            let reason =
                "blocks are chosen from rotated q and k, before the kernel loads them".into();
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(RotateWhere::Fused) if !able => {
            let reason = if whole {
                "kernels that rotate as they load rotate keys too, and k holds rotated keys".into()
            } else {
                format!(
                    "a rotary dimension of {} from channel {} on does not fall into whole 4-vectors",
                    rotary.dim, rotary.start
                )
            };
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(asked) => asked == RotateWhere::Fused,
        None => within || (able && reads == 1 && !selects),
    };
    let how = if aligned { "" } else { ", unaligned" };
    let rows = rotate::rotated_rows(&problem.position);
    let when = match fused {
        true => "as they are loaded",
        false => "in a pass before",
    };
    let times = if reads == 1 { "time" } else { "times" };
    builder.note(format!(
        "{rows} {when}: each key is read {reads} {times}{how}"
    ));
    Ok(fused)
}
