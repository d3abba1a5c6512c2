// Rows of keys, of sequences one after the other.

import address::ragged for tensor;

fn tensor_sequences() -> u32 { return params.sequences.k_at; }
