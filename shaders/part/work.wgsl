// Which tile of query rows a workgroup owns. Workgroups are numbered through batch, head, tile and split, for a grid
// dimension holds 65 535 only and a step may be a part of a call. A head's tiles come from both ends in turn: under a
// causal mask they cost more and more, and software adapters give each thread one run of the numbers.

import part::item;
@if(ragged_rows) import part::search;

// `number` is that of the tile among those of all batches and heads.
struct Work {
    live: bool,
    b: u32,
    h: u32,
    tile: u32,
    split: u32,
    @if(ragged_rows) number: u32,
}

@if(!ragged_rows) fn work_item(group: vec3<u32>, groups: vec3<u32>) -> Work {
    let n = workgroup_item(group, groups);
    let split = n % params.work.splits;
    let tile = folded(n / params.work.splits % params.work.tiles, params.work.tiles);
    let head = n / params.work.splits / params.work.tiles;
    return Work(n < params.work.end, head / params.work.heads, head % params.work.heads, tile, split);
}

// Each sequence of a ragged batch has as many tiles as its own rows take.
@if(ragged_rows) fn work_item(group: vec3<u32>, groups: vec3<u32>) -> Work {
    let n = workgroup_item(group, groups);
    let item = n / params.work.splits;
    let b = run_with(params.sequences.tiles_at, params.sequences.count, item / params.work.heads);
    let before = aux[params.sequences.tiles_at + b];
    let count = max(aux[params.sequences.tiles_at + b + 1u] - before, 1u);
    let within = item - before * params.work.heads;
    let h = min(within / count, params.work.heads - 1u);
    let tile = folded(within % count, count);
    return Work(n < params.work.end, b, h, tile, n % params.work.splits, before * params.work.heads + h * count + tile);
}

fn folded(n: u32, count: u32) -> u32 {
    return select(n / 2u, count - 1u - n / 2u, n % 2u == 1u);
}
