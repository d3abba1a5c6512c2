// Rows at equal distances. The kernel says in tensor_strides which.

// Where the rows of a batch and head lie.
alias TensorPlace = u32;

fn tensor_place(b: u32, h: u32) -> TensorPlace {
    let strides = tensor_strides();
    return strides.start + b * strides.batch + h * strides.head;
}

// The element where row i begins.
fn tensor_row(place: TensorPlace, i: u32) -> u32 {
    return place + i * tensor_strides().row;
}
