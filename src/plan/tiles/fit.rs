//! Tiles that lie within blocks.

use crate::error::{Error, Result};
use crate::kernel::{Strategy, Tiling};
use crate::plan::builder::PlanBuilder;

use super::TileChoice;

/// Shrinks tiles until each lies in one block, of queries as of keys: a tile's rows then share one list, whatever the
/// adapter. Tiles are powers of two, so they must divide the largest one in the block's side, at least 16.
pub(in crate::plan) fn fit_block(
    chosen: &mut TileChoice,
    side: u32,
    builder: &mut PlanBuilder<'_>,
) -> Result<()> {
    let most = 1 << side.trailing_zeros();
    let fits = |tiling: &Tiling| {
        side.is_multiple_of(tiling.tile_rows()) && side.is_multiple_of(tiling.tile)
    };
    let was = chosen.tiling;
    if fits(&was) {
        return Ok(());
    }
    if builder.options.tiling.is_some() {
        return Err(Error::Strategy {
            strategy: "the tiling asked for",
            reason: format!("{was} does not divide blocks of {side}"),
        });
    }
    let tiling = &mut chosen.tiling;
    match chosen.strategy {
        Strategy::Subgroup { width, .. } => {
            while width / tiling.lanes_per_row > most {
                tiling.lanes_per_row *= 2;
            }
            tiling.keys = width / tiling.lanes_per_row;
            tiling.tile = tiling.keys;
            tiling.rows = 1 << tiling.rows.ilog2();
            while tiling.tile_rows() > most && tiling.rows > 1 {
                tiling.rows /= 2;
            }
            while tiling.tile_rows() > most && tiling.invocations > width {
                tiling.invocations /= 2;
            }
        }
        Strategy::Channels { width, .. } => {
            if width > most {
                return Err(Error::Strategy {
                    strategy: "decode",
                    reason: format!("a step of {width} keys does not divide blocks of {side}"),
                });
            }
            tiling.rows = tiling.rows.min(most);
        }
        Strategy::Workgroup => {
            tiling.tile = tiling.tile.min(most);
            while tiling.tile_rows() > most && tiling.rows > 1 {
                tiling.rows /= 2;
            }
            while tiling.tile_rows() > most {
                tiling.invocations /= 2;
            }
        }
    }
    builder.note(format!(
        "tiles of {was} are made to fit blocks of {side}: {tiling}"
    ));
    Ok(())
}
