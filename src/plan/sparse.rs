//! Lists of blocks that are made on the device.

pub(super) mod lists;
pub(super) mod scan;
pub(super) mod select;

pub(super) use scan::plan as scan;
