//! Variants by name: in plans, in messages, and as labels of pipelines.

use std::fmt;

use super::{
    Input, ListFrom, MaskKey, Output, PackRows, ScoreKey, ScoreNumbers, Strategy, Tiling, Variant,
};

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefill(key) => write!(
                f,
                "prefill {} {},{}->{} {}{}{}{}",
                Self::Prefill(*key).strategy_name(),
                key.input,
                key.value,
                key.output,
                Dims(key.chunks, key.value_chunks),
                key.score,
                key.mask,
                Flags {
                    rotary: key.rotary.is_some(),
                    wide: key.wide,
                    rolled: key.rolled,
                },
            ),
            Self::GradQ(key)
            | Self::GradKv(key)
            | Self::GradBias(key)
            | Self::GradScore(key, _) => write!(
                f,
                "{}{} {} {},{}x{} {}{}{}{}",
                self.kernel(),
                match self {
                    Self::GradScore(_, ScoreNumbers::Slopes) => " slopes",
                    Self::GradScore(_, ScoreNumbers::T5) => " t5",
                    _ => "",
                },
                self.strategy_name(),
                key.input,
                key.value,
                key.d_o,
                Dims(key.chunks, key.value_chunks),
                key.score,
                key.mask,
                Flags {
                    rotary: false,
                    wide: key.wide,
                    rolled: key.rolled,
                },
            ),
            Self::GradSinks | Self::Reduce => f.write_str(self.kernel()),
            Self::Delta(key) => write!(
                f,
                "delta {}x{}{}",
                key.o,
                key.d_o,
                if key.dlse { " dlse" } else { "" }
            ),
            Self::Rotate(key) => write!(
                f,
                "rotate {}->{} {:?}{}{}",
                key.input,
                key.output,
                key.layout,
                if key.whole_chunks { "" } else { " ragged" },
                if key.wide { " wide" } else { "" }
            ),
            Self::Check => f.write_str("check"),
            Self::Pool(key) => write!(
                f,
                "pool {} to {}",
                key.input,
                if key.extremes { "extremes" } else { "means" }
            ),
            Self::ScoreBlocks(key) => write!(
                f,
                "score_blocks by {}{}",
                if key.extremes { "extremes" } else { "means" },
                if key.scanned { ", scanned" } else { "" }
            ),
            Self::ScanBlocks(key) => write!(
                f,
                "scan_blocks{}{}{}",
                if key.intervals { " intervals" } else { "" },
                if key.mask_mod { " mask_mod" } else { "" },
                if key.segments { " segments" } else { "" }
            ),
            Self::ListBlocks(key) => f.write_str(match key.from {
                ListFrom::Scores => "list_blocks of the highest scores",
                ListFrom::Scan => "list_blocks of a scan",
                ListFrom::Lists => "list_blocks transposed",
            }),
            Self::Combine { output } => write!(f, "combine f32->{output}"),
            Self::Pack(key) => match key.rows {
                PackRows::InOrder => write!(f, "pack f32->{}", key.output),
                PackRows::Table { add, .. } => {
                    let verb = if add { "added to" } else { "->" };
                    write!(f, "pack table {verb} {}", key.output)
                }
            },
        }
    }
}

/// Channels of a row of q and of v, at most.
struct Dims(u32, u32);

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D<={} Dv<={}", self.0 * 4, self.1 * 4)
    }
}

/// How rows are loaded and scores computed.
struct Flags {
    rotary: bool,
    wide: bool,
    rolled: bool,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.rotary { " rotary" } else { "" })?;
        f.write_str(if self.wide { " wide" } else { "" })?;
        f.write_str(if self.rolled { " rolled" } else { "" })
    }
}

impl Variant {
    /// `subgroup 8`, `subgroup 8+` (at least 8 lanes) or `workgroup`.
    fn strategy_name(&self) -> String {
        match self.tiles().map(|tiles| tiles.strategy) {
            Some(Strategy::Subgroup { width, fixed }) => {
                format!("subgroup {width}{}", if fixed { "" } else { "+" })
            }
            Some(Strategy::Workgroup) => "workgroup".into(),
            None => String::new(),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subgroup { .. } => "subgroup",
            Self::Workgroup => "workgroup",
        })
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows x {} keys ({} invocations, {} lanes a row, {} rows a lane)",
            self.tile_rows(),
            self.tile,
            self.invocations,
            self.lanes_per_row,
            self.rows
        )
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.element,
            if self.aligned { "" } else { " unaligned" }
        )
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { element, aligned } = *self;
        Input { element, aligned }.fmt(f)
    }
}

impl fmt::Display for ScoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flags()
            .iter()
            .filter(|(_, set)| *set)
            .try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

impl fmt::Display for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, set) in [
            (" list", self.list),
            (" with bits", self.bits),
            (" segments", self.segments),
            (" on the device", self.device),
            (" marked", self.marked),
        ] {
            f.write_str(if set { name } else { "" })?;
        }
        Ok(())
    }
}
