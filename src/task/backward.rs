//! The backward pass of an attention call.

use crate::error::{Error, Result};
use crate::problem::{Element, Layout, Operand, Problem};

/// The gradients of a loss by q, k and v, given its gradient dO by o (and by lse), and what the forward call kept:
/// o and lse, those of the whole problem. Nothing of size Nq × Nk is stored (FlashAttention, 2205.14135).
///
/// Of a slice, what its pairs contribute: the gradients of a cut add up.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backward {
    /// The forward call.
    pub problem: Problem,
    /// dO, `[B, Hq, Nq, Dv]`
    pub d_o: Operand,
    /// A gradient by lse, f32 `[B, Hq, Nq]` that lies as [`Problem::lse`] does, joins.
    pub dlse: bool,
    /// `[B, Hq, Nq, D]`
    pub dq: Operand,
    /// `[B, Hkv, Nk, D]`
    pub dk: Operand,
    /// `[B, Hkv, Nk, Dv]`
    pub dv: Operand,
    /// Also the gradient of the dense bias, f32 `[B|1, Hq|1, Nq|1, Nk]`, contiguous: the sum over each axis that the bias
    /// is broadcast over, which has size 1.
    pub dbias: bool,
    /// Also that of ALiBi's slopes, f32 `[Hq]` or `[B, Hq]`, as they are.
    pub dslopes: bool,
    /// Also that of the learned sinks, f32 `[Hq]`. It takes rows, not pairs: ask for it in one call of a cut over keys.
    pub dsinks: bool,
    /// Also that of T5's table, f32 `[buckets, Hq]`.
    pub dt5: bool,
}

setters! {
    Backward {
        with_problem(problem: Problem);
        with_d_o(d_o: Operand);
        with_dlse(dlse: bool);
        with_dq(dq: Operand);
        with_dk(dk: Operand);
        with_dv(dv: Operand);
        with_dbias(dbias: bool);
        with_dslopes(dslopes: bool);
        with_dsinks(dsinks: bool);
        with_dt5(dt5: bool);
    }
}

impl Backward {
    /// dO like o, contiguous gradients of one element type.
    pub fn new(problem: Problem, element: Element) -> Self {
        let shape = &problem.shape;
        let like = |[_, heads, rows]: [u32; 3], dim| {
            Operand::new(element, Layout::heads_first(heads, rows, dim))
        };
        let (q, kv) = (problem.q_sizes(), problem.kv_sizes());
        Self {
            d_o: problem.o,
            dlse: false,
            dq: like(q, shape.head_dim),
            dk: like(kv, shape.head_dim),
            dv: like(kv, shape.value_dim),
            dbias: false,
            dslopes: false,
            dsinks: false,
            dt5: false,
            problem,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.problem.validate()?;
        self.problem.kv_address.check_strided("a backward pass")?;
        self.validate_elements()?;
        if self.problem.k_hadamard || self.problem.v_hadamard {
            return Err(Error::HadamardGradient);
        }
        let text = self.problem.mods.as_ref().map(|mods| &mods.text);
        if text.is_some_and(|text| text.has_score() && !text.has_score_grad()) {
            return Err(Error::NoScoreGradient);
        }
        let s = &self.problem.shape;
        if self.problem.keys().is_ragged() && self.problem.slice().k != (0..s.kv_len) {
            return Err(Error::Ragged {
                what: "a gradient of a slice of the keys",
                way_out: "call it with fewer sequences, or cut its steps by PlanOptions::splits",
            });
        }
        let (q, kv) = (self.problem.q_sizes(), self.problem.kv_sizes());
        self.d_o.validate("do", q, s.value_dim)?;
        for (what, operand, sizes, dim) in [
            ("dq", &self.dq, q, s.head_dim),
            ("dk", &self.dk, kv, s.head_dim),
            ("dv", &self.dv, kv, s.value_dim),
        ] {
            operand.validate(what, sizes, dim)?;
            operand.validate_output(what, sizes, dim)?;
        }
        let score = &self.problem.score;
        for (what, asked, parameter, there) in [
            ("dbias", self.dbias, "bias", score.bias.is_some()),
            ("dslopes", self.dslopes, "slopes", score.slopes.is_some()),
            ("dsinks", self.dsinks, "sinks", score.sinks.is_some()),
            ("dt5", self.dt5, "t5", score.t5.is_some()),
        ] {
            if asked && !there {
                return Err(Error::NoParameter { what, parameter });
            }
        }
        Ok(())
    }

    /// Gradients read q, k and v of one type.
    fn validate_elements(&self) -> Result<()> {
        let [q, k, v] = [&self.problem.q, &self.problem.k, &self.problem.v].map(|x| x.element);
        match q == k && k == v {
            true => Ok(()),
            false => Err(Error::Mixed { q, k, v }),
        }
    }
}
