// What a matrix of blocks holds, in the order in which blocks are kept: scores between these two.

// No pair of the block is visible: never kept.
const NONE_VISIBLE = 0u;
// Kept whatever the scores.
const FORCED = 0xffffffffu;

// What a scan finds: some pairs are visible, or all.
const SOME_PAIRS = 1u;
const ALL_PAIRS = 2u;
