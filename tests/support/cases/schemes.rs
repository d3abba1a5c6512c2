//! Biases and position schemes, put on any case.

use wgpu_attention::problem::position::{Rotary, RotaryLayout, Temperature};
use wgpu_attention::problem::{Layout, Positions, Shape, T5, T5Bias, Values, alibi_slopes};

use super::Case;
use crate::support::tensor::normal;

/// What a case gets beside its mask. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scheme {
    /// One for all batches.
    pub bias: bool,
    pub alibi: bool,
    pub t5: bool,
    pub sinks: bool,
    pub rotary: Option<RotaryLayout>,
    pub temperature: bool,
    /// Positions given a token, some of them negative.
    pub positions: bool,
}

/// Positions by index beyond these are left out: a score of that size says nothing.
const FAR: i32 = 2000;

impl Case {
    /// The case under `scheme`; `None` where its positions are not known to the host, or far out.
    pub fn under(mut self, scheme: &Scheme) -> Option<Self> {
        let s = self.problem.shape;
        let p = &mut self.problem;
        if scheme.positions {
            p.position.q_positions =
                Positions::Host((0..s.batch * s.q_len).map(|n| 3 * n as i32 - 40).collect());
            p.position.k_positions =
                Positions::Host((0..s.batch * s.kv_len).map(|n| 2 * n as i32 - 25).collect());
        }
        p.position.rotary = scheme
            .rotary
            .map(|layout| rotary(&s, layout, scheme.temperature));
        p.score.slopes = scheme.alibi.then(|| Values::Host(alibi_slopes(s.q_heads)));
        p.score.t5 = scheme.t5.then(|| t5(s.q_heads));
        p.score.sinks = scheme.sinks.then(|| values(11, s.q_heads));
        if scheme.bias {
            p.score.bias = Some(Layout {
                batch: 0,
                ..Layout::heads_first(s.q_heads, s.q_len, s.kv_len)
            });
        }
        let looks = scheme.alibi || scheme.t5 || scheme.rotary.is_some();
        let range = self.problem.position.known_range(&s, &self.problem.mask);
        let near = range.is_some_and(|range| *range.start() > -FAR && *range.end() < FAR);
        (near || !looks).then_some(self)
    }
}

/// All channels but a ragged end turn.
fn rotary(shape: &Shape, layout: RotaryLayout, temperature: bool) -> Rotary {
    Rotary {
        dim: shape.head_dim / 8 * 8,
        layout,
        temperature: temperature.then_some(Temperature {
            scale: 0.1,
            floor: 16,
            offset: 1,
        }),
        ..Rotary::new(shape.head_dim)
    }
}

fn t5(heads: u32) -> T5Bias {
    let buckets = T5 {
        buckets: 16,
        distance: 50,
        bidirectional: true,
    };
    T5Bias {
        buckets,
        table: values(13, 16 * heads),
    }
}

fn values(seed: u64, len: u32) -> Values {
    Values::Host(
        normal(seed, len as usize)
            .into_iter()
            .map(|x| x as f32)
            .collect(),
    )
}
