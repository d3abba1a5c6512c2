// Rows in pages of a pool. A table in the small operands names each batch's pages; the kernel says in tensor_strides
// where the pool lies, whose stride by batch is that from page to page.

// Where a batch's row of the table begins, and where a head's rows in every page.
struct TensorPlace { pages: u32, start: u32 }

fn tensor_place(b: u32, h: u32) -> TensorPlace {
    let strides = tensor_strides();
    return TensorPlace(params.lookup.table_at + b * params.lookup.pages, strides.start + h * strides.head);
}

// The element where row i begins; the pool's last page stands for those that it does not have.
fn tensor_row(place: TensorPlace, i: u32) -> u32 {
    let strides = tensor_strides();
    let page = min(aux[place.pages + (i >> params.lookup.page_shift)], params.lookup.last_page);
    return place.start + page * strides.batch + (i & params.lookup.page_mask) * strides.row;
}
