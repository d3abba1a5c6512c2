//! WGSL from modules: joined, conditions taken, loops unrolled, bindings numbered, parameters declared. Text only: it
//! knows no kernel.

mod bindings;
mod compose;
mod library;
mod line;
mod parameters;
mod unroll;

pub use bindings::{Access, Bind};
pub use compose::{Needs, Shader, Source};
pub(crate) use library::find;
pub use parameters::{GROUP_ALIGNMENT, Group};
