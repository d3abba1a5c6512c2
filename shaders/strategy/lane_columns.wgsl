// One operand of the columns that lanes hold, and its sum.

import strategy::lanes;
import strategy::registers for tensor;
import strategy::products for tensor;

fn tensor_shared(own: Shared, c: u32, n: u32) -> Share {
    return share(own, c, n);
}

// A chunk of the invocation's column. What weights that are 0 may be multiplied by is a finite number: 0 and a mark
// stand for others.
fn tensor_column(step: ptr<function, Step>, chunk: u32) -> Chunk {
    let own = tensor_of_streamed((*step).column, chunk);
    @if(!tensor_sum) return own;
    @if(tensor_sum) let nonfinite = (*step).hides && is_nonfinite(own);
    @if(tensor_sum) (*step).nonfinite = (*step).nonfinite || nonfinite;
    @if(tensor_sum) return select_chunk(own, Chunk(), nonfinite);
}

// Loads stand between products: columns that are loaded all at once are slower.
@if(tensor_sum) fn tensor_accumulate(sum: TensorSum, rescale: array<f32, ROWS>, weights: Scores, step: ptr<function, Step>) -> TensorSum {
    var next = sum;
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
        @if(tensor_rows) let own = (*step).tensor_kept[d];
        @if(!tensor_rows) let own = tensor_column(step, d * LANES + own_part());
        next[d] = tensor_add_weighted(next[d], rescale, weights, own);
    }
    return next;
}
