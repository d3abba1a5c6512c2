// Rows of sequences one after the other: those of batch b begin where aux[tensor_sequences() + b] says, and end where the
// next begin. The kernel says in tensor_strides how far heads and rows lie apart.

struct TensorPlace { start: u32, first: u32, last: u32 }

fn tensor_place(b: u32, h: u32) -> TensorPlace {
    let strides = tensor_strides();
    let end = aux[tensor_sequences() + b + 1u];
    return TensorPlace(strides.start + h * strides.head, aux[tensor_sequences() + b], max(end, 1u) - 1u);
}

// The same of copy n of all rows, which lie `size` elements apart: the partial results of splits.
fn tensor_part(place: TensorPlace, n: u32, size: u32) -> TensorPlace {
    return TensorPlace(place.start + n * size, place.first, place.last);
}

// The element where row i begins; the last row past the sequence's end, for tiles are loaded whole.
fn tensor_row(place: TensorPlace, i: u32) -> u32 {
    return place.start + min(place.first + i, place.last) * tensor_strides().row;
}
