//! One backward pass, wherever it runs: what goes in beside the forward call's operands, and what it wrote.

use wgpu_attention::Role;
use wgpu_attention::problem::Operand;
use wgpu_attention::reference::Gradients;
use wgpu_attention::{Backward, Element};

use super::cases::Case;
use super::tensor::{gather, normal, round};

/// What comes from behind, and in which type the gradients leave.
pub struct Given {
    pub d_o: Vec<f64>,
    pub dlse: Option<Vec<f64>>,
    pub element: Element,
    /// Also the gradients of whatever parameters the score has.
    pub score: bool,
}

impl Given {
    /// Standard normal, rounded to the storage type of o; every other one with a gradient by lse.
    pub fn new(case: &Case, seed: u64) -> Self {
        let s = &case.problem.shape;
        let rows = case.problem.q_sizes().iter().product::<u32>() as usize;
        let rounded = |x: f64| round(case.problem.o.element, x);
        Self {
            d_o: normal(seed + 100, rows * s.value_dim as usize)
                .into_iter()
                .map(rounded)
                .collect(),
            dlse: (seed % 2 == 1).then(|| normal(seed + 200, rows)),
            element: Element::F32,
            score: false,
        }
    }
}

/// The pass that `given` asks of a case.
pub fn request(case: &Case, given: &Given) -> Backward {
    let mut backward = Backward::new(case.problem.clone(), given.element);
    backward.dlse = given.dlse.is_some();
    if given.score {
        let score = &case.problem.score;
        backward.dbias = score.bias.is_some();
        backward.dslopes = score.slopes.is_some();
        backward.dsinks = score.sinks.is_some();
        backward.dt5 = score.t5.is_some();
    }
    backward
}

/// True for the gradients of the score's own parameters.
pub fn is_of_the_score(role: Role) -> bool {
    [Role::DBias, Role::DSlopes, Role::DSinks, Role::DT5].contains(&role)
}

/// The problem's gradients as they lie in their buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub dq: Vec<u8>,
    pub dk: Vec<u8>,
    pub dv: Vec<u8>,
    /// dbias, dslopes, dsinks and dt5, where they were asked for.
    pub score: Vec<(Role, Vec<f64>)>,
}

impl Output {
    /// Logical gradients.
    pub fn gradients(&self, backward: &Backward) -> Gradients {
        let s = &backward.problem.shape;
        let kv = backward.problem.kv_sizes();
        let values = |bytes: &[u8], operand: &Operand, sizes, dim| {
            gather(bytes, operand.element, &operand.layout, sizes, dim)
        };
        Gradients::new(
            values(
                &self.dq,
                &backward.dq,
                backward.problem.q_sizes(),
                s.head_dim,
            ),
            values(&self.dk, &backward.dk, kv, s.head_dim),
            values(&self.dv, &backward.dv, kv, s.value_dim),
        )
    }
}

/// Rows outside of a slice are not written: they must still be poisoned, and count as 0 from here on.
pub fn outside_the_slice(case: &Case, got: &mut Gradients) -> Result<(), String> {
    let (s, slice) = (&case.problem.shape, case.problem.slice());
    for (values, len, dim, range) in [
        (&mut got.dq, s.q_len, s.head_dim, &slice.q),
        (&mut got.dk, s.kv_len, s.head_dim, &slice.k),
        (&mut got.dv, s.kv_len, s.value_dim, &slice.k),
    ] {
        for (n, row) in values.chunks_exact_mut(dim as usize).enumerate() {
            if !range.contains(&((n % len as usize) as u32)) {
                if row.iter().any(|x| !x.is_nan()) {
                    return Err(format!("row {n} is not of the slice and was written"));
                }
                row.fill(0.0);
            }
        }
    }
    Ok(())
}
