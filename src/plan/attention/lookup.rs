//! What an address of keys and values reads: a table of pages, or the sizes of a ring.

use crate::error::Result;
use crate::kernel::{Address, Params};
use crate::plan::builder::PlanBuilder;
use crate::problem::{KvAddress, Problem, Role};

/// How kernels find rows of k and v.
pub(in crate::plan) fn address(of: KvAddress) -> Address {
    match of {
        KvAddress::Strided => Address::Strided,
        KvAddress::Paged(_) => Address::Paged,
        KvAddress::Ring(_) => Address::Ring,
    }
}

/// How kernels find rows of q, and rows of k and v.
pub(in crate::plan) fn addresses(problem: &Problem) -> (Address, Address) {
    let queries = match problem.queries().is_ragged() {
        true => Address::RaggedQueries,
        false => Address::Strided,
    };
    let keys = match problem.keys().is_ragged() {
        true => Address::RaggedKeys,
        false => address(problem.kv_address),
    };
    (queries, keys)
}

/// Lays out what they read of it; `kept` keys count where positions do so within a ring.
pub(in crate::plan) fn push_lookup(
    builder: &mut PlanBuilder<'_>,
    of: KvAddress,
    kept: u32,
    params: &mut Params,
) -> Result<()> {
    match of {
        KvAddress::Strided => {}
        KvAddress::Paged(pages) => {
            let words = u64::from(params.sizes.batch) * u64::from(pages.per_sequence);
            params.lookup.table_at = builder.copy_aux(Role::PageTable, words)?;
            params.lookup.pages = pages.per_sequence;
            params.lookup.page_shift = pages.page_len.trailing_zeros();
            params.lookup.page_mask = pages.page_len - 1;
            params.lookup.last_page = pages.pages.saturating_sub(1);
        }
        KvAddress::Ring(ring) => {
            params.lookup.first = ring.first;
            params.lookup.ring = ring.len;
            params.lookup.kept = kept;
        }
    }
    Ok(())
}
