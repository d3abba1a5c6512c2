//! The strategies in their order, each with the tiles of the table or those that a call forces, and why not.

use crate::caps::{AdapterClass, Caps, Property, Subgroups};
use crate::error::{Error, Result};
use crate::kernel::{Strategy, StrategyKind, Tiling};
use crate::plan::{Declined, PlanOptions};

use super::{MOST_WORDS, TileChoice, TileRequest, channels, check, gpu, software};

/// The tiles that a call forces, else those of the table.
pub(super) fn choose(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<TileChoice> {
    let mut declined = Vec::new();
    let vec8 = vec8_loads(caps, options, &mut declined)?;
    let tile_request = TileRequest {
        vec8,
        ..tile_request
    };
    if options.strategy.is_none_or(StrategyKind::uses_subgroups) {
        let key_loop = options.key_loop.unwrap_or(software::key_loop_pays(caps));
        match subgroup(tile_request, caps, options, key_loop) {
            Ok((strategy, tiling)) => {
                return Ok(TileChoice {
                    strategy,
                    tiling,
                    vec8,
                    key_loop: key_loop && strategy.has_key_loop(),
                    busy: None,
                    is_tuned: false,
                    declined,
                });
            }
            Err(reason) if options.asks_for_subgroups() => {
                return Err(Error::Strategy {
                    strategy: "subgroup",
                    reason,
                });
            }
            Err(reason) => declined.push(Declined {
                path: "subgroup",
                reason,
            }),
        }
    } else {
        declined.push(Declined {
            path: "subgroup",
            reason: "the call asks for workgroup".into(),
        });
    }
    match workgroup(tile_request, caps, options) {
        Ok(tiling) => Ok(TileChoice {
            strategy: Strategy::Workgroup,
            tiling,
            vec8,
            key_loop: false,
            busy: None,
            is_tuned: false,
            declined,
        }),
        Err(reason) => Err(Error::Strategy {
            strategy: "workgroup",
            reason: match declined.iter().find(|x| x.path == "subgroup") {
                Some(other) if options.tiling.is_some() => {
                    format!("{reason}; and not subgroup: {}", other.reason)
                }
                _ => reason,
            },
        }),
    }
}

/// Why loads of 64 bits were passed over that the device has.
pub(in crate::plan) fn no_vec8() -> Declined {
    Declined {
        path: "64-bit loads",
        reason: "they take eight channels at once, and some offset, stride, size or rotary half is no multiple of \
                 8 elements"
            .into(),
    }
}

/// On lavapipe, whose loads go a lane at a time, they make the forward pass 1.5 times as fast, without subgroups twice.
pub(in crate::plan) fn vec8_loads(
    caps: &Caps,
    options: &PlanOptions,
    declined: &mut Vec<Declined>,
) -> Result<bool> {
    let reason = "the device was requested without Features::SHADER_INT64, \
                  which wgpu_attention::wanted() names where it helps";
    let helps = caps.class == AdapterClass::Cpu && caps.lanes >= 8;
    if let Some(quirk) = caps.broken(Property::Loads64) {
        let reason = quirk.to_string();
        if options.vec8 == Some(true) {
            return Err(Error::Strategy {
                strategy: "64-bit loads",
                reason,
            });
        }
        if helps {
            declined.push(Declined {
                path: "64-bit loads",
                reason,
            });
        }
        return Ok(false);
    }
    match options.vec8 {
        Some(true) if !caps.int64 => Err(Error::Strategy {
            strategy: "64-bit loads",
            reason: reason.into(),
        }),
        Some(vec8) => Ok(vec8),
        None if helps && !caps.int64 => {
            declined.push(Declined {
                path: "64-bit loads",
                reason: reason.into(),
            });
            Ok(false)
        }
        None => Ok(helps),
    }
}

fn subgroup(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
    key_loop: bool,
) -> Result<(Strategy, Tiling), String> {
    let Some(Subgroups { min, max }) = caps.subgroups else {
        return Err(if caps.subgroups_offered {
            "the device was requested without Features::SUBGROUP, which its adapter has; \
             add wgpu_attention::wanted() to request_device"
                .into()
        } else {
            "the device has no subgroups".into()
        });
    };
    if let Some(quirk) = caps.broken(Property::Subgroups) {
        return Err(quirk.to_string());
    }
    let width = options.width.unwrap_or(min);
    if !width.is_power_of_two() || !(4..=128).contains(&width) || width > min {
        return Err(format!(
            "a cluster of {width} lanes does not fit subgroups of {min} to {max} lanes; \
             it must be a power of two, at least 4 and at most the smaller"
        ));
    }
    let too_long = too_long(tile_request, width, caps).filter(|_| options.tiling.is_none());
    if let Some(reason) = too_long {
        return Err(reason);
    }
    if tile_request.decode {
        return channels::choose(tile_request, (width, min, max), options, caps);
    }
    let tiling = options
        .tiling
        .unwrap_or_else(|| subgroup_tiling(tile_request, caps.class, width, max, key_loop));
    let strategy = Strategy::Subgroup {
        width,
        fixed: min == max && width == min,
    };
    check::check(strategy, &tiling, &tile_request, caps)?;
    Ok((strategy, tiling))
}

/// Why the lanes of a cluster, four to sixteen, are too few for a long row, which more invocations share in workgroup
/// memory. A software adapter's registers are memory; what its compiler cannot cope with is a quirk.
fn too_long(tile_request: TileRequest, width: u32, caps: &Caps) -> Option<String> {
    let lanes = width.min(16);
    let words = tile_request.channels.div_ceil(lanes);
    let (most, whose) = match (caps.row_words(), caps.class) {
        (Some((most, quirk)), _) => (most, format!("; {quirk}")),
        (None, AdapterClass::Cpu) => return None,
        (None, AdapterClass::Integrated | AdapterClass::Discrete) => (MOST_WORDS, String::new()),
    };
    (tile_request.is_wide() && words > most).then(|| {
        format!(
            "each of {lanes} lanes would hold {words} words of a row; allowed are {most}{whose}"
        )
    })
}

/// The tiles that the table of the device's class names.
fn subgroup_tiling(
    tile_request: TileRequest,
    class: AdapterClass,
    width: u32,
    max: u32,
    key_loop: bool,
) -> Tiling {
    let (invocations, lanes_per_row, rows) = match class {
        AdapterClass::Cpu => software::subgroup(tile_request, width, key_loop),
        _ => gpu::subgroup(tile_request, width, max),
    };
    let lanes_per_row = lanes_per_row.max(check::least_lanes(width));
    let slots = invocations / lanes_per_row;
    let needed = tile_request.rows.div_ceil(slots).next_power_of_two();
    let keys = width / lanes_per_row;
    Tiling {
        invocations,
        lanes_per_row,
        rows: rows.min(needed),
        keys,
        tile: keys,
    }
}

fn workgroup(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Tiling, String> {
    let tiling = match options.tiling {
        Some(tiling) => tiling,
        None => workgroup_tiling(tile_request, caps)?,
    };
    check::check(Strategy::Workgroup, &tiling, &tile_request, caps)?;
    Ok(tiling)
}

/// The tiles that the table of the device's class names: of those that the memory holds, the first.
fn workgroup_tiling(tile_request: TileRequest, caps: &Caps) -> Result<Tiling, String> {
    let table = match caps.class {
        AdapterClass::Cpu => software::workgroup(tile_request, caps.lanes),
        _ => gpu::workgroup(tile_request),
    };
    let slots = table.invocations / table.lanes_per_row;
    let needed = tile_request.rows.div_ceil(slots).next_power_of_two();
    let of = |&tile: &u32| Tiling {
        invocations: table.invocations,
        lanes_per_row: table.lanes_per_row,
        rows: table.rows.min(needed),
        keys: table.keys.min(tile),
        tile,
    };
    let sums = tile_request.sums * table.invocations * 4;
    let bytes = |tiling: &Tiling| tile_request.staged_bytes(tiling) + sums;
    let mut tilings = table.tiles.iter().map(of);
    let fitting = tilings
        .clone()
        .find(|tiling| bytes(tiling) <= caps.workgroup_memory);
    fitting.ok_or_else(|| {
        let least = tilings.next_back().unwrap_or_else(|| of(&1));
        format!(
            "{least} needs {} bytes of workgroup memory; the device grants {}",
            bytes(&least),
            caps.workgroup_memory
        )
    })
}
