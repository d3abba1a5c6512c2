// The running softmax of an invocation's rows (Milakov and Gimelshein, 1805.02867).

// `rescale` is what o is still to be multiplied by; `nonfinite` is not 0 when a visible value was no finite number where
// it could not be multiplied (see the kernel).
struct Softmax { row_max: f32, row_sum: f32, rescale: f32, nonfinite: u32 }

struct SoftmaxStep {
    rows: SoftmaxRows,
    p: Scores,
    // What the earlier part of O is multiplied by.
    rescale: array<f32, ROWS>,
}

alias SoftmaxRows = array<Softmax, ROWS>;

fn softmax_start() -> SoftmaxRows {
    var rows = SoftmaxRows();
    @unroll for (var r = 0u; r < ROWS; r++) { rows[r] = Softmax(LOWEST, 0.0, 1.0, 0u); }
    return rows;
}

// P = exp(S − max)
fn softmax_step(rows: SoftmaxRows, s: Scores) -> SoftmaxStep {
    var next = SoftmaxStep(rows, s, array<f32, ROWS>());
    @unroll for (var r = 0u; r < ROWS; r++) {
        var row_max = rows[r].row_max;
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { row_max = max(row_max, s[r][c]); }
        row_max = columns_max(row_max);
        var row_sum = 0.0;
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let p = weight(s[r][c] - row_max);
            next.p[r][c] = p;
            row_sum += p;
        }
        let rescale = weight(rows[r].row_max - row_max);
        next.rescale[r] = rescale;
        next.rows[r] = Softmax(row_max, rows[r].row_sum * rescale + row_sum, 1.0, rows[r].nonfinite);
    }
    return next;
}

// Of all columns, where the invocations of a row have sums of their own columns each.
fn softmax_joined(rows: SoftmaxRows) -> SoftmaxRows {
    var next = rows;
    @unroll for (var r = 0u; r < ROWS; r++) {
        next[r].row_sum = columns_sum(rows[r].row_sum);
        next[r].nonfinite = columns_marks(rows[r].nonfinite);
    }
    return next;
}

// The largest scores, as bits, before a sink joins.
@if(max_score) fn softmax_largest(rows: SoftmaxRows) -> array<u32, ROWS> {
    var largest = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let score = select(bitcast<u32>(rows[r].row_max), NAN_BITS, sums_nan(rows[r].row_sum));
        largest[r] = select(score, NEGATIVE_INFINITY_BITS, is_fully_masked(rows[r]));
    }
    return largest;
}

// No key was visible, and there is no sink: a visible one adds 1 to the sum at least once, or a NaN. By bits, and never by
// the maximum: max(LOWEST, NaN) may be LOWEST.
fn is_fully_masked(x: Softmax) -> bool {
    return bitcast<u32>(x.row_sum) == 0u;
}

// Rows that see a column that is no finite number are none, too.
fn softmax_nonfinite(rows: SoftmaxRows, visible: Flags, columns: u32) -> SoftmaxRows {
    var next = rows;
    @unroll for (var r = 0u; r < ROWS; r++) { next[r].nonfinite |= visible[r] & columns; }
    return next;
}

// The learned sinks of the rows' heads, where there are sinks.
fn softmax_sinks(rows: SoftmaxRows, context: RowContext) -> SoftmaxRows {
    var next = rows;
    if (params.sinks.at != NOWHERE) {
        @unroll for (var r = 0u; r < ROWS; r++) { next[r] = softmax_sink(next[r], bitcast<f32>(aux[params.sinks.at + row_head(context, r)])); }
    }
    return next;
}

// A learned sink joins the sum with no value of its own.
fn softmax_sink(x: Softmax, sink: f32) -> Softmax {
    let row_max = max(x.row_max, sink);
    let rescale = weight(x.row_max - row_max);
    return Softmax(row_max, x.row_sum * rescale + weight(sink - row_max), rescale, x.nonfinite);
}

// What makes o of Σ P·V; 0 for a fully masked row.
fn softmax_factor(x: Softmax) -> f32 {
    return select(x.rescale / x.row_sum, 0.0, is_fully_masked(x));
}

// The natural logarithm of Σ e^s, as bits.
fn softmax_lse(x: Softmax) -> u32 {
    return lse_bits(x.row_max, x.row_sum);
}
