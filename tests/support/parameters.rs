//! The gradients of the score's own parameters against the reference.

use wgpu_attention::Element;
use wgpu_attention::Role;
use wgpu_attention::reference::{ScoreGradients, score_gradients};

use super::backward::Given;
use super::cases::Case;
use super::compare::{Check, GRADIENT_FLOOR, Report, kept};
use super::inputs::Inputs;
use super::plain::{self, Rounded};

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

    /// Panics with `context` where [`Self::check`] finds a fault.
    pub fn assert(&self, case: &Case, got: &[(Role, Vec<f64>)], context: &str) {
        if let Err(error) = self.check(case, got) {
            panic!("{error}\n{context}");
        }
    }

    /// Holds what a pass wrote of dbias, dslopes, dsinks and dt5 against it.
    pub fn check(
        &self,
        case: &Case,
        got: &[(Role, Vec<f64>)],
    ) -> Result<Vec<(&'static str, Report)>, String> {
        let one = |(role, got): &(Role, Vec<f64>)| {
            let of = |gradients: &ScoreGradients| match role {
                Role::DBias => shared(case, &gradients.dbias),
                Role::DSlopes => gradients.dslopes.clone(),
                Role::DSinks => gradients.dsinks.clone(),
                _ => gradients.dt5.clone(),
            };
            let want = of(&self.want);
            let mut got = got[..want.len()].to_vec();
            if *role == Role::DBias {
                outside_the_slice(case, &mut got)?;
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
            Ok((role.name(), check.run()?))
        };
        got.iter().map(one).collect()
    }
}

/// `[B, Hq, Nq, Nk]` summed over the axes that the bias is broadcast over.
fn shared(case: &Case, values: &[f64]) -> Vec<f64> {
    let s = &case.problem.shape;
    let layout = case.problem.score.bias.expect("a bias");
    let size = |stride: u64, size: u32| if stride == 0 { size.min(1) } else { size };
    let (batches, heads) = (size(layout.batch, s.batch), size(layout.head, s.q_heads));
    let rows = size(layout.row, s.q_len);
    let mut sum = vec![0.0; (batches * heads * rows * s.kv_len) as usize];
    for (n, x) in values.iter().enumerate() {
        let (row, j) = (n as u32 / s.kv_len, n as u32 % s.kv_len);
        let (head, i) = (row / s.q_len, row % s.q_len % rows);
        let (b, h) = (head / s.q_heads % batches, head % s.q_heads % heads);
        sum[(((b * heads + h) * rows + i) * s.kv_len + j) as usize] += x;
    }
    sum
}

/// Pairs outside of a slice are not written: they are still poisoned, and count as 0 from here on.
fn outside_the_slice(case: &Case, dbias: &mut [f64]) -> Result<(), String> {
    let (s, slice) = (&case.problem.shape, case.problem.slice());
    let rows_are_shared = case.problem.score.bias.is_some_and(|bias| bias.row == 0);
    for (n, x) in dbias.iter_mut().enumerate() {
        let (j, i) = (n as u32 % s.kv_len, n as u32 / s.kv_len % s.q_len.max(1));
        if !slice.k.contains(&j) || !(rows_are_shared || slice.q.contains(&i)) {
            if !x.is_nan() {
                return Err(format!("dbias[{n}] is not of the slice and was written"));
            }
            *x = 0.0;
        }
    }
    Ok(())
}
