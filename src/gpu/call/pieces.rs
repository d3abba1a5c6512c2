//! Recording some workgroups of a call's steps.

use std::ops::Range;

use crate::plan::{CopyOut, Piece};

use super::{Bound, Call};

impl Call {
    /// Records pieces that follow each other, in one pass. Parameters of pieces go to their place before and back after it, so
    /// that whatever is recorded next finds the call as it was prepared.
    pub(in crate::gpu) fn encode_pieces(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        pieces: &[Piece],
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return;
        };
        let is_whole = |piece: &Piece| {
            let all = self.plan.steps()[piece.step].workgroups();
            piece.workgroups == (0..all)
        };
        let cut = |piece: &&Piece| !is_whole(piece);
        if first.step == 0 && first.workgroups.start == 0 {
            self.encode_before(encoder);
        }
        self.encode_work(
            encoder,
            pieces.iter().filter(cut).map(|piece| {
                let (work, _) = self.plan.steps()[piece.step].piece(&piece.workgroups);
                (piece.step, work)
            }),
        );
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("attention"),
            timestamp_writes: timestamps,
        });
        for piece in pieces {
            let bound = &self.steps[piece.step];
            let grid = match is_whole(piece) {
                true => bound.grid,
                false => self.plan.steps()[piece.step].piece(&piece.workgroups).1,
            };
            bound.dispatch(&mut pass, grid);
        }
        drop(pass);
        self.encode_work(
            encoder,
            pieces.iter().filter(cut).map(|piece| {
                let work = &self.plan.steps()[piece.step].params.work;
                (piece.step, work.begin..work.end)
            }),
        );
        let is_finished = last.workgroups.end == self.plan.steps()[last.step].workgroups();
        let end = if is_finished {
            last.step + 1
        } else {
            last.step
        };
        self.encode_after(encoder, first.step..end);
    }

    /// Copies other work into the parameters of steps.
    fn encode_work(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        work: impl Iterator<Item = (usize, Range<u32>)>,
    ) {
        let Some(constants) = &self.constants else {
            return;
        };
        let run = |(step, work): (usize, Range<u32>)| {
            let at = self.steps[step].work_at?;
            Some((&constants.params, at, vec![work.start, work.end]))
        };
        let runs: Vec<_> = work.filter_map(run).collect();
        if !runs.is_empty() {
            self.staging.record(&self.device, encoder, &runs);
        }
    }

    /// What comes before the first step: values set since the call was prepared, and operands that are copied in.
    pub(super) fn encode_before(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_values(encoder);
        for (buffer, copy) in &self.copies {
            if copy.out.is_none() {
                copy.record(encoder, buffer, &self.aux);
            }
        }
    }

    /// The copies out that are due when these steps are recorded.
    pub(super) fn encode_after(&self, encoder: &mut wgpu::CommandEncoder, steps: Range<usize>) {
        for (buffer, copy) in &self.copies {
            let is_due = |out: CopyOut| steps.start < out.after && out.after <= steps.end;
            if copy.out.is_some_and(is_due) {
                copy.record(encoder, buffer, &self.aux);
            }
        }
    }
}

impl Bound {
    pub(super) fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, grid: [u32; 3]) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
    }
}
