//! How errors are made: what most of them need, and causes told with them.

use super::{Error, Result};

impl Error {
    pub(crate) fn size(
        what: &'static str,
        actual: impl Into<u64>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Size {
            what,
            actual: actual.into(),
            allowed: allowed.into(),
        }
    }

    pub(crate) fn number(what: &'static str, actual: f32, allowed: &'static str) -> Self {
        Self::Number {
            what,
            actual,
            allowed,
        }
    }

    pub(crate) fn check_count(what: &'static str, actual: usize, expected: usize) -> Result<()> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Count {
                what,
                actual,
                expected,
            })
        }
    }

    /// `expected` may be more than any host holds.
    pub(crate) fn check_values(what: &'static str, actual: usize, expected: u64) -> Result<()> {
        if actual as u64 == expected {
            Ok(())
        } else {
            Err(Self::Values {
                what,
                actual,
                expected: usize::try_from(expected).unwrap_or(usize::MAX),
            })
        }
    }

    pub(crate) fn number_at(
        what: &'static str,
        index: usize,
        actual: f32,
        allowed: &'static str,
    ) -> Self {
        Self::NumberAt {
            what,
            index,
            actual,
            allowed,
        }
    }

    /// Tells of a lack of memory for how much that was, and what to do.
    #[cfg(feature = "wgpu")]
    pub(crate) fn allocating(self, bytes: u64, way_out: &'static str) -> Self {
        match self {
            Self::OutOfMemory { what, .. } => Self::OutOfMemory {
                what,
                bytes,
                way_out,
            },
            other => other,
        }
    }

    pub(crate) fn compose(module: &str, line: usize, message: impl Into<String>) -> Self {
        Self::Compose {
            module: module.into(),
            line,
            message: message.into(),
        }
    }

    /// Gives a composition error that knows no line yet the one of `module` that led to it.
    pub(crate) fn at_line(self, at: &str, number: usize) -> Self {
        match self {
            Self::Compose {
                module,
                line: 0,
                message,
            } if module == at => Self::Compose {
                module,
                line: number,
                message,
            },
            other => other,
        }
    }
}

/// An error and its causes in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
