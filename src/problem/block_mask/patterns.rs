//! Static sparsity patterns by name. A query stands at key index `d = i + Nk − Nq` (bottom-right), as everywhere.

mod rule;

use std::collections::BTreeSet;
use std::fmt;

use crate::error::Result;

use rule::{Rule, Span};

use super::BlockGrid;

pub(super) use rule::Cover;

/// A static pattern: the union of some rules, perhaps under a causal mask.
///
/// [`super::BlockMask::from_pattern`] makes blocks of it, and [`super::BlockMask::from_patterns`] of one per head.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    name: String,
    rules: Vec<Rule>,
    causal: bool,
}

impl Pattern {
    fn new(name: String, causal: bool, rules: Vec<Rule>) -> Self {
        Self {
            name,
            rules,
            causal,
        }
    }

    /// Every pair.
    pub fn full() -> Self {
        Self::new("full".into(), false, vec![Rule::All])
    }

    /// No key after the query's own.
    pub fn causal() -> Self {
        Self::new("causal".into(), true, vec![Rule::All])
    }

    /// `left` keys before each query and `right` after it, both inclusive.
    pub fn sliding_window(left: u32, right: u32) -> Self {
        let dilation = 1;
        let window = Rule::Window {
            left,
            right,
            dilation,
        };
        Self::new(
            format!("sliding window {left}, {right}"),
            false,
            vec![window],
        )
    }

    /// Longformer's dilated window (2004.05150): `reach` keys on either side, `dilation` apart.
    pub fn dilated_window(reach: u32, dilation: u32) -> Self {
        let side = reach.saturating_mul(dilation);
        let window = Rule::Window {
            left: side,
            right: side,
            dilation,
        };
        let name = format!("dilated window {reach} x {dilation}");
        Self::new(name, false, vec![window])
    }

    /// Sparse Transformer's strided pattern (1904.10509): the last `stride` keys and every `stride`-th before, causal.
    pub fn strided(stride: u32) -> Self {
        let (left, right, dilation) = (stride, 0, 1);
        let window = Rule::Window {
            left,
            right,
            dilation,
        };
        let name = format!("strided {stride}");
        Self::new(name, true, vec![window, Rule::Stride(stride)])
    }

    /// Sparse Transformer's fixed pattern (1904.10509): the query's own stretch of `stride` keys, and the last
    /// `summary` keys of every stretch, causal.
    pub fn fixed(stride: u32, summary: u32) -> Self {
        let name = format!("fixed {stride}, {summary}");
        let stretch = stride;
        let rules = vec![
            Rule::SameStretch(stride),
            Rule::Summary { stretch, summary },
        ];
        Self::new(name, true, rules)
    }

    /// Longformer (2004.05150): a window of `reach` keys on either side; the `global` tokens see and are seen by all.
    pub fn longformer(reach: u32, global: impl IntoIterator<Item = u32>) -> Self {
        let global: BTreeSet<u32> = global.into_iter().collect();
        let name = format!("Longformer {reach}, {} global", global.len());
        let (left, right, dilation) = (reach, reach, 1);
        let rules = vec![
            Rule::Window {
                left,
                right,
                dilation,
            },
            Rule::Columns(global.clone()),
            Rule::Rows(global),
        ];
        Self::new(name, false, rules)
    }

    /// The `global` tokens see and are seen by all; nothing else is visible.
    pub fn global(global: impl IntoIterator<Item = u32>) -> Self {
        let global: BTreeSet<u32> = global.into_iter().collect();
        let name = format!("{} global tokens", global.len());
        let rules = vec![Rule::Columns(global.clone()), Rule::Rows(global)];
        Self::new(name, false, rules)
    }

    /// BigBird (2007.14062), in blocks: `window` blocks on either side of the one that the query stands in, `global` first
    /// blocks that see and are seen by all, and `random` more per list, drawn by `seed`.
    pub fn big_bird(window: u32, global: u32, random: u32, seed: u64) -> Self {
        let name = format!("BigBird {window}, {global} global, {random} random");
        let count = random;
        let rules = vec![
            Rule::BlockWindow(window),
            Rule::GlobalBlocks(global),
            Rule::RandomBlocks { count, seed },
        ];
        Self::new(name, false, rules)
    }

    /// The A-shape (StreamingLLM, 2309.17453): the first `sinks` keys and the last `window`, the query's own among
    /// them, causal.
    pub fn sinks_and_window(sinks: u32, window: u32) -> Self {
        let (left, right, dilation) = (window.saturating_sub(1), 0, 1);
        let window_rule = Rule::Window {
            left,
            right,
            dilation,
        };
        let name = format!("{sinks} sinks, window {window}");
        Self::new(name, true, vec![Rule::First(sinks), window_rule])
    }

    /// MInference's vertical-slash (2407.02490): these key columns, and the diagonals at these distances `d − j`,
    /// causal.
    pub fn vertical_slash(
        columns: impl IntoIterator<Item = u32>,
        diagonals: impl IntoIterator<Item = u32>,
    ) -> Self {
        let columns: BTreeSet<u32> = columns.into_iter().collect();
        let diagonals: BTreeSet<u32> = diagonals.into_iter().collect();
        let (verticals, slashes) = (columns.len(), diagonals.len());
        let name = format!("{verticals} verticals, {slashes} slashes");
        let rules = vec![Rule::Columns(columns), Rule::Diagonals(diagonals)];
        Self::new(name, true, rules)
    }

    /// Packed documents: a pair is visible when its tokens' ids are equal. One id per query, one per key.
    pub fn document(q: Vec<i32>, k: Vec<i32>) -> Self {
        Self::new("documents".into(), false, vec![Rule::Documents { q, k }])
    }

    /// Prefix-LM: causal, but every query sees the first `prefix` keys.
    pub fn prefix_lm(prefix: u32) -> Self {
        let window = Rule::Window {
            left: u32::MAX,
            right: 0,
            dilation: 1,
        };
        let name = format!("prefix-LM {prefix}");
        Self::new(name, false, vec![Rule::First(prefix), window])
    }

    /// The same pattern without the keys after each query's own.
    pub fn under_causal(mut self) -> Self {
        if !self.causal {
            self.name.push_str(", causal");
        }
        self.causal = true;
        self
    }

    /// The pattern in words.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A pattern on a grid.
pub(super) struct Placed<'a> {
    pattern: &'a Pattern,
    grid: BlockGrid,
    offset: i64,
    /// For each block of queries the blocks that were drawn.
    random: Vec<BTreeSet<u32>>,
}

impl<'a> Placed<'a> {
    pub fn new(pattern: &'a Pattern, grid: &BlockGrid) -> Result<Self> {
        for rule in &pattern.rules {
            rule.validate(grid)?;
        }
        let mut placed = Self {
            pattern,
            grid: *grid,
            offset: i64::from(grid.kv_len) - i64::from(grid.q_len),
            random: Vec::new(),
        };
        placed.random = placed.draw();
        Ok(placed)
    }

    pub fn sees(&self, i: u32, j: u32) -> bool {
        let d = i64::from(i) + self.offset;
        let sees = |rule: &Rule| match rule {
            Rule::RandomBlocks { .. } => {
                self.random[(i / self.grid.side) as usize].contains(&(j / self.grid.side))
            }
            rule => rule.sees(self.grid.side, [i, j], d),
        };
        (!self.pattern.causal || i64::from(j) <= d) && self.pattern.rules.iter().any(sees)
    }

    pub fn cover(&self, bi: u32, bj: u32) -> Cover {
        let span = Span::new(&self.grid, self.offset, bi, bj);
        let cover = |rule: &Rule| match rule {
            Rule::RandomBlocks { .. } if self.random[bi as usize].contains(&bj) => Cover::All,
            rule => rule.cover(self.grid.side, &span),
        };
        let covers = self.pattern.rules.iter().map(cover);
        let union = covers.fold(Cover::None, |a, b| match (a, b) {
            (Cover::All, _) | (_, Cover::All) => Cover::All,
            (Cover::None, Cover::None) => Cover::None,
            _ => Cover::Some,
        });
        let causal = if self.pattern.causal {
            span.within(i64::MIN / 2, 0)
        } else {
            Cover::All
        };
        match (union, causal) {
            (Cover::None, _) | (_, Cover::None) => Cover::None,
            (Cover::All, Cover::All) => Cover::All,
            _ => Cover::Some,
        }
    }

    /// Of the blocks that no other rule shows those with the smallest hash: the same for every order of asking.
    fn draw(&self) -> Vec<BTreeSet<u32>> {
        let (count, seed) = self
            .pattern
            .rules
            .iter()
            .find_map(|rule| match rule {
                Rule::RandomBlocks { count, seed } => Some((*count as usize, *seed)),
                _ => None,
            })
            .unwrap_or_default();
        let draw = |bi: u32| {
            let others = self
                .pattern
                .rules
                .iter()
                .filter(|rule| !matches!(rule, Rule::RandomBlocks { .. }));
            let free = |bj: &u32| {
                let span = Span::new(&self.grid, self.offset, bi, *bj);
                others
                    .clone()
                    .all(|rule| rule.cover(self.grid.side, &span) == Cover::None)
            };
            let mut drawn: Vec<u32> = if count == 0 {
                Vec::new()
            } else {
                (0..self.grid.kv_blocks()).filter(free).collect()
            };
            drawn.sort_by_key(|&bj| hash(seed, bi, bj));
            drawn.into_iter().take(count).collect()
        };
        (0..self.grid.q_blocks()).map(draw).collect()
    }
}

/// SplitMix64's finaliser over seed and block.
fn hash(seed: u64, i: u32, j: u32) -> u64 {
    let mut x = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(i) << 32 | u64::from(j));
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        x = (x ^ x >> 30).wrapping_mul(factor);
    }
    x ^ x >> 31
}
