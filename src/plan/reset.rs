//! Lengths and offsets that a prepared call may be given in place of the plan's: those under which no step takes longer
//! than it was planned to, and whose rotary table and lists are the plan's.

use crate::error::{Error, Result};
use crate::problem::{Blocks, Lengths, MAX_LEN, Mask, Offsets, Positions, Problem, check_scale};
use crate::task::{KvAppend, Task};

use super::Plan;

const LENS_WAY_OUT: &str = "what the plan was made for; plan with the largest lengths to come, or hold them on the \
                            device (Lengths::Device)";
const OFFSETS_WAY_OUT: &str =
    "plan with the offsets that show most, or hold them on the device (Offsets::Device)";

impl Plan {
    fn masked(&self) -> Option<&Problem> {
        match &self.task {
            Task::Attention(problem) => Some(problem),
            Task::Backward(backward) => Some(&backward.problem),
            Task::Merge(_)
            | Task::Rotation(_)
            | Task::Embedding(_)
            | Task::KvAppend(_)
            | Task::Quantization(_)
            | Task::Scan(_) => None,
        }
    }

    /// Refuses lengths that the plan does not hold on the host, or that show more than it was made for. Of a ring shorter ones,
    /// and offsets that are no less than the plan's, show nothing that it has lost.
    pub(crate) fn check_kv_lens(&self, lens: &[u32]) -> Result<()> {
        if let Task::KvAppend(append) = &self.task {
            return check_lens_of_append(append, lens);
        }
        let planned = self.masked().map(|problem| &problem.mask.kv_lens);
        let Some(Lengths::Host(planned)) = planned else {
            return Err(Error::NotHostHeld { what: "kv_lens" });
        };
        Error::check_count("kv_lens", lens.len(), planned.len())?;
        let least = self.masked().map_or(0, |problem| problem.shared_prefix);
        let refused = |(len, most): (&u32, &u32)| len > most || *len < least;
        match lens.iter().zip(planned).position(refused) {
            None => Ok(()),
            Some(index) => Err(Error::Element {
                what: "kv_lens",
                index,
                actual: lens[index].into(),
                allowed: format!("{least} to {}, {LENS_WAY_OUT}", planned[index]),
            }),
        }
    }

    /// Refuses a scale that a problem may not have, and one of nothing.
    pub(crate) fn check_scale(&self, scale: f32) -> Result<()> {
        match self.masked() {
            Some(_) => check_scale(scale),
            None => Err(Error::NotHostHeld { what: "scale" }),
        }
    }

    /// Refuses offsets that the plan does not hold on the host, that show more than it was made for, or that move
    /// positions and choices which it has fixed.
    pub(crate) fn check_q_offset(&self, offsets: &[i32]) -> Result<()> {
        if let Task::KvAppend(append) = &self.task {
            return check_offsets_of_append(append, offsets);
        }
        let Some(problem) = self.masked() else {
            return Err(Error::NotHostHeld { what: "q_offset" });
        };
        let Offsets::Host(planned) = &problem.mask.q_offset else {
            return Err(Error::NotHostHeld { what: "q_offset" });
        };
        Error::check_count("q_offset", offsets.len(), planned.len())?;
        for (index, (&actual, &planned)) in offsets.iter().zip(planned).enumerate() {
            let (least, most) = allowed_offsets(problem, planned);
            if actual < least || actual > most {
                return Err(Error::Element {
                    what: "q_offset",
                    index,
                    actual: actual.into(),
                    allowed: format!("{least} to {most}; {OFFSETS_WAY_OUT}"),
                });
            }
        }
        Ok(())
    }
}

/// An append writes as many rows whatever the lengths are.
fn check_lens_of_append(append: &KvAppend, lens: &[u32]) -> Result<()> {
    let Lengths::Host(planned) = &append.kv_lens else {
        return Err(Error::NotHostHeld { what: "kv_lens" });
    };
    Error::check_count("kv_lens", lens.len(), planned.len())?;
    let most = append.shape.kv_len;
    match lens.iter().position(|&len| len > most) {
        None => Ok(()),
        Some(index) => Err(Error::Element {
            what: "kv_lens",
            index,
            actual: lens[index].into(),
            allowed: format!("0 to kv_len = {most}"),
        }),
    }
}

/// It goes anywhere, but for keys that a table of the plan's rotates.
fn check_offsets_of_append(append: &KvAppend, offsets: &[i32]) -> Result<()> {
    let Offsets::Host(planned) = &append.q_offset else {
        return Err(Error::NotHostHeld { what: "q_offset" });
    };
    Error::check_count("q_offset", offsets.len(), planned.len())?;
    let all = MAX_LEN as i32;
    let last = append.shape.q_len.saturating_sub(1) as i32;
    for (index, (&actual, &planned)) in offsets.iter().zip(planned).enumerate() {
        let (least, most) = match &append.range {
            _ if !append.rotates() || append.rows_given => (-all, all),
            Some(range) => {
                let end = range.end().saturating_sub(last);
                ((*range.start()).max(-all), end.min(all))
            }
            None => (planned, planned),
        };
        if actual < least || actual > most {
            return Err(Error::Element {
                what: "q_offset",
                index,
                actual: actual.into(),
                allowed: format!(
                    "{least} to {most}, where keys have rotary rows; state a wider KvAppend::range"
                ),
            });
        }
    }
    Ok(())
}

fn allowed_offsets(problem: &Problem, planned: i32) -> (i32, i32) {
    let position = &problem.position;
    // The table's rows and the least number of chosen blocks go by the plan's own offsets.
    let rotates = position.rotary.is_some() && position.q_positions == Positions::Index;
    let selects = matches!(problem.mask.blocks, Some(Blocks::Select(_)));
    if rotates || selects {
        return (planned, planned);
    }
    let all = MAX_LEN as i32;
    // Beyond the keys that all queries are to see.
    let floor = match (problem.shared_prefix as i32, &problem.mask) {
        (0, _) => -all,
        (shared, mask) if mask.tree.is_some() => shared,
        (shared, mask) if mask.causal => shared - 1 - problem.slice().q.start as i32,
        _ => -all,
    };
    let (grows_down, grows_up) = growth(&problem.mask);
    let least = if grows_down { planned } else { floor };
    let most = if grows_up { planned } else { all };
    (least, most)
}

/// Whether a smaller offset, and whether a larger one, shows a query more keys.
fn growth(mask: &Mask) -> (bool, bool) {
    let window = mask.window.unwrap_or(crate::problem::Window {
        left: None,
        right: None,
    });
    let ends = mask.ends_at_own() || window.right.is_some();
    let begins = window.left.is_some();
    // Between two ends as many keys are visible wherever they lie, but at the edges: there the plan's count may be less.
    (begins, ends)
}
