// The running softmax of an invocation's rows (Milakov and Gimelshein, 1805.02867).

// `shrink` is what o is still to be multiplied by; `spoilt` is not 0 when a visible value was no finite number where
// it could not be multiplied (see the kernel).
struct Softmax { peak: f32, sum: f32, shrink: f32, spoilt: u32 }

struct SoftmaxStep {
    rows: SoftmaxRows,
    p: Scores,
    // What the earlier part of O shrinks by.
    shrink: array<f32, ROWS>,
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
        var peak = rows[r].peak;
        @unroll for (var c = 0u; c < KEYS; c++) { peak = max(peak, s[r][c]); }
        var sum = 0.0;
        @unroll for (var c = 0u; c < KEYS; c++) {
            let p = weight(s[r][c] - peak);
            next.p[r][c] = p;
            sum += p;
        }
        let shrink = weight(rows[r].peak - peak);
        next.shrink[r] = shrink;
        next.rows[r] = Softmax(peak, rows[r].sum * shrink + sum, 1.0, rows[r].spoilt);
    }
    return next;
}

// No key was visible, and there is no sink: a visible one adds 1 to the sum at least once, or a NaN. By bits, and never by
// the maximum: max(LOWEST, NaN) may be LOWEST.
fn is_dead(x: Softmax) -> bool {
    return bitcast<u32>(x.sum) == 0u;
}

// Rows that see a spoilt column are so, too.
fn softmax_spoil(rows: SoftmaxRows, visible: Flags, columns: u32) -> SoftmaxRows {
    var next = rows;
    @unroll for (var r = 0u; r < ROWS; r++) { next[r].spoilt |= visible[r] & columns; }
    return next;
}

// The learned sink of head h, where there are sinks.
fn softmax_sinks(rows: SoftmaxRows, h: u32) -> SoftmaxRows {
    var next = rows;
    if (params.sinks_at != NOWHERE) {
        let sink = bitcast<f32>(aux[params.sinks_at + h]);
        @unroll for (var r = 0u; r < ROWS; r++) { next[r] = softmax_sink(next[r], sink); }
    }
    return next;
}

// A learned sink joins the sum with no value of its own.
fn softmax_sink(x: Softmax, sink: f32) -> Softmax {
    let peak = max(x.peak, sink);
    let shrink = weight(x.peak - peak);
    return Softmax(peak, x.sum * shrink + weight(sink - peak), shrink, x.spoilt);
}

// What turns Σ P·V into o; 0 for a dead row.
fn softmax_factor(x: Softmax) -> f32 {
    return select(x.shrink / x.sum, 0.0, is_dead(x));
}

// The natural logarithm of Σ e^s, as bits.
fn softmax_lse(x: Softmax) -> u32 {
    return select(bitcast<u32>(x.peak + log2(x.sum) * LN_2), NEGATIVE_INFINITY_BITS, is_dead(x));
}
