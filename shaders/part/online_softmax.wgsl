// The running softmax of an invocation's rows (Milakov and Gimelshein, 1805.02867).

// `shrink` is what o is still to be multiplied by; `spoilt` is not 0 when a visible value was no finite number where
// it could not be multiplied (see the kernel).
struct Softmax { peak: f32, sum: f32, shrink: f32, spoilt: u32 }

struct SoftmaxStep {
    rows: array<Softmax, ROWS>,
    p: Scores,
    // What the earlier part of O shrinks by.
    shrink: array<f32, ROWS>,
}

fn softmax_start() -> Softmax {
    return Softmax(LOWEST, 0.0, 1.0, 0u);
}

// P = exp(S − max)
fn softmax_step(rows: array<Softmax, ROWS>, s: Scores) -> SoftmaxStep {
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

fn spoil(o: vec4<f32>, x: Softmax) -> vec4<f32> {
    var nan = NAN_BITS;
    return select(o, vec4<f32>(bitcast<f32>(nan)), x.spoilt != 0u);
}
