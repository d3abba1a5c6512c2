//! The gradients of the score's own parameters against the reference.

use wgpu_attention::plan::Role;
use wgpu_attention::reference::{ScoreGradients, score_gradients};
use wgpu_attention::{Element, Plan};

use super::run::Given;
use crate::support::cases::Case;
use crate::support::compare::{Check, GRADIENT_FLOOR, kept};
use crate::support::inputs::Inputs;
use crate::support::plain::{self, Rounded};

/// What the gradients should be, and what a plain program makes of them.
pub struct Expected {
    pub want: ScoreGradients,
    pub plain: Rounded<ScoreGradients>,
}

impl Expected {
    pub fn of(case: &Case, inputs: &Inputs, given: &Given) -> Self {
        let (p, tensors, dlse) = (&case.problem, inputs.tensors(case), given.dlse.as_deref());
        let o = kept(p, &tensors).o;
        Self {
            want: score_gradients(p, &tensors, &given.d_o, dlse),
            plain: plain::score_gradients(p, &tensors, &o, &given.d_o, dlse),
        }
    }

    /// Holds what a pass wrote of dbias, dslopes, dsinks and dt5 against it.
    pub fn check(&self, case: &Case, got: &[(Role, Vec<f64>)], plan: &Plan) {
        for (role, got) in got {
            let of = |gradients: &ScoreGradients| match role {
                Role::DBias => shared(case, &gradients.dbias),
                Role::DSlopes => gradients.dslopes.clone(),
                Role::DSinks => gradients.dsinks.clone(),
                _ => gradients.dt5.clone(),
            };
            let want = of(&self.want);
            let mut got = got[..want.len()].to_vec();
            if *role == Role::DBias {
                outside_the_slice(case, &mut got);
            }
            let check = Check {
                name: role.name(),
                element: Element::F32,
                floor: GRADIENT_FLOOR,
                got: &got,
                want: &want,
                plain: &of(&self.plain.value),
                terms: Some(&of(&self.plain.terms)),
                zero: &|_| false,
            };
            if let Err(error) = check.run() {
                panic!("{}: {error}\n{plan}", case.name);
            }
        }
    }
}

/// `[B, Hq, Nq, Nk]` summed over the axes that the bias is broadcast over.
fn shared(case: &Case, values: &[f64]) -> Vec<f64> {
    let s = &case.problem.shape;
    let matrix = (s.q_len * s.kv_len) as usize;
    let layout = case.problem.score.bias.expect("a bias");
    let batches = if layout.batch == 0 { 1 } else { s.batch };
    let heads = if layout.head == 0 { 1 } else { s.q_heads };
    let mut sum = vec![0.0; matrix * (batches * heads) as usize];
    for (n, x) in values.iter().enumerate() {
        let (b, h) = (
            (n / matrix) as u32 / s.q_heads % batches,
            (n / matrix) as u32 % s.q_heads % heads,
        );
        sum[(b * heads + h) as usize * matrix + n % matrix] += x;
    }
    sum
}

/// Pairs outside of a slice are not written: they are still poisoned, and count as 0 from here on.
fn outside_the_slice(case: &Case, dbias: &mut [f64]) {
    let (s, slice) = (&case.problem.shape, case.problem.slice());
    for (n, x) in dbias.iter_mut().enumerate() {
        let (j, i) = (n as u32 % s.kv_len, n as u32 / s.kv_len % s.q_len);
        if !slice.k.contains(&j) || !slice.q.contains(&i) {
            assert!(x.is_nan(), "a pair outside of the slice was written");
            *x = 0.0;
        }
    }
}
