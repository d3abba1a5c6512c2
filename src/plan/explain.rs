//! The explanation of a plan for people.

use std::fmt;
use std::time::Duration;

use crate::problem::Position;
use crate::task::Task;

use super::budget::Budget;
use super::units::{Bytes, Counted, Flops, Time};
use super::{Plan, Step};

/// Slices that are counted for an explanation: some milliseconds.
const MOST_SLICES_COUNTED: u64 = 100_000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task(f)?;
        self.explain_rotation(f)?;
        let times = self.expected_times();
        for (n, (step, time)) in self.steps.iter().zip(&times).enumerate() {
            step.explain(n + 1, *time, f)?;
        }
        if self.steps.is_empty() {
            writeln!(f, "  nothing to compute")?;
        }
        let cost = self.cost();
        writeln!(
            f,
            "  in all: {} visited of {}, {}, {} read, {} written, {} beside the operands",
            cost.visited,
            Counted(cost.of, "tile"),
            Flops(cost.flops),
            Bytes(cost.read_bytes),
            Bytes(cost.written_bytes),
            Bytes(self.scratch_bytes()),
        )?;
        self.explain_slices(f)?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        for quirk in &self.caps.quirks {
            writeln!(f, "  known of this adapter: {quirk}")?;
        }
        for declined in &self.declined {
            writeln!(f, "  declined {}: {}", declined.path, declined.reason)?;
        }
        Ok(())
    }
}

impl Plan {
    /// How q and k rotate, and what the model's config said.
    fn explain_rotation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rotary, whose) = match &self.task {
            Task::Attention(problem) => {
                (problem.position.rotary.as_ref(), whose(&problem.position))
            }
            Task::Backward(backward) => {
                let position = &backward.problem.position;
                (position.rotary.as_ref(), whose(position))
            }
            Task::Rotation(rotation) => (Some(&rotation.rotary), "rotation"),
            Task::KvAppend(append) => (append.rotary.as_ref(), "rotation of k"),
            Task::Embedding(_) | Task::Quantization(_) | Task::Scan(_) | Task::Merge(_) => {
                return Ok(());
            }
        };
        let Some(rotary) = rotary else {
            return Ok(());
        };
        writeln!(f, "  {whose}: {rotary}")?;
        match &rotary.origin.0 {
            Some(said) => writeln!(f, "  config: {said}"),
            None => Ok(()),
        }
    }

    /// In how many submits of which time it is expected to run.
    fn explain_slices(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = self.options.within.unwrap_or(Budget::SUBMIT);
        let (mut slicer, pace) = self.supposed();
        let (mut count, mut longest) = (0, Duration::ZERO);
        while let Some(slice) = slicer.next(budget, &pace) {
            if count == MOST_SLICES_COUNTED {
                break;
            }
            count += 1;
            longest = longest.max(slice.expected);
        }
        let over = if slicer.is_done() { "" } else { "more than " };
        let all: Duration = self.expected_times().iter().sum();
        writeln!(
            f,
            "  expected, until this device is measured: {} in {over}{} of {} at the most, {budget} being allowed",
            Time(all.as_secs_f64()),
            Counted(count, "slice"),
            Time(longest.as_secs_f64()),
        )
    }

    fn task(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Task::Attention(problem) => {
                let s = &problem.shape;
                writeln!(
                    f,
                    "attention of q [{}, {}, {}, {}], k [.., {}, {}, {}], v [.., {}] on a {} adapter",
                    s.batch,
                    s.q_heads,
                    s.q_len,
                    s.head_dim,
                    s.kv_heads,
                    s.kv_len,
                    s.head_dim,
                    s.value_dim,
                    self.caps.class,
                )
            }
            Task::Backward(backward) => {
                let s = &backward.problem.shape;
                writeln!(
                    f,
                    "gradients of attention of q [{}, {}, {}, {}], k [.., {}, {}, {}], v [.., {}] on a {} adapter",
                    s.batch,
                    s.q_heads,
                    s.q_len,
                    s.head_dim,
                    s.kv_heads,
                    s.kv_len,
                    s.head_dim,
                    s.value_dim,
                    self.caps.class,
                )
            }
            Task::Embedding(e) => writeln!(
                f,
                "position table for embeddings [{}, {}, {}] on a {} adapter",
                e.batch, e.len, e.dim, self.caps.class,
            ),
            Task::KvAppend(append) => {
                let s = &append.shape;
                writeln!(
                    f,
                    "append of k [{}, {}, {}, {}], v [.., {}] on a {} adapter",
                    s.batch, s.kv_heads, s.q_len, s.head_dim, s.value_dim, self.caps.class,
                )
            }
            Task::Rotation(r) => writeln!(
                f,
                "rotation of rows [{}, {}, {}, {}] on a {} adapter",
                r.batch, r.heads, r.len, r.rotary.head_dim, self.caps.class,
            ),
            Task::Quantization(q) => writeln!(
                f,
                "rows [{}, {}, {}, {}] stored as {} on a {} adapter",
                q.batch, q.heads, q.len, q.dim, q.stored.element, self.caps.class,
            ),
            Task::Scan(s) => writeln!(
                f,
                "scan of {} x {} pairs, batch {}, {}, in blocks of {} on a {} adapter",
                s.grid.q_len,
                s.grid.kv_len,
                s.grid.batch,
                Counted(s.grid.heads.into(), "head"),
                s.grid.side,
                self.caps.class,
            ),
            Task::Merge(m) => writeln!(
                f,
                "merge of {} of o [{}, {}, {}, {}] on a {} adapter",
                Counted(m.parts.into(), "partial"),
                m.batch,
                m.heads,
                m.q_len,
                m.value_dim,
                self.caps.class,
            ),
        }
    }
}

fn whose(position: &Position) -> &'static str {
    match position.k_rotated {
        true => "rotation of q, k being rotated",
        false => "rotation of q and k",
    }
}

impl Step {
    /// What an invocation or a workgroup of the step's kernel owns: its tiles, where it visits some.
    pub fn tiles(&self) -> String {
        self.variant.kernel().owns()
    }

    /// The name of the step's strategy; empty for kernels that have but one.
    pub fn strategy(&self) -> String {
        self.variant
            .tiles()
            .map_or(String::new(), |tiles| tiles.strategy.to_string())
    }

    fn explain(&self, n: usize, time: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, _] = self.grid;
        let c = &self.cost;
        writeln!(f, "  {n}. {}: {}", self.variant, self.tiles())?;
        write!(
            f,
            "     {}",
            Counted(u64::from(x) * u64::from(y), "workgroup")
        )?;
        if c.of > 0 {
            let share = 100.0 * c.visited as f64 / c.of as f64;
            write!(
                f,
                ", {} visited of {} ({share:.1} %)",
                c.visited,
                Counted(c.of, "tile")
            )?;
        }
        writeln!(
            f,
            ", {}, {} read, {} written, {}",
            Flops(c.flops),
            Bytes(c.read_bytes),
            Bytes(c.written_bytes),
            Time(time.as_secs_f64())
        )
    }
}
