//! The lab on the suites' adapter, with the repository's weights.

mod bad_input;
mod gradients;
mod pictures;
mod results;
mod spread;
mod tool;
mod training;
