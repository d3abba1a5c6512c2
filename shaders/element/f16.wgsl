// f16 in pairs, without the device's f16 feature.

fn tensor_unpack(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}

fn tensor_pack(x: vec2<f32>) -> u32 {
    return pack2x16float(x);
}
