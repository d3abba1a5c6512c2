// P = softmax of the visible part of each row of S, in place; 0 where the mask hides.
//
// A workgroup makes one row: the largest score, the sum of the exponentials, the quotients.

const WORKGROUP: u32 = 64;
const LOWEST: f32 = -3e38;

override Q_LEN: u32;
override KV_LEN: u32;
// Visible keys of query i: i + OFFSET - LEFT to i + OFFSET + RIGHT, inclusive.
override OFFSET: i32;
override LEFT: i32;
override RIGHT: i32;

@group(0) @binding(0) var<storage, read_write> scores: array<f32>;   // [heads, Nq, Nk]

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.y * Q_LEN + group.x) * KV_LEN;
    let stand = i32(group.x) + OFFSET;

    var largest = LOWEST;
    for (var j = lane; j < KV_LEN; j += WORKGROUP) {
        largest = max(largest, select(LOWEST, scores[first + j], visible(stand, j)));
    }
    partial[lane] = largest;
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        workgroupBarrier();
        if lane < half {
            partial[lane] = max(partial[lane], partial[lane + half]);
        }
    }
    workgroupBarrier();
    largest = partial[0];
    workgroupBarrier();

    var total = 0.0;
    for (var j = lane; j < KV_LEN; j += WORKGROUP) {
        let p = select(0.0, exp(scores[first + j] - largest), visible(stand, j));
        scores[first + j] = p;
        total += p;
    }
    partial[lane] = total;
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        workgroupBarrier();
        if lane < half {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();
    total = partial[0];

    for (var j = lane; j < KV_LEN; j += WORKGROUP) {
        scores[first + j] /= total;
    }
}

fn visible(stand: i32, j: u32) -> bool {
    return i32(j) >= stand - LEFT && i32(j) <= stand + RIGHT;
}
