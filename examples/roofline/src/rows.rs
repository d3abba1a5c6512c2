//! Everything that is measured, one file a family of kernels.

mod backward;
mod forward;
mod generation;
mod mods;
mod positions;
mod sparse;

use crate::case::Group;

/// All groups. A new family is a file beside `forward` and a line here.
pub fn all() -> Vec<Group> {
    let groups = [
        forward::groups(),
        backward::groups(),
        positions::groups(),
        generation::groups(),
    ];
    groups.into_iter().flatten().collect()
}
