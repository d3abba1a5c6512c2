//! Tiles that are worth a measurement, around those that are known: each differs in one size.

use crate::caps::{AdapterClass, Caps};
use crate::kernel::{StrategyKind, Tiling};
use crate::plan::PlanOptions;
use crate::tuning::{KernelFamily, TunedTiles};

use super::ask::legal;
use super::{Asked, TileRequest, choose};

/// Words of rows that an invocation holds in a candidate: more compile for long and spill. The tables have 1280 at the
/// most for software adapters, whose registers are memory, and 160 for GPUs.
fn most_words(caps: &Caps) -> u32 {
    match caps.class {
        AdapterClass::Cpu => 1280,
        AdapterClass::Integrated | AdapterClass::Discrete => 256,
    }
}

/// Scores of a step that an invocation holds.
const MOST_SCORES: u32 = 128;

impl Asked {
    /// Legal tiles one step away from `around`, and those of the table for the other strategy.
    pub(crate) fn candidates(&self, caps: &Caps, around: &TunedTiles) -> Vec<TunedTiles> {
        let mut all = sizes(around, &self.request);
        if caps.class == AdapterClass::Cpu && around.strategy().uses_subgroups() {
            all.push(TunedTiles {
                key_loop: !around.key_loop,
                ..*around
            });
        }
        all.extend(self.other_strategy(caps, around));
        if matches!(
            self.class.kernel,
            KernelFamily::Prefill | KernelFamily::Decode
        ) {
            let busy = around.busy.unwrap_or(match caps.class {
                AdapterClass::Cpu => 8,
                AdapterClass::Integrated => 64,
                AdapterClass::Discrete => 2048,
            });
            let others = [busy / 4, busy * 4].into_iter();
            all.extend(
                others
                    .filter(|n| (1..=1 << 14).contains(n))
                    .map(|busy| TunedTiles {
                        busy: Some(busy),
                        ..*around
                    }),
            );
        }
        all.retain(|tiles| tiles != around && self.is_worth_it(caps, tiles));
        all
    }

    /// What the table says of the strategy that `around` is not of.
    fn other_strategy(&self, caps: &Caps, around: &TunedTiles) -> Option<TunedTiles> {
        let other = match around.strategy() {
            StrategyKind::Subgroup => StrategyKind::Workgroup,
            StrategyKind::Workgroup => StrategyKind::Subgroup,
        };
        let options = PlanOptions::default().with_strategy(other);
        let chosen = choose(self.request, caps, &options).ok()?;
        Some(chosen.tuned_tiles())
    }

    fn is_worth_it(&self, caps: &Caps, tiles: &TunedTiles) -> bool {
        let tiling = &tiles.tiling;
        let words = tiling.rows * self.request.channels.div_ceil(tiling.lanes_per_row.max(1));
        words <= most_words(caps)
            && tiling.rows * tiling.keys <= MOST_SCORES
            && legal(&self.request, caps, &PlanOptions::default(), tiles).is_ok()
    }
}

/// One size doubled or halved. Rows that no query needs are left out.
fn sizes(around: &TunedTiles, tile_request: &TileRequest) -> Vec<TunedTiles> {
    let tiling = around.tiling;
    let both = |n: u32| [2 * n, n / 2];
    let mut all = Vec::new();
    all.extend(both(tiling.rows).map(|rows| Tiling { rows, ..tiling }));
    all.extend(both(tiling.invocations).map(|invocations| Tiling {
        invocations,
        ..tiling
    }));
    match around.width {
        // Lanes that have a part of each row are the whole cluster.
        Some(_) if tile_request.decode => {}
        // The lanes that do not share a row have a key each.
        Some(width) => all.extend(both(tiling.lanes_per_row).map(|lanes| {
            let keys = width.checked_div(lanes).unwrap_or(0);
            Tiling {
                lanes_per_row: lanes,
                keys,
                tile: keys,
                ..tiling
            }
        })),
        None => {
            all.extend(both(tiling.keys).map(|keys| Tiling { keys, ..tiling }));
            all.extend(both(tiling.tile).map(|tile| Tiling {
                tile,
                keys: tiling.keys.min(tile),
                ..tiling
            }));
            all.extend(both(tiling.lanes_per_row).map(|lanes_per_row| Tiling {
                lanes_per_row,
                ..tiling
            }));
        }
    }
    // Twice as many rows as there are leave half of the invocations idle.
    let most = tile_request
        .rows
        .next_power_of_two()
        .max(tiling.tile_rows());
    all.retain(|tiling| (1..=most).contains(&tiling.tile_rows()));
    all.into_iter()
        .map(|tiling| TunedTiles { tiling, ..*around })
        .collect()
}
