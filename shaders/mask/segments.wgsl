// Documents whose ids do not rise along the sequence, or that only the device knows.

@if(segments) fn mask_segments(visible: Flags, place: Place, j: u32) -> Flags {
    var flags = visible;
    @unroll for (var c = 0u; c < KEYS; c++) {
        let segment = aux[params.segments_k_at + place.b * params.kv_len + min(j + c, params.kv_len - 1u)];
        @unroll for (var r = 0u; r < ROWS; r++) { flags[r] &= ~select(1u << c, 0u, place.segment[r] == segment); }
    }
    return flags;
}
