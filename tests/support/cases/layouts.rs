//! Where rows lie: axes in either order, packed, broadcast, padded.

use wgpu_attention::problem::{Layout, Mask, Problem};

use super::{Case, Setting, Sizes};

pub fn cases(setting: &Setting) -> Vec<Case> {
    let case =
        |name| Case::new(name, setting, Sizes::two(4, 2, 22, 37)).with(|p| p.mask = Mask::causal());
    vec![
        case("rows first").with(rows_first),
        packed(setting),
        case("keys broadcast over batches").with(|p| {
            p.k.layout.batch = 0;
            p.v.layout.batch = 0;
        }),
        case("keys broadcast over heads").with(|p| {
            p.k.layout.head = 0;
            p.v.layout.head = 0;
        }),
        case("one query for all rows").with(|p| p.q.layout.row = 0),
        case("rows padded by 2, offset 4").with(|p| padded(p, 2, 4)),
        case("rows padded by 3, offset 1").with(|p| padded(p, 3, 1)),
        case("rows padded by 4, offset 64").with(|p| padded(p, 4, 64)),
    ]
}

fn rows_first(p: &mut Problem) {
    let s = p.shape;
    p.q.layout = Layout::rows_first(s.q_heads, s.q_len, s.head_dim);
    p.k.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.head_dim);
    p.v.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.value_dim);
    p.o.layout = Layout::rows_first(s.q_heads, s.q_len, s.value_dim);
}

/// A projection's output: each row holds its q heads, k heads and v heads.
fn packed(setting: &Setting) -> Case {
    let mut case = Case::new("packed in one buffer", setting, Sizes::two(4, 2, 31, 31));
    let p = &mut case.problem;
    let s = p.shape;
    let q_width = u64::from(s.q_heads * s.head_dim);
    let k_width = u64::from(s.kv_heads * s.head_dim);
    let row = q_width + k_width + u64::from(s.kv_heads * s.value_dim);
    let part = |offset, dim: u32| Layout {
        offset,
        batch: row * u64::from(s.q_len),
        head: u64::from(dim),
        row,
    };
    p.q.layout = part(0, s.head_dim);
    p.k.layout = part(q_width, s.head_dim);
    p.v.layout = part(q_width + k_width, s.value_dim);
    case.packed = true;
    case
}

/// Every operand `offset` elements into its buffer, with `gap` elements between rows.
fn padded(p: &mut Problem, gap: u32, offset: u64) {
    let s = p.shape;
    for (operand, heads, rows, dim) in [
        (&mut p.q, s.q_heads, s.q_len, s.head_dim),
        (&mut p.k, s.kv_heads, s.kv_len, s.head_dim),
        (&mut p.v, s.kv_heads, s.kv_len, s.value_dim),
        (&mut p.o, s.q_heads, s.q_len, s.value_dim),
    ] {
        operand.layout = Layout::heads_first(heads, rows, dim + gap).at(offset);
    }
}
