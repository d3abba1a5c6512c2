// Invocations as lanes of subgroups. Assumes that a subgroup holds whole clusters (WIDTH ≤ subgroup_min_size) and that
// invocations of a workgroup are numbered along its subgroups.

struct Invocation {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) lane: u32,
}

var<private> invocation_index: u32 = 0u;
var<private> lane: u32 = 0u;

fn start_strategy(own: Invocation) {
    invocation_index = own.index;
    lane = own.lane;
}
