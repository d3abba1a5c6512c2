// Rows at equal distances. The kernel says in tensor_strides which.

// Where the rows of a batch and head lie.
alias TensorPlace = u32;

fn tensor_place(b: u32, h: u32) -> TensorPlace {
    let strides = tensor_strides();
    return strides.start + b * strides.batch + h * strides.head;
}

// The same of copy n of all rows, which lie `size` elements apart: the partial results of splits.
fn tensor_part(place: TensorPlace, n: u32, size: u32) -> TensorPlace {
    return place + n * size;
}

// The element where row i begins.
fn tensor_row(place: TensorPlace, i: u32) -> u32 {
    return place + i * tensor_strides().row;
}
