//! What a caller decides in the planner's place.

use wgpu_attention::PlanOptions;
use wgpu_attention::plan::RotateWhere;

use super::Draw;

/// All but the strategy.
pub fn draw(draw: &mut Draw) -> PlanOptions {
    let mut options = PlanOptions::default();
    options.decode = draw.one_in(2).then(|| draw.one_in(2));
    options.splits = draw.one_in(3).then(|| draw.size(1, 6));
    options.slice_rows = draw.one_in(4).then(|| draw.size(1, 40));
    options.rotate = draw
        .one_in(2)
        .then(|| draw.pick(&[RotateWhere::Fused, RotateWhere::Pass]));
    options.shared_outputs = draw.one_in(6);
    options
}
