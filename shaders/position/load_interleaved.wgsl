// Rows turned as they are loaded, interleaved layout: channels 2i and 2i + 1 pair. `turn` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> vec4<f32> {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return vec4<f32>(); }
    let x = tensor_chunk(row, chunk);
    if (4u * chunk >= params.rotary_dim) { return x; }
    return turn_interleaved(x, turn + 2u * chunk);
}
