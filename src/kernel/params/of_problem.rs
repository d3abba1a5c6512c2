//! What a problem tells of itself to every kernel.

use crate::problem::Problem;

use super::{
    Documents, Intervals, NOTHING, Params, Place, Range, ScoreOf, Sequences, Sizes, UNBOUNDED, Work,
};

impl Params {
    /// What a problem says of itself; where its tensors lie and which part a step computes comes later.
    pub fn of(problem: &Problem) -> Self {
        let (shape, mask, slice) = (&problem.shape, &problem.mask, problem.slice());
        let side = |side: Option<u32>| side.map_or(UNBOUNDED, |n| n.min(UNBOUNDED));
        let (left, right) = mask.window.map_or((None, None), |w| (w.left, w.right));
        let softcap = problem.score.softcap.unwrap_or(1.0);
        Self {
            sizes: Sizes {
                batch: shape.batch,
                q_heads: shape.q_heads,
                group: shape.group(),
                q_len: shape.q_len,
                kv_len: shape.kv_len,
                head_dim: shape.head_dim,
                value_dim: shape.value_dim,
            },
            work: Work {
                heads: shape.q_heads,
                splits: 1,
                ..Work::default()
            },
            range: Range {
                q_begin: slice.q.start,
                q_end: slice.q.end,
                k_begin: slice.k.start,
                k_end: slice.k.end,
            },
            intervals: Intervals {
                causal: mask.ends_at_own().into(),
                window_left: side(left),
                window_right: side(right),
                // `first` is an exemption from the window: without one it does nothing.
                first: if mask.window.is_some() { mask.first } else { 0 },
                ..Intervals::default()
            },
            score: ScoreOf {
                scale: problem.scale(),
                softcap,
                softcap_inverse: 1.0 / softcap,
                ..ScoreOf::default()
            },
            sequences: Sequences {
                q_at: NOTHING,
                k_at: NOTHING,
                q_total: NOTHING,
                k_total: NOTHING,
                count: shape.batch,
                ..Sequences::default()
            },
            sinks: Place { at: NOTHING },
            documents: Documents {
                keys_at: NOTHING,
                queries_at: NOTHING,
                ..Documents::default()
            },
            ..Self::default()
        }
    }

    /// For kernels of rows, to which a sequence is nothing: all rows of a ragged side, of these sizes, as those of one batch.
    pub fn of_rows(self, is_ragged: bool, [batch, _, rows]: [u32; 3]) -> Self {
        if !is_ragged {
            return self;
        }
        self.with(|p| {
            p.sizes.batch = batch;
            p.sizes.q_len = rows;
            (p.range.q_begin, p.range.q_end) = (0, rows);
        })
    }

    /// Rows of queries that a step computes.
    pub fn rows(&self) -> u32 {
        self.range.q_end - self.range.q_begin
    }
}
