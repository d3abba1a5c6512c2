// The drafts of a tree, asked of an invocation's pairs.

import mask::tree_bits;

@if(tree) @if(!transposed) fn mask_tree(visible: Flags, context: RowContext, j: u32) -> Flags {
    var flags = visible;
    let node = tree_node(context.b, j);
    @unroll for (var r = 0u; r < ROWS; r++) {
        let branch = tree_branch(context.b, context.rows[r]);
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { flags[r] &= ~select(1u << c, 0u, tree_sees(branch, node + i32(c))); }
    }
    return flags;
}

@if(tree) @if(transposed) fn mask_tree(visible: Flags, context: RowContext, i: u32) -> Flags {
    var flags = visible;
    @unroll for (var c = 0u; c < OWN_KEYS; c++) {
        let branch = tree_branch(context.b, i + c);
        @unroll for (var r = 0u; r < ROWS; r++) {
            flags[r] &= ~select(1u << c, 0u, tree_sees(branch, tree_node(context.b, context.rows[r])));
        }
    }
    return flags;
}

// What a row sees of it is for certain: the rest is asked.
@if(tree) @if(!transposed) fn before_tree(b: u32, visible: Interval) -> Interval {
    let end = u32(max(diagonal(b, 0u), 0));
    return Interval(visible.begin, min(visible.end, end), min(visible.first_end, end), visible.first_begin);
}
