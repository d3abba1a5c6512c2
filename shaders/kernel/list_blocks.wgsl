// The blocks that each block of queries keeps, listed in rising order. A workgroup owns a list; an invocation looks at
// a run of its blocks.

import part::params;
import part::item;
import part::ranks;
import slot::states;

@bind var<uniform> params: Params;
// Lists are read from here, too, where they are transposed.
@bind var<storage, read_write> lists: array<u32>;
@if(!from_lists) @bind var<storage, read> states: array<u32>;

// Blocks at least as wanted as each of three bounds, for each of 16 rounds.
@if(top_k) var<workgroup> above: array<atomic<u32>, 48>;
// Of each run the blocks above the bound that was found, and those that equal it.
var<workgroup> kept: array<vec2<u32>, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = workgroup_item(group, groups);
    if (n >= params.work.end) { return; }
    let run = (params.listing.columns + INVOCATIONS - 1u) / INVOCATIONS;
    let begin = min(invocation * run, params.listing.columns);
    let end = min(begin + run, params.listing.columns);
    var bound = 0u;
    @if(top_k) bound = keep_bound(n, begin, end, invocation);

    var own = vec2<u32>();
    for (var j = begin; j < end; j++) {
        let state = state_of(n, j);
        own += vec2<u32>(select(0u, 1u, state > bound), select(0u, 1u, state == bound));
    }
    kept[invocation] = own;
    workgroupBarrier();
    var before = vec2<u32>();
    var all = vec2<u32>();
    for (var x = 0u; x < INVOCATIONS; x++) {
        if (x == invocation) { before = all; }
        all += kept[x];
    }
    // Of those that equal the bound the first are kept until there are enough; those with no visible pair never, the forced always.
    var room = 0u;
    @if(top_k) if (bound > NONE_VISIBLE) { room = select(params.choice.keep - min(params.choice.keep, all.x), all.y, bound == FORCED); }
    var equals = before.y;
    let list = params.listing.at + list_number(n) * (1u + params.listing.capacity);
    var at = before.x + min(equals, room);
    for (var j = begin; j < end; j++) {
        let state = state_of(n, j);
        let is_equal = state == bound;
        if (state > bound || (is_equal && equals < room)) {
            if (at < params.listing.capacity) { lists[list + 1u + at] = j | mark(state); }
            at++;
        }
        equals += select(0u, 1u, is_equal);
    }
    if (invocation == 0u) { lists[list] = all.x + min(all.y, room); }
}

// The highest bound that enough blocks reach, two bits a round; 0 where there are no more blocks than are kept.
@if(top_k) fn keep_bound(n: u32, begin: u32, end: u32, invocation: u32) -> u32 {
    for (var x = invocation; x < 48u; x += INVOCATIONS) { atomicStore(&above[x], 0u); }
    workgroupBarrier();
    var bound = 0u;
    for (var round = 0u; round < 16u; round++) {
        let step = 1u << (30u - 2u * round);
        var counts = vec3<u32>();
        for (var j = begin; j < end; j++) {
            let state = state_of(n, j);
            counts += select(vec3<u32>(), vec3<u32>(1u), vec3<u32>(state) >= vec3<u32>(bound + step, bound + 2u * step, bound + 3u * step));
        }
        atomicAdd(&above[3u * round], counts.x);
        atomicAdd(&above[3u * round + 1u], counts.y);
        atomicAdd(&above[3u * round + 2u], counts.z);
        workgroupBarrier();
        var reached = 0u;
        for (var x = 0u; x < 3u; x++) { reached += select(0u, 1u, atomicLoad(&above[3u * round + x]) >= params.choice.keep); }
        bound += reached * step;
    }
    return bound;
}
