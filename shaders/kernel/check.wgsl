// Looks for words that an operand may not hold. An invocation owns a run of words and answers the first it refuses.

import part::params;
import slot::address for words;

@bind var<uniform> params: Params;
@bind var<storage, read> words: array<u32>;
// Of each run: index and value of that word, or NOT_FOUND.
@bind var<storage, read_write> found: array<vec2<u32>>;
// The rule: a word is fine when (word & aux[0]) − aux[1] ≤ aux[2], modulo 2³²; where aux[3] is 1, when it is at most aux[2]
// more than the word before it, and the first is 0. Floats are judged by their bits, for
// WGSL lets a compiler assume that there is no NaN.
@bind var<storage, read> aux: array<u32>;

fn words_strides() -> StridesParams { return params.x; }

const NOT_FOUND = 0xffffffffu;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let run = (group.x + group.y * groups.x) * INVOCATIONS + invocation;
    let begin = run * RUN;
    if (begin >= params.work.end) { return; }
    let end = begin + min(RUN, params.work.end - begin);
    var first = vec2<u32>(NOT_FOUND, 0u);
    for (var at = begin; at < end; at++) {
        let word = words[place_of(at)];
        let follows = aux[3] == 1u;
        let before = select(words[place_of(max(at, 1u) - 1u)], 0u, at == 0u);
        let low = select(aux[1], before, follows);
        let span = select(aux[2], 0u, follows & (at == 0u));
        if ((word & aux[0]) - low > span) {
            first = vec2<u32>(at, word);
            break;
        }
    }
    found[run] = first;
}

// Where the words lie, which are rows of one.
fn place_of(n: u32) -> u32 {
    let head = n / params.sizes.q_len;
    let place = words_place(head / params.sizes.q_heads, head % params.sizes.q_heads);
    return words_row(place, n % params.sizes.q_len);
}
