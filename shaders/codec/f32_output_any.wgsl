// Output rows of f32, anywhere.

alias tensor_word = u32;

fn tensor_store(row: u32, chunk: u32, x: vec4<f32>) {
    let at = row + 4u * chunk;
    let left = tensor_dim() - 4u * chunk;
    tensor[at] = bitcast<u32>(x.x);
    if (left > 1u) { tensor[at + 1u] = bitcast<u32>(x.y); }
    if (left > 2u) { tensor[at + 2u] = bitcast<u32>(x.z); }
    if (left > 3u) { tensor[at + 3u] = bitcast<u32>(x.w); }
}
