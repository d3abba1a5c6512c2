// Output rows of f32, anywhere, of `dim` channels: a step writes them or adds to what an earlier one wrote.

fn tensor_sum(row: u32, chunk: u32, dim: u32, x: vec4<f32>) {
    let at = row + 4u * chunk;
    let left = dim - 4u * chunk;
    tensor[at] = tensor_added(tensor[at], x.x);
    if (left > 1u) { tensor[at + 1u] = tensor_added(tensor[at + 1u], x.y); }
    if (left > 2u) { tensor[at + 2u] = tensor_added(tensor[at + 2u], x.z); }
    if (left > 3u) { tensor[at + 3u] = tensor_added(tensor[at + 3u], x.w); }
}

fn tensor_added(before: f32, x: f32) -> f32 {
    return select(x, before + x, params.part.accumulate != 0u);
}
