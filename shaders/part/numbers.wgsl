// Numbers that WGSL cannot spell, and functions that it leaves imprecise.

const LOG2_E = 1.4426950408889634;
const LN_2 = 0.6931471805599453;
// ln 2^−100
const LEAST_WEIGHT = -69.31472;
// Where a running maximum starts; a masked score is lower still, so that its weight is 0 in any row.
const LOWEST = -3e38;
const MASKED = -3.4e38;
// Below this an addend of a score hides its pair: −∞ cannot be told from it.
const HIDING = -2e38;
const NEGATIVE_INFINITY_BITS = 0xff800000u;
const NAN_BITS = 0x7fc00000u;

// True for an infinity or a NaN, by bits: a compiler may assume that neither exists.
fn any_nonfinite(x: vec4<f32>) -> bool {
    return any((bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u));
}

// tanh to 2 units in the last place: a polynomial near 0 (Cephes tanhf), where 1 − 2/(e^2x + 1) would cancel.
fn precise_tanh(x: f32) -> f32 {
    let z = x * x;
    let near = x + x * z * (-3.33332819422e-1 + z * (1.33314422036e-1 + z * (-5.37397155531e-2
        + z * (2.06390887954e-2 + z * -5.70498872745e-3))));
    // Beyond 10 the result is 1 in f32, and e^2x stays small.
    let far = 1.0 - 2.0 / (exp2(min(abs(x), 10.0) * (2.0 * LOG2_E)) + 1.0);
    return select(select(far, -far, x < 0.0), near, abs(x) < 0.625);
}

// e^x of x ≤ 0, or 0 below 2^−100: beside the largest weight, which is 1, that is nothing, but its products are denormal
// numbers, each of which costs some processors 150 cycles (ALiBi on a Cascade Lake: 1.20 times the time without, now 1.01).
// Scores are kept as they are and not in units of log 2, which would save this product: large ones would be rounded twice.
fn weight(x: f32) -> f32 {
    return select(exp2(x * LOG2_E), 0.0, x < LEAST_WEIGHT);
}

// e^x of a score less its row's lse, which is never above 1: beyond 0 it is rounding, which of scores of 10⁷ and more
// would grow to an infinity. A NaN stays one.
fn share_of_row(x: f32) -> f32 {
    return weight(select(x, 0.0, x > 0.0));
}

// A sum of weights, each 1 at the most, to which a score that is no finite number has added: it shows here, and maybe not
// in the maximum, for max(x, NaN) may be x, and max(NaN, x) too. By bits, and an infinity counts: on SwiftShader exp2(NaN)
// is one.
fn sums_nan(row_sum: f32) -> bool {
    return (bitcast<u32>(row_sum) & 0x7f800000u) == 0x7f800000u;
}

// ln Σ e^s as bits, of the largest score and Σ e^(s − max). A sum of 0 is that of a fully masked row: a visible score adds
// 1 to it at least once.
fn lse_bits(row_max: f32, row_sum: f32) -> u32 {
    let lse = select(bitcast<u32>(row_max + log2(row_sum) * LN_2), NAN_BITS, sums_nan(row_sum));
    return select(lse, NEGATIVE_INFINITY_BITS, bitcast<u32>(row_sum) == 0u);
}
