// The uniform of every step. The host's twin is `plan::params::Params`; a test holds the two against each other.

// Element strides of a tensor's batch, head and row, and the element where it starts.
struct Rows { start: u32, batch: u32, head: u32, row: u32 }

struct Params {
    q: Rows,
    k: Rows,
    v: Rows,
    o: Rows,
    batch: u32,
    q_heads: u32,
    // Query heads that share a KV head.
    group: u32,
    q_len: u32,

    kv_len: u32,
    head_dim: u32,
    value_dim: u32,
    // Splits of the visited key tiles (prefill), partials to merge (combine).
    splits: u32,

    // The slice that this step computes, in coordinates of the whole problem.
    q_begin: u32,
    q_end: u32,
    k_begin: u32,
    k_end: u32,

    // Workgroups of the step: the first one and one past the last, of `q_tiles` a head.
    work_begin: u32,
    work_end: u32,
    q_tiles: u32,
    // Elements from one split's o and lse to the next one's.
    o_split: u32,

    lse: Rows,

    lse_split: u32,
    scale: f32,
    // The softcap and its inverse.
    softcap: f32,
    softcap_inverse: f32,

    causal: u32,
    prefix: u32,
    window_left: u32,
    window_right: u32,

    first: u32,
    // Where the lengths and the offsets of the batches lie in `aux`.
    lens_at: u32,
    offsets_at: u32,
    partials_at: u32,

    // Block lists (schedule::list): their side; where (start, length) of each query block's list lie in `aux`; lists
    // from one batch and head to the next; blocks of the listed axis.
    block_side: u32,
    block_rows_at: u32,
    block_batch: u32,
    block_head: u32,

    block_columns: u32,
    // From a listed block to the number of its bits, and where the bits lie.
    block_tiles_from: u32,
    block_bits_at: u32,
    // Documents as intervals: (begin, end) of the keys of each query, of the queries of each key; may lie NOWHERE.
    segment_keys_at: u32,

    segment_queries_at: u32,
    // Documents by token.
    segments_q_at: u32,
    segments_k_at: u32,
    // Blocks that a list on the device has room for.
    block_capacity: u32,

    bias: Rows,

    // Where the parts of the score lie in `aux`; sinks may lie NOWHERE.
    slopes_at: u32,
    sinks_at: u32,
    t5_at: u32,
    // The bucket of each distance −t5_distance … t5_distance.
    t5_buckets_at: u32,

    t5_distance: u32,
    // Positions of queries and keys, for the score, and their rows in the rotary table.
    q_positions_at: u32,
    k_positions_at: u32,
    q_rotations_at: u32,

    k_rotations_at: u32,
    // The position of the table's first row, and its rows.
    table_start: i32,
    table_rows: u32,
    // d, the channels that turn.
    rotary_dim: u32,

    // Pairs of a table row, and where in it the keys' begin (xPos), and those of a rotation pass.
    table_stride: u32,
    table_key_at: u32,
    table_side_at: u32,
    // 1, or −1 to turn back.
    table_sine: f32,

    temperature_scale: f32,
    temperature_floor: u32,
    temperature_offset: u32,
    // Heads that the workgroups are counted through: those of q, or of k and v.
    work_heads: u32,

    // The backward pass: dO, (lse, Δ) a row in pairs, and dV beside dK (which is `o`).
    d_o: Rows,
    stats: Rows,
    dv: Rows,

    // Query heads of a group that a step takes, and whether it adds to what the outputs hold.
    group_begin: u32,
    group_end: u32,
    accumulate: u32,
    // The first of the numbers whose partials a step makes or adds up, and how many lie beside each other.
    part_begin: u32,

    part_stride: u32,
    // Batches and heads that share one of the bias's.
    shared_batches: u32,
    shared_heads: u32,
    // Where the count and the numbers of the user's functions lie in `aux`.
    mods_at: u32,

    // Choosing and listing blocks. Rows past these ends take no part in a pool; pooled blocks a head, from `pool_begin`
    // on; the first of the `q_tiles` blocks of queries that a step takes.
    pool_ends_at: u32,
    pool_blocks: u32,
    pool_begin: u32,
    block_begin: u32,

    // Blocks that are kept, and those before the diagonal that always are.
    keep_blocks: u32,
    local_blocks: u32,
    // Where lists are written, lists a head, blocks on the listed axis, and room in a list.
    lists_at: u32,
    list_rows: u32,

    list_columns: u32,
    list_capacity: u32,
    // Where the number of 4-vectors of a row of q lies in `aux`.
    chunks_at: u32,
    list_unused: u32,
}

const NOWHERE = 0xffffffffu;
