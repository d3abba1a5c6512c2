//! Everything that needs an adapter; a software one is enough.
//!
//! `WGPU_ATTENTION_ADAPTER` names a part of the adapter's or its driver's name. With `WGPU_ATTENTION_PART=1` every
//! variant gets a part of the case table and the longest tests are left out, said on stderr.

mod decode;
mod device;
mod ranges;
mod run;
#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod again;
mod backward;
mod boundaries;
mod budget;
mod cascade;
mod check;
mod compile;
mod covering;
mod cuts;
mod download;
mod forced;
mod golden;
mod hadamard;
mod hidden;
mod kv_cache;
mod large;
mod limits;
mod lost;
mod lse;
mod max_score;
mod merge;
mod mods;
mod nan;
mod outputs;
mod positions;
mod probes;
mod quantize;
mod ragged;
mod sparse;
mod stored;
mod tiles;
mod tree;
mod tune;
mod wide;
