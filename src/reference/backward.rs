//! The gradients by definition: P recomputed row by row from the whole problem's lse.

use crate::problem::{Problem, Slice};

use super::score::{scale, score};
use super::tensors::key_index;
use super::{Tensors, add_scaled, dot, position, row_index, rows_of, turned_row, visible_keys};

/// dq, dk and dv in the shapes of q, k and v.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    pub dq: Vec<f64>,
    pub dk: Vec<f64>,
    pub dv: Vec<f64>,
}

/// The gradients of a loss whose gradient by o is `d_o` `[B, Hq, Nq, Dv]` and by lse, if given, `dlse` `[B, Hq, Nq]`.
///
/// Of a slice, what its pairs contribute to the whole problem's gradients (lse and Δ are those of the whole), so the
/// gradients of a cut add up.
pub fn backward(
    problem: &Problem,
    tensors: &Tensors,
    d_o: &[f64],
    dlse: Option<&[f64]>,
) -> Gradients {
    let mut out = Gradients {
        dq: vec![0.0; tensors.q.len()],
        dk: vec![0.0; tensors.k.len()],
        dv: vec![0.0; tensors.v.len()],
    };
    let dim = problem.shape.value_dim as usize;
    let turned = position::Turned::new(problem, tensors);
    let turned = &turned.view(tensors);
    for (b, h, i) in rows_of(problem) {
        let row = row_index(problem, b, h, i);
        let given = Given {
            d_o: &d_o[row * dim..][..dim],
            dlse: dlse.map_or(0.0, |dlse| dlse[row]),
        };
        backward_row(problem, turned, (b, h, i), given, &mut out);
    }
    position::turn_back(problem, tensors, &mut out.dq, &mut out.dk);
    out
}

/// The loss's gradients by one row's results.
struct Given<'a> {
    d_o: &'a [f64],
    dlse: f64,
}

fn backward_row(
    problem: &Problem,
    tensors: &Tensors,
    (b, h, i): (u32, u32, u32),
    Given { d_o, dlse }: Given,
    out: &mut Gradients,
) {
    let (o, lse) = turned_row(&all_keys(problem), tensors, b, h, i);
    let delta = dot(d_o, &o) - dlse;
    let (q_dim, v_dim) = (
        problem.shape.head_dim as usize,
        problem.shape.value_dim as usize,
    );
    let row = row_index(problem, b, h, i);
    for j in visible_keys(problem, tensors, b, h, i) {
        let s = score(problem, tensors, b, h, i, j);
        let p = (s.value - lse).exp();
        // ds = P∘(dP − Δ), dP = dO·Vᵀ
        let ds = p * (dot(d_o, tensors.value(problem, b, h, j)) - delta);
        let dx = ds * s.slope * scale(problem);
        let key = key_index(problem, b, h, j);
        let (query_row, key_row) = (
            tensors.query(problem, b, h, i),
            tensors.key(problem, b, h, j),
        );
        add_scaled(&mut out.dq[row * q_dim..][..q_dim], dx, key_row);
        add_scaled(&mut out.dk[key * q_dim..][..q_dim], dx, query_row);
        add_scaled(&mut out.dv[key * v_dim..][..v_dim], p, d_o);
    }
}

/// The same problem with every key in its slice.
fn all_keys(problem: &Problem) -> Problem {
    let Slice { q, .. } = problem.slice();
    Problem {
        slice: Some(Slice {
            q,
            k: 0..problem.shape.kv_len,
        }),
        ..problem.clone()
    }
}
