// The running softmax of one row (Milakov and Gimelshein, 1805.02867), scores in units of log 2.

// `spoilt` is not 0 when a visible value was no finite number where it could not be multiplied (see the kernel).
struct Softmax { peak: f32, sum: f32, spoilt: u32 }

fn softmax_start() -> Softmax {
    return Softmax(LOWEST, 0.0, 0u);
}

// No key was visible.
fn is_dead(x: Softmax) -> bool {
    return x.peak == LOWEST;
}

// 1 / Σ P; 0 for a dead row.
fn softmax_factor(x: Softmax) -> f32 {
    return select(1.0 / x.sum, 0.0, is_dead(x));
}

// The natural logarithm of Σ e^s, as bits.
fn softmax_lse(x: Softmax) -> u32 {
    return select(bitcast<u32>((x.peak + log2(x.sum)) * LN_2), NEGATIVE_INFINITY_BITS, is_dead(x));
}

fn spoil(o: vec4<f32>, x: Softmax) -> vec4<f32> {
    var nan = NAN_BITS;
    return select(o, vec4<f32>(bitcast<f32>(nan)), x.spoilt != 0u);
}
