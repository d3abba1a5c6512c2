// Channels in lanes: each invocation of a cluster of WIDTH has its part of the channels of rows and columns alike, and
// the scores of one of a step's columns. A column is read once, along its channels, by the whole cluster: for few rows
// and many columns. Assumes LANES = KEYS = WIDTH.

import strategy::spread_steps;
import strategy::registers for tensor;

// A chunk of a column. What weights that are 0 may be multiplied by is a finite number: 0 and a mark stand for others.
fn tensor_column(step: ptr<function, Step>, c: u32, chunk: u32) -> Chunk {
    @if(looked_up) let column = row_of_column((*step).own, c);
    @if(!looked_up) let column = streamed_row((*step).stream, min((*step).first + c, streamed_len() - 1u));
    let x = tensor_of_streamed(column, chunk);
    // Bare rows are finite; their scales were looked at.
    @if(!tensor_sum) return x;
    @if(tensor_sum) @if(tensor_bare) return x;
    @if(tensor_sum) @if(!tensor_bare) let nonfinite = (*step).hides & is_nonfinite(x);
    @if(tensor_sum) @if(!tensor_bare) (*step).marks |= select(0u, 1u << c, nonfinite);
    @if(tensor_sum) @if(!tensor_bare) return select_chunk(x, Chunk(), nonfinite);
}

// The products of the invocation's channels with every column, summed over the cluster so that each invocation is left
// with its own column.
@if(tensor_rows) fn tensor_scores(rows: TensorRows, step: ptr<function, Step>) -> Scores {
    var parts = array<array<f32, KEYS>, ROWS>();
    @unroll for (var c = 0u; c < KEYS; c++) {
        @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
            let x = tensor_column(step, c, d * LANES + own_part());
            @unroll for (var r = 0u; r < ROWS; r++) {
                @unroll for (var n = 0u; n < VEC4S; n++) { parts[r][c] += dot(rows[d][r][n], x[n]); }
            }
        }
    }
    var s = Scores();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(!tensor_bare) s[r][0] = sum_of_own(parts[r]);
        @if(tensor_bare) s[r][0] = (*step).tensor_scale * sum_of_own(parts[r]);
    }
    return s;
}

// The step's part is summed by itself, or long sums round too often.
@if(tensor_sum) fn tensor_accumulate(sum: TensorSum, rescale: array<f32, ROWS>, weights: Scores, step: ptr<function, Step>) -> TensorSum {
    var added = TensorSum();
    var own = array<f32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(!tensor_bare) own[r] = weights[r][0];
        @if(tensor_bare) own[r] = weights[r][0] * (*step).tensor_scale;
    }
    @unroll for (var c = 0u; c < KEYS; c++) {
        var w = array<f32, ROWS>();
        @unroll for (var r = 0u; r < ROWS; r++) { w[r] = of_column(own[r], c); }
        @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
            let x = tensor_column(step, c, d * LANES + own_part());
            @unroll for (var r = 0u; r < ROWS; r++) { added[d][r] = sum_of(added[d][r], scaled(x, w[r])); }
        }
    }
    var next = TensorSum();
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
        @unroll for (var r = 0u; r < ROWS; r++) { next[d][r] = sum_of(scaled(sum[d][r], rescale[r]), added[d][r]); }
    }
    return next;
}
