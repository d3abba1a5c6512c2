//! The largest scores as outputs.

use crate::error::Result;

use super::{Element, Layout, Operand, Shape};

/// The largest score of each row, and of each head over all batches and rows of the call, as outputs beside o and lse:
/// what QK-clip asks for (Kimi K2, 2507.20534, section 2.1), and whoever watches logits grow.
///
/// The score is s of the crate's front page, in its natural unit: scaled, after softcap, bias, positions and `score_mod`,
/// of visible pairs only; a sink is none. It is exact, the maximum of the online softmax, whatever the splits. A fully
/// masked row has −∞, and a row that sees a score that is no number has NaN; a head has NaN where one of its rows has.
///
/// A call with a slice of the keys answers for these keys; of partials the largest is that of the whole. A backward pass
/// writes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MaxScore {
    /// Where the rows' lie, f32 `[B, Hq, Nq]` in the operand `max_score` ([`crate::Role::MaxScore`]): rows are single
    /// numbers, as lse's.
    pub layout: Layout,
    /// Whether the heads' are written too, f32 `[Hq]` in the operand `max_score_head` ([`crate::Role::MaxScorePerHead`]).
    pub per_head: bool,
}

setters! {
    MaxScore {
        with_layout(layout: Layout);
        with_per_head(per_head: bool);
    }
}

impl MaxScore {
    /// Contiguous `[B, Hq, Nq]`, of rows alone.
    pub fn rows(shape: &Shape) -> Self {
        Self {
            layout: Layout::heads_first(shape.q_heads, shape.q_len, 1),
            per_head: false,
        }
    }

    /// The rows' as a tensor of one channel.
    pub(crate) fn operand(&self) -> Operand {
        Operand::new(Element::F32, self.layout)
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        self.operand().validate("max_score", sizes, 1)?;
        self.operand().validate_output("max_score", sizes, 1)
    }
}
