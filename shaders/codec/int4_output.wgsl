// Output rows of half bytes, by groups of 32 channels with their scale and minimum, each group written by one invocation.
// The kernel says what it writes: `tensor_source(own: TensorSource, chunk: u32) -> vec4<f32>`, channels 4·chunk …
// 4·chunk + 3, 0 past the row's end.

import part::quantize;

alias tensor_word = u32;

// The pieces of a row that have an invocation each.
fn tensor_pieces() -> u32 { return (tensor_dim() + 31u) / 32u; }

// Writes a piece of the row that begins at element `row`. A group with a number that is none, or beyond f16, is none.
fn tensor_store_piece(row: u32, piece: u32, own: TensorSource) {
    let word = row / 8u + 5u * piece;
    let begin = 8u * piece;
    let end = min(begin + 8u, (tensor_dim() + 3u) / 4u);
    // A row's end repeats a number that is there.
    let there = tensor_source(own, begin).x;
    var least = vec4<f32>(there);
    var largest = vec4<f32>(there);
    var beyond = false;
    for (var c = begin; c < end; c++) {
        let x = tensor_within(own, c, there);
        least = min(least, x);
        largest = max(largest, x);
        beyond = beyond || any_beyond_half(x);
    }
    let low = select(least_of(least), 0.0, beyond);
    let scales = half_byte_scales(low, select(largest_of(largest), 0.0, beyond));
    let stored = half_unpack(scales);
    tensor[word] = select(scales, NAN_HALVES, beyond);
    for (var c = begin; c < begin + 8u; c += 2u) {
        let first = tensor_numbers(own, c, end, beyond, stored);
        tensor[word + 1u + (c - begin) / 2u] = first | (tensor_numbers(own, c + 1u, end, beyond, stored) << 16u);
    }
}

// NaN for scale and minimum.
const NAN_HALVES = 0x7e007e00u;

// A chunk of which `there` takes the channels past the row's end.
fn tensor_within(own: TensorSource, chunk: u32, there: f32) -> vec4<f32> {
    let c = vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(there), tensor_source(own, chunk), c < vec4<u32>(tensor_dim()));
}

// A chunk's half bytes; 0 past the row's end and of a group that is none.
fn tensor_numbers(own: TensorSource, chunk: u32, end: u32, beyond: bool, stored: vec2<f32>) -> u32 {
    let x = tensor_within(own, min(chunk, end - 1u), stored.y);
    let numbers = half_bytes_of(select(x, vec4<f32>(stored.y), beyond), stored.y, inverse_of(stored.x));
    return select(numbers, 0u, beyond || chunk >= end);
}
