// Queries that are drafts of a tree. Key a_b + n is that of query n, and 128 bits per query say whose keys it sees: its
// ancestors' and its own. A parent comes first, so intervals end at the query's own key.

// Which of its batch's queries query i sees.
@if(tree) fn tree_branch(b: u32, i: u32) -> vec4<u32> {
    let at = params.tree.at + 4u * (b * params.sizes.q_len + min(i, params.sizes.q_len - 1u));
    return vec4<u32>(aux[at], aux[at + 1u], aux[at + 2u], aux[at + 3u]);
}

// Which query key j is of; below 0 for keys before the drafts.
@if(tree) fn tree_node(b: u32, j: u32) -> i32 {
    return i32(j) - diagonal(b, 0u);
}

// Whether a query of this branch sees the key of node n, which intervals leave to be one of its batch's.
@if(tree) fn tree_sees(branch: vec4<u32>, n: i32) -> bool {
    let low = select(branch.x, branch.y, n >= 32);
    let word = select(low, select(branch.z, branch.w, n >= 96), n >= 64);
    return (n < 0) | (((word >> (u32(n) & 31u)) & 1u) == 1u);
}
