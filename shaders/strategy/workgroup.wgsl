// Workgroup: columns live in workgroup memory. All invocations stage a tile of them, then each reads of every one the
// channels that it has of its rows: all, or a part where LANES invocations share a row.

import strategy::staging;
import strategy::registers for tensor;
import strategy::products for tensor;
import strategy::shared_rows;

var<workgroup> tensor_tile: array<Staged, TENSOR_TILE_CHUNKS>;

fn tensor_stage(stream: Stream, j: u32, bounds: Bounds, hides: bool) {
    @if(tensor_sum) let masked = hides || !all_visible(bounds, j, j + TILE - 1u);
    for (var at = invocation_index; at < TENSOR_TILE_CHUNKS; at += INVOCATIONS) {
        let row = streamed_row(stream, min(j + at / TENSOR_COLUMN_CHUNKS, streamed_len() - 1u));
        let x = tensor_of_streamed(row, at % TENSOR_COLUMN_CHUNKS);
        @if(!tensor_sum) tensor_tile[at] = staged(x);
        @if(tensor_sum) tensor_tile[at] = staged(stage_finite(x, masked, hides, j, at / TENSOR_COLUMN_CHUNKS, bounds));
    }
}

// Where the invocation's chunk d of a step's first column lies.
fn tensor_staged(step: ptr<function, Step>, d: u32) -> Shared {
    @if(!shared_rows) return (*step).first * TENSOR_COLUMN_CHUNKS + d;
    @if(shared_rows) return (*step).first * TENSOR_COLUMN_CHUNKS + d * LANES + own_part();
}

// The whole chunk is the one share.
fn tensor_shared(at: Shared, c: u32, n: u32) -> Chunk {
    return unstaged(tensor_tile[at + c * TENSOR_COLUMN_CHUNKS]);
}

@if(tensor_rows) fn tensor_scores(rows: TensorRows, step: ptr<function, Step>) -> Scores {
    var s = Scores();
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) { s = tensor_add_scores(s, rows[d], tensor_staged(step, d)); }
    return sum_over_rows(s);
}

@if(tensor_sum) fn tensor_accumulate(sum: TensorSum, rescale: array<f32, ROWS>, weights: Scores, step: ptr<function, Step>) -> TensorSum {
    var next = sum;
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
        next[d] = tensor_add_weighted(next[d], rescale, weights, tensor_staged(step, d));
    }
    return next;
}
