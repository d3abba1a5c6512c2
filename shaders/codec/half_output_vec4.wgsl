// Output rows of 16-bit numbers that start and end at multiples of four elements.

alias tensor_word = vec2<u32>;

fn tensor_store(row: u32, chunk: u32, x: vec4<f32>) {
    tensor[row / 4u + chunk] = vec2<u32>(tensor_pack(x.xy), tensor_pack(x.zw));
}
