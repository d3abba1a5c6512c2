//! How a position enters the score. The first scheme is to use none.

/// A position scheme.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Position {
    /// Scores depend on q and k alone.
    #[default]
    None,
}
