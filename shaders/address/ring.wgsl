// Rows of which the first stay and all others go round a ring behind them. The kernel says in tensor_strides where the
// rows of the buffer lie.

// Where the rows of a batch and head lie.
alias TensorPlace = u32;

fn tensor_place(b: u32, h: u32) -> TensorPlace {
    let strides = tensor_strides();
    return strides.start + b * strides.batch + h * strides.head;
}

// The element where row i begins.
fn tensor_row(place: TensorPlace, i: u32) -> u32 {
    let first = params.lookup.first;
    let row = select(first + (i - first) % params.lookup.ring, i, i < first);
    return place + row * tensor_strides().row;
}
