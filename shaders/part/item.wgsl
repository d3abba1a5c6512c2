// What an invocation, or a workgroup, of a kernel without tiles owns: items are numbered through the grid, for a grid
// dimension holds 65 535 only and a step may be a part of a call.

struct ItemInvocation {
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
}

// The number of a workgroup in the whole call.
fn workgroup_item(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return params.work.begin + group.x + group.y * groups.x;
}

// The invocation's item; none from params.work.end on.
fn item_of(own: ItemInvocation) -> u32 {
    return params.work.begin + (own.group.x + own.group.y * own.groups.x) * INVOCATIONS + own.index;
}

// A batch and head, and the number of an item there.
struct HeadItem { b: u32, h: u32, n: u32 }

// Item n of `each` items per head.
fn head_item(n: u32, each: u32) -> HeadItem {
    return HeadItem(n / each / params.sizes.q_heads, n / each % params.sizes.q_heads, n % each);
}
