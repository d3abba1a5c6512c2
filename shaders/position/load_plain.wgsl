// Rows as they are; `turn` is not looked at.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> vec4<f32> {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return vec4<f32>(); }
    return tensor_chunk(row, chunk);
}
