// Which queries a tile of keys is visible to, by intervals: what grad_kv visits in place of the queries' own tiles, over the
// same pairs of tiles.

// The queries that see one of the keys j_first … j_last at least, and those that see all of them.
struct VisibleBy { any: Bounds, all: Bounds }

fn visible_by(b: u32, j_first: u32, j_last: u32) -> VisibleBy {
    let none = Interval(params.range.q_begin, params.range.q_begin, 0u, 0u);
    let live_end = keys_end(b);
    if (j_first >= live_end) { return VisibleBy(Bounds(none, none), Bounds(none, none)); }
    let low = visible_queries(b, j_first);
    let high = visible_queries(b, min(j_last, live_end - 1u));
    let any = Interval(low.begin, max(low.end, high.end), 0u, 0u);
    // Ends rise from key to key, but keys before `first` have none.
    let soonest = visible_queries(b, clamp(params.intervals.first, j_first, j_last));
    let all = Interval(high.begin, min(min(low.end, soonest.end), high.end), 0u, 0u);
    var partial = j_last >= live_end;
    @if(tree) partial = partial || tree_node(b, j_last) >= 0;
    if (partial) { return VisibleBy(Bounds(any, any), Bounds(none, none)); }
    return VisibleBy(Bounds(any, any), Bounds(all, all));
}
