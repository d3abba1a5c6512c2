// The user's functions (slot `mods`, each of their names behind `user_`) and the helpers that they may call.

import slot::mods;

// The key index at which query 0 of batch b stands.
@if(mods) fn query_offset(b: u32) -> i32 {
    return diagonal(min(b, params.sizes.batch - 1u), 0u);
}

// The n-th of the user's numbers, behind their count; the last one beyond the end.
@if(mods) fn mod_data(n: u32) -> f32 {
    return bitcast<f32>(aux[params.mods.at + 1u + min(n, aux[params.mods.at] - 1u)]);
}
