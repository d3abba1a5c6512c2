// Output rows of 16-bit numbers that start and end at multiples of eight elements, written 64 bits at a time.

alias tensor_word = vec2<u64>;

fn tensor_store(row: u32, chunk: u32, x: Chunk) {
    tensor[row / 8u + chunk] = vec2<u64>(tensor_joined(x[0]), tensor_joined(x[1]));
}

fn tensor_joined(x: vec4<f32>) -> u64 {
    return joined(vec2<u32>(tensor_pack(x.xy), tensor_pack(x.zw)));
}
