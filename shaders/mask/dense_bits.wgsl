// A boolean mask [B, Hq, Nq, Nk], broadcast along axes of stride 0: a bit per pair, in rows of words of 32 keys in `aux`.

@if(dense_mask) import slot::address for mask;

@if(dense_mask) fn mask_strides() -> StridesParams { return params.mask; }

@if(dense_mask) fn dense_sees(b: u32, h: u32, i: u32, j: u32) -> bool {
    return ((aux[mask_row(mask_place(b, h), i) + j / 32u] >> (j % 32u)) & 1u) == 1u;
}
