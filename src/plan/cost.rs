//! What steps cost.

/// What a step costs. Numbers of tiles and bytes are exact where the host knows lengths and offsets, else at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Key tiles that are visited, over all heads and query tiles.
    pub visited: u64,
    /// Key tiles that are there.
    pub of: u64,
    /// 2·(D + Dv) a visible pair and head; 1 fma is 2.
    pub flops: u64,
    /// Bytes that are read, as often as they are.
    pub read_bytes: u64,
    /// Bytes that are written.
    pub written_bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        // Rows that are broadcast may stand for more work than can be told.
        for (sum, more) in [
            (&mut self.visited, other.visited),
            (&mut self.of, other.of),
            (&mut self.flops, other.flops),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.written_bytes, other.written_bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
