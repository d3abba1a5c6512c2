//! What the calls of one `Attention` share.

use super::arena::Arena;
use super::clock::Clock;
use super::constants::ConstantsArena;
use super::count::Count;
use super::lost::Liveness;
use super::pipelines::Pipelines;
use super::rotary_tables::Tables;

/// What the calls of an [`super::Attention`] share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub pipelines: Pipelines,
    pub tables: Tables,
    pub arena: Arena,
    pub constants: ConstantsArena,
    /// Bytes of caches.
    pub caches: Count,
    pub liveness: Liveness,
    pub clock: Clock,
}
