//! Options that make no sense.

use wgpu_attention::plan::StrategyKind;
use wgpu_attention::{Budget, PlanOptions, Tiling};

use crate::support::drawn::{self, Draw};

pub fn draw(draw: &mut Draw) -> PlanOptions {
    let mut options = drawn::options::draw(draw);
    options.strategy = draw
        .one_in(2)
        .then(|| draw.pick(&[StrategyKind::Subgroup, StrategyKind::Workgroup]));
    if draw.rarely() {
        options.width = Some(draw.near(1, 64));
    }
    if draw.rarely() {
        options.tiling = Some(tiling(draw));
    }
    if draw.rarely() {
        options.splits = Some(draw.absurd());
    }
    if draw.rarely() {
        options.slice_rows = Some(draw.absurd());
    }
    if draw.rarely() {
        options.max_scratch = Some(u64::from(draw.absurd()));
    }
    if draw.rarely() {
        options.within = Budget::from_millis(draw.absurd_float()).ok();
    }
    options.vec8 = draw.rarely().then(|| draw.one_in(2));
    options.key_loop = draw.rarely().then(|| draw.one_in(2));
    options.count_tiles = draw.one_in(8);
    options
}

fn tiling(draw: &mut Draw) -> Tiling {
    Tiling {
        invocations: draw.near(1, 256),
        lanes_per_row: draw.near(1, 16),
        rows: draw.near(1, 8),
        keys: draw.near(1, 16),
        tile: draw.near(1, 64),
    }
}
