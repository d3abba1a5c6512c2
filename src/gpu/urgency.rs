//! What is compiled first.

/// Whether somebody waits to go on, or for a time that may come; what is begun is ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(super) enum Urgency {
    Now,
    Begun,
    Ahead,
}
