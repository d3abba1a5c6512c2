// Which row an element lies in, of rows at equal distances that do not overlap. The kernel says in tensor_sizes how many
// batches, heads and rows there are, in tensor_strides where they lie, and in tensor_order which of these axes has the
// largest stride, which the next and which the smallest, two bits each.

struct TensorElement {
    // Of all rows, counted through [B, H, N].
    row: u32,
    // At least the size of a row for what lies between rows.
    channel: u32,
}

fn tensor_element_at(at: u32) -> TensorElement {
    let start = tensor_strides().start;
    if (at < start) { return TensorElement(0u, 0xffffffffu); }
    // Strides are nested, so the coordinates come off from the largest stride down.
    var left = at - start;
    var row = 0u;
    @unroll for (var n = 0u; n < 3u; n++) {
        let axis = tensor_axis(n);
        if (axis.size > 1u) {
            let place = min(left / axis.stride, axis.size - 1u);
            left -= place * axis.stride;
            row += place * axis.rows;
        }
    }
    return TensorElement(row, left);
}

// `rows`: rows between neighbours on this axis.
struct TensorAxis { size: u32, stride: u32, rows: u32 }

// The axes from the largest stride down.
fn tensor_axis(n: u32) -> TensorAxis {
    let sizes = tensor_sizes();
    let strides = tensor_strides();
    switch (tensor_order() >> (2u * n)) & 3u {
        case 0u: { return TensorAxis(sizes[0], strides.batch, sizes[1] * sizes[2]); }
        case 1u: { return TensorAxis(sizes[1], strides.head, sizes[2]); }
        default: { return TensorAxis(sizes[2], strides.row, 1u); }
    }
}
