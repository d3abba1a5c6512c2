//! The small operands of a plan: lengths, offsets, prefixes, where sequences begin, and what else is a few words per batch or
//! head. They lie in one binding, those of the device copied there.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{NOTHING, Params, Sequences};
use crate::plan::limits::{MOST_AUX_BYTES, SMALL_OPERANDS, check_iterations};
use crate::plan::{AuxCopy, CopyOut, Cost, HostAt, Requirement, Step};
use crate::problem::{
    CuSeqlens, Lengths, Mask, Offsets, Prefix, Problem, Role, Shape, Tokens, Values,
};

use super::PlanBuilder;

impl PlanBuilder<'_> {
    /// Adds words to the small operands; answers where they lie.
    pub fn push_aux(&mut self, words: impl IntoIterator<Item = u32>) -> Result<u32> {
        let (at, words) = (self.aux.len() as u32, words.into_iter());
        // Before there is room for them, as far as they tell how many they are.
        self.check_aux(words.size_hint().0 as u64)?;
        self.aux.extend(words);
        self.check_aux(0)?;
        Ok(at)
    }

    /// The same word for each batch.
    pub fn push_per_batch(&mut self, params: &Params, word: u32) -> Result<u32> {
        self.push_aux(std::iter::repeat_n(word, params.sizes.batch as usize))
    }

    /// The same word for each sequence of a ragged batch, or for each batch.
    pub fn push_sequence_words(&mut self, params: &Params, word: u32) -> Result<u32> {
        self.push_aux(std::iter::repeat_n(word, params.sequences.count as usize))
    }

    /// Refuses so many more words of small operands than one binding, or the host, has room for.
    fn check_aux(&self, more: u64) -> Result<()> {
        let bytes = (self.aux.len() as u64)
            .saturating_add(more)
            .saturating_mul(4);
        self.check_binding(SMALL_OPERANDS, bytes)?;
        if bytes > MOST_AUX_BYTES {
            return Err(Error::Limit {
                what: SMALL_OPERANDS,
                actual: bytes,
                limit: "bytes of them that a plan holds",
                allowed: MOST_AUX_BYTES,
                way_out: "split the call by batch or heads",
            });
        }
        Ok(())
    }

    /// Room for a device-resident operand among the small ones; the encoder copies it there.
    pub fn copy_aux(&mut self, role: Role, words: u64) -> Result<u32> {
        // No word has its room before all have.
        self.check_aux(words)?;
        let at = self.push_aux(std::iter::repeat_n(0, words as usize))?;
        let words = words as u32;
        self.copies.push(AuxCopy {
            role,
            at,
            words,
            out: None,
        });
        self.require_copy(role, words, false);
        Ok(at)
    }

    /// Lets the encoder copy small operands from `at` on to an output of `words`, after the steps so far: these `parts`
    /// of them.
    pub fn copy_out(
        &mut self,
        role: Role,
        at: u32,
        words: u32,
        parts: impl IntoIterator<Item = Range<u32>>,
    ) {
        let after = self.steps.len();
        self.copies.extend(parts.into_iter().map(|part| AuxCopy {
            role,
            at: at + part.start,
            words: part.end - part.start,
            out: Some(CopyOut {
                after,
                to: part.start,
            }),
        }));
        self.require_copy(role, words, true);
    }

    fn require_copy(&mut self, role: Role, words: u32, output: bool) {
        self.requirements.push(Requirement {
            role,
            bytes: u64::from(words) * 4,
            storage: false,
            output,
            start: 0,
            dense: true,
        });
    }

    /// Lengths, offsets and prefixes of every batch: always there, so that no variant depends on who knows them.
    pub fn push_lengths(&mut self, problem: &Problem, params: &mut Params) -> Result<()> {
        let shape = &problem.shape;
        let batches = 0..shape.batch;
        params.intervals.lens_at = match &problem.mask.kv_lens {
            Lengths::Device => self.copy_aux(Role::KvLens, shape.batch.into())?,
            lens => {
                let known = |b: u32| match lens {
                    Lengths::Host(lens) => lens[b as usize],
                    _ => shape.kv_len,
                };
                self.push_aux(batches.clone().map(known))?
            }
        };
        params.intervals.offsets_at = match &problem.mask.q_offset {
            Offsets::Device => self.copy_aux(Role::QOffset, shape.batch.into())?,
            // Those of sequences that only the device knows come of a step.
            offsets => {
                let bottom_right = shape.kv_len as i32 - shape.q_len as i32;
                let known = |b: u32| match offsets {
                    Offsets::Host(offsets) => offsets[b as usize] as u32,
                    _ => bottom_right as u32,
                };
                self.push_aux(batches.map(known))?
            }
        };
        self.host_at = HostAt {
            lens: matches!(problem.mask.kv_lens, Lengths::Host(_))
                .then_some(params.intervals.lens_at),
            offsets: matches!(problem.mask.q_offset, Offsets::Host(_))
                .then_some(params.intervals.offsets_at),
        };
        params.intervals.prefix_at = self.push_prefixes(&problem.mask, shape)?;
        self.push_sequences(problem, params)
    }

    /// Where the sequences of a ragged batch begin, and a step that finds what follows from it where only the device knows.
    fn push_sequences(&mut self, problem: &Problem, params: &mut Params) -> Result<()> {
        let (queries, keys) = (problem.queries(), problem.keys());
        params.sequences.q_at = self.push_starts(Role::CuSeqlensQ, queries)?;
        params.sequences.k_at = self.push_starts(Role::CuSeqlensK, keys)?;
        if !queries.on_device() && !keys.on_device() {
            return Ok(());
        }
        self.note(
            "cu_seqlens lie on the device; costs are those of sequences as long as they may be"
                .into(),
        );
        let total = |side: Tokens<'_>| side.starts.map_or(NOTHING, CuSeqlens::total);
        let bound_at = self.push_aux([problem.shape.batch])?;
        let params = params.with(|p| {
            p.sequences.q_total = total(queries);
            p.sequences.k_total = total(keys);
            p.bound.at = bound_at;
            if !keys.on_device() {
                p.intervals.lens_at = NOTHING;
            }
            if !problem.offsets_follow_on_device() {
                p.intervals.offsets_at = NOTHING;
            }
        });
        check_iterations(
            self.caps,
            "the sequences of a ragged batch",
            problem.shape.batch,
        )?;
        let bytes = u64::from(problem.shape.batch) * 4;
        self.push_step(Step {
            variant: Sequences.into(),
            bindings: vec![("small", self.nothing())],
            params,
            items: 0,
            grid: [1, 1, 1],
            cost: Cost {
                read_bytes: 2 * bytes,
                written_bytes: 4 * bytes,
                ..Cost::default()
            },
        })
    }

    fn push_starts(&mut self, role: Role, side: Tokens<'_>) -> Result<u32> {
        match side.starts {
            None => Ok(NOTHING),
            Some(CuSeqlens::Host(starts)) => self.push_aux(starts.iter().copied()),
            Some(CuSeqlens::Device { .. }) => self.copy_aux(role, u64::from(side.batch) + 1),
        }
    }

    fn push_prefixes(&mut self, mask: &Mask, shape: &Shape) -> Result<u32> {
        if mask.prefix != Prefix::Device || mask.tree.is_some() {
            return self.push_aux((0..shape.batch).map(|b| mask.prefix_of(b).unwrap_or_default()));
        }
        if mask.causal {
            self.note("prefixes lie on the device; costs are those without a causal mask".into());
        }
        self.copy_aux(Role::Prefix, shape.batch.into())
    }

    /// Numbers that either side may hold, among the small operands.
    pub fn push_values(&mut self, role: Role, values: &Values, count: u64) -> Result<u32> {
        match values {
            Values::Host(values) => self.push_aux(values.iter().map(|x| x.to_bits())),
            Values::Device => self.copy_aux(role, count),
        }
    }
}
