//! The one question about a kernel's tiles: what does the tuning say of its class of problems, else the table?

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::Tiling;
use crate::plan::PlanOptions;
use crate::plan::builder::PlanBuilder;
use crate::problem::Problem;
use crate::tuning::{Class, KernelFamily, MaskClass, TunedTiles};

use super::{Asked, TileChoice, TileRequest, choose, fit_block, software};

/// Strategy and tiles of one kernel, in blocks where there are some. The plan's notes say who chose.
pub(in crate::plan) fn ask(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    tile_request: TileRequest,
) -> Result<TileChoice> {
    let class = class(problem, &tile_request).filter(|_| !builder.options.forces_tiles());
    let tuned = match &class {
        Some(class) => tuned(builder, problem, &tile_request, class),
        None => None,
    };
    let mut chosen = match tuned {
        Some(chosen) => chosen,
        None => choose(tile_request, builder.caps, builder.options)?,
    };
    if let Some(grid) = problem.mask.block_grid(&problem.shape) {
        fit_block(&mut chosen, grid.side, builder)?;
    }
    if let Some(class) = class {
        let tiles = chosen.tuned_tiles();
        builder.asked.push(Asked {
            class,
            request: tile_request,
            tiles,
        });
        if !chosen.is_tuned {
            let class = builder.caps.class;
            builder.note(format!("tiles are those of the table of {class} adapters"));
        }
    }
    Ok(chosen)
}

/// What the tuning says, where it is for this device, has a row and its tiles fit.
fn tuned(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    tile_request: &TileRequest,
    class: &Class,
) -> Option<TileChoice> {
    let tuning = builder.options.tuning.as_deref()?;
    if let Err(error) = tuning.check_current(builder.caps) {
        builder.note(error.to_string());
        return None;
    }
    let tiles = tuning.get(class)?.tiles;
    let side = problem
        .mask
        .block_grid(&problem.shape)
        .map(|grid| grid.side);
    let chosen = legal(tile_request, builder.caps, builder.options, &tiles).and_then(|chosen| {
        let reason = || format!("{} does not divide blocks of {side:?}", tiles.tiling);
        match side.is_none_or(|side| divides(&chosen.tiling, side)) {
            true => Ok(chosen),
            false => Err(reason()),
        }
    });
    match chosen {
        Ok(chosen) => {
            builder.note(format!("tiles of {} are those of the tuning", class.kernel));
            Some(chosen)
        }
        Err(reason) => {
            builder.note(format!(
                "the tuning's tiles of {} are left out: {reason}",
                class.kernel
            ));
            None
        }
    }
}

fn divides(tiling: &Tiling, side: u32) -> bool {
    side.is_multiple_of(tiling.tile_rows()) && side.is_multiple_of(tiling.tile)
}

/// The choice of certain tiles, or why they cannot run here.
pub(super) fn legal(
    tile_request: &TileRequest,
    caps: &Caps,
    options: &PlanOptions,
    tiles: &TunedTiles,
) -> Result<TileChoice, String> {
    let strategy = tiles.strategy();
    let options = PlanOptions {
        strategy: Some(strategy),
        width: tiles.width,
        tiling: Some(tiles.tiling),
        key_loop: Some(tiles.key_loop),
        ..options.clone()
    };
    let words = tiles.tiling.rows
        * tile_request
            .channels
            .div_ceil(tiles.tiling.lanes_per_row.max(1));
    match caps.row_words() {
        Some((most, quirk)) if strategy.uses_subgroups() && words > most => {
            return Err(format!("a lane would hold {words} words of rows; {quirk}"));
        }
        _ => {}
    }
    match choose(*tile_request, caps, &options) {
        Ok(mut chosen) => {
            (chosen.busy, chosen.is_tuned) = (tiles.busy, true);
            // That others were passed over is the measurement's doing.
            chosen
                .declined
                .retain(|declined| declined.path != "subgroup");
            Ok(chosen)
        }
        Err(Error::Strategy { reason, .. }) => Err(reason),
        Err(error) => Err(error.to_string()),
    }
}

/// The class of a problem, as a kernel's tiles see it; none for kernels that no tuning knows, and for the user's functions,
/// which are not in it.
fn class(problem: &Problem, tile_request: &TileRequest) -> Option<Class> {
    let kernel = tile_request.kernel?;
    if problem.mods.is_some() {
        return None;
    }
    let mask = &problem.mask;
    let mask = if mask.blocks.is_some() {
        MaskClass::Blocks
    } else if mask.segments.is_some() || mask.dense.is_some() || mask.tree.is_some() {
        MaskClass::Marked
    } else if mask.causal || mask.window.is_some() {
        MaskClass::Interval
    } else {
        MaskClass::Full
    };
    let rows = tile_request.rows.clamp(1, Class::MOST_ROWS);
    Some(Class {
        kernel,
        elements: [problem.q.element, problem.k.element, problem.v.element],
        head_dim: problem.shape.head_dim,
        value_dim: problem.shape.value_dim,
        rows: rows.next_power_of_two(),
        small: tile_request.flops < software::SMALL_WORK,
        mask,
        bias: problem.score.bias.is_some(),
    })
}

impl TileChoice {
    pub(super) fn tuned_tiles(&self) -> TunedTiles {
        TunedTiles {
            width: self.strategy.width(),
            key_loop: self.key_loop,
            tiling: self.tiling,
            busy: self.busy,
        }
    }
}

impl TileRequest {
    /// Of a kernel that a tuning knows.
    pub fn of_kernel(self, kernel: KernelFamily) -> Self {
        Self {
            kernel: Some(kernel),
            ..self
        }
    }
}
