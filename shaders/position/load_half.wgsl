// Rows turned as they are loaded, half layout: channel c pairs with c + d/2. `turn` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> vec4<f32> {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return vec4<f32>(); }
    let x = tensor_chunk(row, chunk);
    if (4u * chunk >= params.rotary_dim) { return x; }
    let half = params.rotary_dim / 8u;
    let is_first = chunk < half;
    let y = tensor_chunk(row, select(chunk - half, chunk + half, is_first));
    let t = turns(turn + 4u * select(chunk - half, chunk, is_first));
    return x * t.cosine + select(y, -y, is_first) * t.sine;
}
