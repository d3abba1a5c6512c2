// P = softmax of the visible part of each row of S, in place; 0 where the mask hides.
//
// A workgroup makes one row and reads it twice: for the largest score with the sum, and for the quotients.

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

    // Largest score, and sum of exponentials relative to it, of this invocation's keys.
    var largest = LOWEST;
    var total = 0.0;
    for (var j = lane; j < KV_LEN; j += WORKGROUP) {
        if visible(stand, j) {
            let score = scores[first + j];
            let next = max(largest, score);
            total = total * exp(largest - next) + exp(score - next);
            largest = next;
        }
    }

    partial[lane] = largest;
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        workgroupBarrier();
        if lane < half {
            partial[lane] = max(partial[lane], partial[lane + half]);
        }
    }
    workgroupBarrier();
    let row_largest = partial[0];
    workgroupBarrier();

    partial[lane] = total * exp(largest - row_largest);
    for (var half = WORKGROUP / 2; half > 0; half /= 2) {
        workgroupBarrier();
        if lane < half {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();
    let factor = 1.0 / partial[0];

    for (var j = lane; j < KV_LEN; j += WORKGROUP) {
        let p = exp(scores[first + j] - row_largest) * factor;
        scores[first + j] = select(0.0, p, visible(stand, j));
    }
}

fn visible(stand: i32, j: u32) -> bool {
    return i32(j) >= stand - LEFT && i32(j) <= stand + RIGHT;
}
