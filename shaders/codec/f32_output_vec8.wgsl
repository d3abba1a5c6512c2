// Output rows of f32 that start and end at multiples of eight elements, written 64 bits at a time.

alias tensor_word = vec4<u64>;

fn tensor_store(row: u32, chunk: u32, x: Chunk) {
    tensor[row / 8u + chunk] = staged(x);
}
