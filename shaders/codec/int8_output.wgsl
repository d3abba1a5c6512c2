// Output rows of signed bytes with their scales, each written whole by one invocation. The kernel says what it writes:
// `tensor_source(own: TensorSource, chunk: u32) -> vec4<f32>`, channels 4·chunk … 4·chunk + 3, 0 past the row's end.

import part::quantize;

alias tensor_word = u32;

// The pieces of a row that have an invocation each.
fn tensor_pieces() -> u32 { return 1u; }

// Writes a piece of the row that begins at element `row`. A row with a number that is none is none: its scale is NaN.
fn tensor_store_piece(row: u32, piece: u32, own: TensorSource) {
    let first = row / 4u;
    let chunks = (tensor_dim() + 3u) / 4u;
    var largest = vec4<f32>();
    var nonfinite = false;
    // Bounds that begin at `piece`, or a compiler would know them to be straight from a uniform.
    for (var c = piece; c < piece + chunks; c++) {
        let x = tensor_source(own, c);
        largest = max(largest, abs(x));
        nonfinite = nonfinite || any_nonfinite(x);
    }
    let scale = byte_scale(largest_of(largest));
    let inverse = inverse_of(scale);
    tensor[first] = select(bitcast<u32>(scale), NAN_BITS, nonfinite);
    for (var c = piece; c < piece + chunks; c++) {
        tensor[first + 1u + c] = bytes_of(select(tensor_source(own, c), vec4<f32>(), nonfinite), inverse);
    }
}
