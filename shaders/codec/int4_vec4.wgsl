// Input rows of half bytes that have a multiple of four channels.

alias tensor_word = u32;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    return tensor_channels(row, chunk);
}
