//! Tiles that were measured on one device, kept by the application and handed to plans: data without a GPU.
//!
//! `Attention::tune` measures, [`Tuning::to_json`] is what an application keeps, `Attention::with_tuning` (or
//! [`PlanOptions::with_tuning`](crate::PlanOptions::with_tuning)) lets plans use it. A tuning belongs to an adapter, its
//! driver and a version of this library. Where one of them is another, where it has no row for a problem, and where a row does
//! not fit the device, plans take their tiles from the library's table and say so in a note; no tuning makes a plan fail.

mod class;
mod json;

pub use class::{Class, KernelFamily, MaskClass};

use std::fmt;

use crate::caps::{AdapterId, Caps};
use crate::error::{Error, Result};
use crate::kernel::{StrategyKind, Tiling};

/// The version of the library, as a tuning names it.
const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// What was measured on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    adapter: AdapterId,
    library: String,
    rows: Vec<Row>,
}

/// What was measured for one class of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Of which problems.
    pub class: Class,
    /// The fastest tiles; those of the table where no others were faster.
    pub tiles: TunedTiles,
    /// Nanoseconds of the call with the table's tiles: the least of several runs.
    pub table_ns: u64,
    /// The same with these, of runs that took turns with those.
    pub tuned_ns: u64,
}

setters! {
    Row {
        with_class(class: Class);
        with_tiles(tiles: TunedTiles);
        with_table_ns(table_ns: u64);
        with_tuned_ns(tuned_ns: u64);
    }
}

impl Row {
    /// That a call of `class` took `table_ns` nanoseconds with the table's tiles and `tuned_ns` with these.
    pub const fn new(class: Class, tiles: TunedTiles, table_ns: u64, tuned_ns: u64) -> Self {
        Self {
            class,
            tiles,
            table_ns,
            tuned_ns,
        }
    }
}

/// Strategy and tiles of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunedTiles {
    /// Lanes of a cluster of the subgroup strategies; `None`, and null in JSON, is the workgroup strategy: see
    /// [`Self::strategy`].
    pub width: Option<u32>,
    /// Scores come key by key out of a loop.
    pub key_loop: bool,
    /// The tiles.
    pub tiling: Tiling,
    /// Workgroups that keep the device busy, for which keys are split; `None` leaves it to the table.
    pub busy: Option<u32>,
}

setters! {
    TunedTiles {
        with_width(width?: u32);
        with_key_loop(key_loop: bool);
        with_tiling(tiling: Tiling);
        with_busy(busy?: u32);
    }
}

impl TunedTiles {
    /// Which strategy they are of, as the width tells it.
    pub const fn strategy(&self) -> StrategyKind {
        match self.width {
            Some(_) => StrategyKind::Subgroup,
            None => StrategyKind::Workgroup,
        }
    }

    /// Tiles of the workgroup strategy; splits as the table has them.
    pub const fn workgroup(tiling: Tiling) -> Self {
        Self {
            width: None,
            key_loop: false,
            tiling,
            busy: None,
        }
    }

    /// Tiles of a subgroup strategy whose clusters have `width` lanes; splits as the table has them.
    pub const fn subgroup(width: u32, tiling: Tiling) -> Self {
        Self {
            width: Some(width),
            ..Self::workgroup(tiling)
        }
    }
}

impl Tuning {
    /// One without rows.
    pub fn new(adapter: AdapterId) -> Self {
        Self {
            adapter,
            library: LIBRARY.into(),
            rows: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn adapter(&self) -> &AdapterId {
        &self.adapter
    }

    /// The version of the library that measured.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a class.
    pub fn get(&self, class: &Class) -> Option<&Row> {
        self.rows.iter().find(|row| row.class == *class)
    }

    /// Adds a row, in place of the one of its class. Whether its tiles fit a device, plans see.
    pub fn insert(&mut self, row: Row) {
        match self.rows.iter_mut().find(|old| old.class == row.class) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
    }

    /// Why it is not for a device: another adapter, another driver, or measured by another version of the library.
    ///
    /// # Errors
    ///
    /// [`Error::StaleTuning`].
    pub fn check_current(&self, caps: &Caps) -> Result<()> {
        let stale = |of: String, here: String| Err(Error::StaleTuning { of, here });
        if self.library != LIBRARY {
            let version = |version: &str| format!("wgpu-attention {version}");
            return stale(version(&self.library), version(LIBRARY));
        }
        if self.adapter != caps.adapter {
            return stale(self.adapter.to_string(), caps.adapter.to_string());
        }
        Ok(())
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Tuning`] for a text that is cut off, of another version of the format, or whose fields are not what they can
    /// be. A tuning of another device is none; see [`Self::check_current`].
    pub fn from_json(text: &str) -> Result<Self> {
        json::read(text)
    }

    /// A file to keep, or to contribute: a JSON object, one field per line.
    pub fn to_json(&self) -> String {
        json::write(self)
    }
}

impl fmt::Display for TunedTiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width {
            Some(width) => write!(f, "subgroup {width}, {}", self.tiling)?,
            None => write!(
                f,
                "workgroup, {} in steps of {}",
                self.tiling, self.tiling.keys
            )?,
        }
        if self.key_loop {
            f.write_str(", key loop")?;
        }
        match self.busy {
            Some(busy) => write!(f, ", split for {busy} workgroups"),
            None => Ok(()),
        }
    }
}
