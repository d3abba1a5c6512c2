// Output rows of f32 that start and end at multiples of four elements.

alias tensor_word = vec4<u32>;

fn tensor_store(row: u32, chunk: u32, x: vec4<f32>) {
    tensor[row / 4u + chunk] = bitcast<vec4<u32>>(x);
}
