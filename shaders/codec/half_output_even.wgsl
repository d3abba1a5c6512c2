// Output rows of 16-bit numbers whose starts and lengths are even, so that every word has one owner.

alias tensor_word = u32;

fn tensor_store(row: u32, chunk: u32, x: vec4<f32>) {
    let at = row / 2u + 2u * chunk;
    tensor[at] = tensor_pack(x.xy);
    if (4u * chunk + 2u < tensor_dim()) { tensor[at + 1u] = tensor_pack(x.zw); }
}
