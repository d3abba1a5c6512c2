//! Numbers in units that a person reads at a glance.

use std::fmt;

/// Bytes in a unit that a person reads at a glance.
pub(super) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let (mut x, mut unit) = (self.0 as f64, 0);
        // What would round to 1024.0 of a unit is 1.0 of the next.
        while x >= 1023.95 && unit + 1 < units.len() {
            x /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(unit > 0);
        write!(f, "{x:.digits$} {}", units[unit])
    }
}

/// `1 tile`, `2 tiles`
pub(super) struct Counted(pub u64, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = *self;
        write!(f, "{count} {what}{}", if count == 1 { "" } else { "s" })
    }
}

/// FLOPs in a unit that leaves digits before the point.
pub(super) struct Flops(pub u64);

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"];
        let (mut x, mut unit) = (self.0 as f64, 0);
        while x >= 999.995 && unit + 1 < units.len() {
            x /= 1000.0;
            unit += 1;
        }
        let digits = if unit > 0 { 2 } else { 0 };
        write!(f, "{x:.digits$} {}", units[unit])
    }
}

/// Seconds in a unit that leaves digits before the point.
pub(super) struct Time(pub f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // What would round to 1000 of a unit is 1 of the next.
            s if s >= 0.99995 => write!(f, "{s:.2} s"),
            s if s >= 0.9995e-3 => write!(f, "{:.1} ms", s * 1e3),
            s if s >= 0.9995e-6 => write!(f, "{:.0} us", s * 1e6),
            s => write!(f, "{:.0} ns", s * 1e9),
        }
    }
}
