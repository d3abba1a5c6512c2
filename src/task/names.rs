//! Which tensors a task names: those that it computes with or writes, be there anything to compute or not.

use crate::problem::{
    Blocks, KvAddress, Lengths, MaskBits, ModData, Offsets, Positions, Prefix, Problem, Role,
    Score, Segments, Tree, Values,
};

use super::{Backward, Task};

impl Task {
    /// What it is, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Attention(_) => "the problem",
            Self::Merge(_) => "the merge",
            Self::Rotation(_) => "the rotation",
            Self::Embedding(_) => "the embedding",
            Self::KvAppend(_) => "the append",
            Self::Quantization(_) => "the quantization",
            Self::Backward(_) => "the backward pass",
            Self::Scan(_) => "the scan",
        }
    }

    /// True when a caller has a reason to give this tensor.
    pub(crate) fn names(&self, role: Role) -> bool {
        match self {
            Self::Attention(problem) => match role {
                Role::Q | Role::K | Role::V | Role::O | Role::Lse => true,
                Role::MaxScore => problem.max_score.is_some(),
                Role::MaxScorePerHead => problem.max_score.is_some_and(|asked| asked.per_head),
                role => problem.names(role),
            },
            Self::Backward(backward) => backward.names(role),
            Self::Merge(merge) => match role {
                Role::PartialO | Role::PartialLse | Role::O | Role::Lse => true,
                Role::Sinks => merge.sinks == Some(Values::Device),
                _ => false,
            },
            Self::Rotation(rotation) => match role {
                Role::Rows | Role::Rotated => true,
                Role::QPositions => rotation.positions == Positions::Device,
                _ => false,
            },
            Self::Embedding(embedding) => match role {
                Role::Table | Role::Embeddings => true,
                Role::QPositions => embedding.positions == Positions::Device,
                _ => false,
            },
            Self::KvAppend(append) => match role {
                Role::K | Role::V | Role::KCache | Role::VCache => true,
                Role::KvLens => append.kv_lens == Lengths::Device,
                Role::QOffset => append.q_offset == Offsets::Device,
                Role::CuSeqlensQ => append.problem().queries().on_device(),
                Role::PageTable => matches!(append.kv_address, KvAddress::Paged(_)),
                Role::Rotations => append.rows_given,
                _ => false,
            },
            Self::Quantization(_) => matches!(role, Role::Rows | Role::Stored),
            Self::Scan(scan) => match role {
                Role::BlockLists => true,
                Role::ModData => matches!(scan.mods.data, ModData::Device { .. }),
                Role::QOffset => scan.q_offset == Offsets::Device,
                _ => false,
            },
        }
    }
}

impl Backward {
    fn names(&self, role: Role) -> bool {
        match role {
            Role::Q | Role::K | Role::V | Role::O | Role::Lse => true,
            Role::DO | Role::DQ | Role::DK | Role::DV => true,
            Role::DLse => self.dlse,
            Role::DBias => self.dbias,
            Role::DSlopes => self.dslopes,
            Role::DSinks => self.dsinks,
            Role::DT5 => self.dt5,
            role => self.problem.names(role),
        }
    }
}

impl Problem {
    /// Of the tensors that only some problems have.
    fn names(&self, role: Role) -> bool {
        let (mask, position) = (&self.mask, &self.position);
        match role {
            Role::KvLens => mask.kv_lens == Lengths::Device,
            Role::QOffset => mask.q_offset == Offsets::Device,
            Role::CuSeqlensQ => self.queries().on_device(),
            Role::CuSeqlensK => self.keys().on_device(),
            Role::Prefix => mask.prefix == Prefix::Device,
            Role::SegmentsQ | Role::SegmentsK => mask.segments == Some(Segments::Device),
            Role::Mask => {
                let bits = mask.dense.as_ref().map(|dense| &dense.bits);
                bits == Some(&MaskBits::Device)
            }
            Role::Tree => mask.tree == Some(Tree::Device),
            Role::BlockLists => match &mask.blocks {
                Some(Blocks::Device(_)) => true,
                Some(Blocks::Select(select)) => select.written,
                Some(Blocks::Host(_)) | None => false,
            },
            Role::QPositions => position.q_positions == Positions::Device,
            Role::KPositions => position.k_positions == Positions::Device,
            Role::PageTable => matches!(self.kv_address, KvAddress::Paged(_)),
            Role::Rotations => position.rows_given,
            Role::ModData => {
                let data = self.mods.as_ref().map(|mods| &mods.data);
                matches!(data, Some(ModData::Device { .. }))
            }
            role => self.score.names(role),
        }
    }
}

impl Score {
    fn names(&self, role: Role) -> bool {
        match role {
            Role::Bias => self.bias.is_some(),
            Role::Slopes => self.slopes == Some(Values::Device),
            Role::Sinks => self.sinks == Some(Values::Device),
            Role::T5 => self
                .t5
                .as_ref()
                .is_some_and(|t5| t5.table == Values::Device),
            _ => false,
        }
    }
}
