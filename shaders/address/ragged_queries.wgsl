// Rows of queries, of sequences one after the other.

import address::ragged for tensor;

fn tensor_sequences() -> u32 { return params.sequences.q_at; }
