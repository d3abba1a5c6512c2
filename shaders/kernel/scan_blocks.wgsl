// Which blocks hold visible pairs: none, some or all. A workgroup owns a block of a head.

import part::params;
import part::item;
import part::numbers;
import part::ranks;
import mask::interval;
import mask::dense_bits;
import mask::tree_bits;
import mask::user;
@if(segments) import part::tokens;

@bind var<uniform> params: Params;
@bind var<storage, read_write> states: array<u32>;
@bind var<storage, read> aux: array<u32>;

var<workgroup> visible_pairs: atomic<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = workgroup_item(group, groups);
    if (n >= params.work.end) { return; }
    let j_first = n % params.lists.columns * params.lists.side;
    let block = head_item(n / params.lists.columns, params.work.tiles);
    let i_first = (params.choice.first + block.n) * params.lists.side;
    let columns = min(params.lists.side, params.sizes.kv_len - j_first);
    let pairs = min(params.lists.side, params.sizes.q_len - i_first) * columns;
    if (invocation == 0u) { atomicStore(&visible_pairs, 0u); }
    workgroupBarrier();

    var count = 0u;
    for (var pair = invocation; pair < pairs; pair += INVOCATIONS) {
        count += select(0u, 1u, is_visible_pair(block.b, block.h, i_first + pair / columns, j_first + pair % columns));
    }
    atomicAdd(&visible_pairs, count);
    workgroupBarrier();
    if (invocation == 0u) {
        let all = atomicLoad(&visible_pairs);
        states[n] = select(select(SOME_PAIRS, ALL_PAIRS, all == pairs), NONE_VISIBLE, all == 0u);
    }
}

fn is_visible_pair(b: u32, h: u32, i: u32, j: u32) -> bool {
    var visible = true;
    @if(intervals) visible = is_visible(visible_keys(b, i), j);
    @if(segments) visible = visible && aux[params.documents.q_at + query_token(b, i)] == aux[params.documents.k_at + key_token(b, j)];
    @if(dense_mask) visible = visible && dense_sees(b, h, i, j);
    @if(tree) visible = visible && tree_sees(tree_branch(b, i), tree_node(b, j));
    @if(mask_mod) visible = visible && user_mask_mod(b, h, i, j);
    return visible;
}
