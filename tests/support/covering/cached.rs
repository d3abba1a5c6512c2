//! Kernels of caches: rows written in place, and read from pages and rings.

use wgpu_attention::Element;
use wgpu_attention::internal::{
    Address, Append, Decode, Input, Output, Prefill, Strategy, Variant,
};
use wgpu_attention::problem::position::RotaryLayout;

use super::{Level, Scheme, prefill};

const ADDRESSES: [Address; 3] = [Address::Strided, Address::Paged, Address::Ring];

/// Every element, whole and not, to every address by turns.
fn appends() -> impl Iterator<Item = Variant> {
    let elements = Element::ALL.into_iter().zip(ADDRESSES);
    elements.flat_map(|(element, to)| {
        [(true, false), (false, false), (true, true)].map(|(aligned, vec8)| {
            Variant::Append(Append {
                input: Input { element, aligned },
                output: Output { element, aligned },
                to,
                ragged: !aligned,
                vec8,
            })
        })
    })
}

/// Where rows lie meets nothing but what loads them: each strategy with each address.
fn reads() -> impl Iterator<Item = Variant> {
    let decode = Level::Strategy(Strategy::Channels {
        width: 8,
        fixed: true,
    });
    let subgroup = Level::Strategy(Strategy::Subgroup {
        width: 8,
        fixed: true,
    });
    let workgroup = Level::Strategy(Strategy::Workgroup);
    let addresses = [Address::Paged, Address::Ring];
    // Positions within a ring are those of a rotation and of a bias by distance.
    let half = Scheme::Fused {
        layout: RotaryLayout::Half,
        positions: false,
    };
    let schemes = [half, Scheme::Alibi { positions: false }, half];
    addresses.into_iter().flat_map(move |address| {
        let strategies = [decode, subgroup, workgroup].into_iter().zip(schemes);
        strategies.map(move |(strategy, scheme)| {
            let levels = [
                Level::Dims(64, 64),
                Level::Aligned(true),
                Level::Scheme(scheme),
            ];
            let mut key = Prefill {
                k_address: address,
                v_address: address,
                ..prefill([vec![strategy], levels.to_vec()].concat())
            };
            key.score.within_cache = address == Address::Ring;
            match key.strategy {
                Strategy::Channels { .. } => Variant::Decode(Decode(key)),
                _ => Variant::Prefill(key),
            }
        })
    })
}

/// What the portability suite composes beside the arrays; the suite of caches runs such calls.
pub fn cached() -> impl Iterator<Item = Variant> {
    appends().chain(reads())
}
