// Documents whose ids do not rise along the sequence, or that only the device knows.

@if(segments) import part::tokens;

@if(segments) fn query_segment(b: u32, i: u32) -> u32 {
    return aux[params.documents.q_at + query_token(b, i)];
}

@if(segments) fn key_segment(b: u32, j: u32) -> u32 {
    return aux[params.documents.k_at + key_token(b, j)];
}

@if(segments) fn row_segment(b: u32, n: u32) -> u32 {
    @if(transposed) return key_segment(b, n);
    @if(!transposed) return query_segment(b, n);
}

@if(segments) fn mask_segments(visible: Flags, context: RowContext, column: u32) -> Flags {
    var flags = visible;
    @unroll for (var c = 0u; c < OWN_KEYS; c++) {
        @if(!transposed) let segment = key_segment(context.b, column + c);
        @if(transposed) let segment = query_segment(context.b, column + c);
        @unroll for (var r = 0u; r < ROWS; r++) { flags[r] &= ~select(1u << c, 0u, context.segment[r] == segment); }
    }
    return flags;
}
