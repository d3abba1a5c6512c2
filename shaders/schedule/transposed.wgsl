// Which query tiles a tile of keys is seen by: the same pairs of tiles that the queries' own walk visits.

import schedule::interval;

// The queries that see one of the keys j_first … j_last at least, and those that see all of them.
struct SeenBy { any: Interval, all: Interval }

fn seen_by(b: u32, j_first: u32, j_last: u32) -> SeenBy {
    let none = Interval(params.q_begin, params.q_begin, 0u);
    let live_end = keys_end(b);
    if (j_first >= live_end) { return SeenBy(none, none); }
    let low = visible_queries(b, j_first);
    let high = visible_queries(b, min(j_last, live_end - 1u));
    let any = Interval(low.begin, max(low.end, high.end), 0u);
    // Ends rise from key to key, but keys before `first` have none.
    let soonest = visible_queries(b, clamp(params.first, j_first, j_last));
    let all = Interval(high.begin, min(soonest.end, high.end), 0u);
    if (j_last >= live_end) { return SeenBy(any, none); }
    return SeenBy(any, all);
}

fn walk_queries(any: Interval) -> Walk {
    let start = any.begin / TILE;
    let end = select(start, tiles_to(any.end), any.end > any.begin);
    return Walk(0u, end - start, 0u, 0u, start);
}
