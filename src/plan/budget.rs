//! How long a slice of a call may take.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::error::{Error, Result};

/// The time that a part of a call may take on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    nanoseconds: NonZeroU64,
}

impl Budget {
    /// The most that a submit is planned to take where nobody asks for less: well under the 2 s after which Windows and
    /// amdgpu reset a device.
    pub const SUBMIT: Self = Self {
        nanoseconds: NonZeroU64::new(250_000_000).expect("more than 0"),
    };

    /// A budget in milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Number`] of what is not above 0 (less than a nanosecond is 0), and of what is no finite number.
    pub fn from_millis(milliseconds: f32) -> Result<Self> {
        let nanoseconds = f64::from(milliseconds) * 1e6;
        // As a cast saturates, NaN and what is negative are 0.
        match NonZeroU64::new(nanoseconds as u64) {
            Some(nanoseconds) if milliseconds.is_finite() => Ok(Self { nanoseconds }),
            _ => Err(Error::Number {
                what: "the budget in milliseconds",
                actual: milliseconds,
                allowed: "a finite number above 0, as 4.0 of a frame of 16",
            }),
        }
    }

    /// The budget as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.nanoseconds.get())
    }

    /// Seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.duration().as_secs_f64()
    }
}

impl TryFrom<Duration> for Budget {
    type Error = Error;

    /// Refuses 0; longer than 584 years is that long.
    fn try_from(duration: Duration) -> Result<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        match NonZeroU64::new(nanoseconds) {
            Some(nanoseconds) => Ok(Self { nanoseconds }),
            None => Self::from_millis(0.0),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", super::units::Time(self.seconds()))
    }
}
