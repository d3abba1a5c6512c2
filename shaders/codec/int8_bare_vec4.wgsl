// Input rows of signed bytes that have a multiple of four channels, without their scale: a strategy that reads a row's scale once
// multiplies by it.

alias tensor_word = u32;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`, over its scale.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    return tensor_bytes(row, chunk);
}
