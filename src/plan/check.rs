//! What values that live on the device may be: the host checks its own, these only a shader can see.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::error::Error;
use crate::kernel::{self, CHECK_RUN, Params, ROW_KERNEL_INVOCATIONS, Strides};
use crate::problem::{
    Element, Layout, MAX_LEN, MAX_POSITION, Magnitude, Operand, Positions, Problem, Role,
};
use crate::task::Task;

use super::limits::binding_limit;
use super::parts::{Axis, Lengths, Parts};
use super::view::{Rows, View};
use super::{Binding, OFFSET_ALIGNMENT, Plan, Slot, Step};

/// The words that an operand may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// `u32` from 0 to this.
    UpTo(u32),
    /// `i32`
    Within(RangeInclusive<i32>),
    /// f32, no NaN and of this magnitude at the most.
    Magnitude(f32),
    /// f32 that may be infinite, but not NaN.
    NotNan,
    /// `u32` of which the first is 0, and each is at least the one before and at most so much more.
    Rising(u32),
}

/// One operand that lives on the device, and what it may hold.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// Whose buffer.
    pub role: Role,
    /// The number of the first word that is looked at, in the whole operand.
    pub first: u32,
    /// Words that are looked at.
    pub words: u32,
    /// Where they lie, as f32 or whole numbers in rows of one.
    pub layout: Layout,
    /// Batches, heads and rows.
    pub sizes: [u32; 3],
    /// What each word may be.
    pub allowed: Allowed,
    /// The name used in messages.
    pub what: &'static str,
    /// How [`Allowed`] reads for a person, with the way out.
    pub says: String,
}

impl Plan {
    /// The operands whose values only the device knows, each once.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = Vec::new();
        for copy in &self.copies {
            if !checks.iter().any(|check| check.role == copy.role) {
                checks.extend(self.check_of(copy.role, copy.words));
                checks.extend(self.check_rising(copy.role, copy.words));
            }
        }
        // A pass over nothing reads no lse.
        let reads_lse = self.requirements.iter().any(|need| need.role == Role::Lse);
        if let Task::Backward(backward) = &self.task
            && reads_lse
        {
            checks.extend(self.lse_checks(&backward.problem));
        }
        checks
    }

    /// Of all rows, or where a binding does not hold lse, of as many as it holds.
    fn lse_checks(&self, problem: &Problem) -> Vec<Check> {
        let (sizes, layout) = (problem.q_sizes(), problem.lse);
        let bytes = problem.lse_operand().bytes(sizes, 1);
        let view = View::new(Slot::Operand(Role::Lse), 32, layout, (sizes, 1), bytes);
        let limit = binding_limit(&self.caps);
        let mut parts = Parts::of_rows_within(limit, &Rows::all(sizes));
        let span = |n: &Lengths| view.span(limit, [n.batches, n.heads, n.q], 1);
        // A part's rows are numbered one after the other, as those of the whole are.
        let axes = [Axis::Batches, Axis::Heads, Axis::Queries];
        // One number fits in any binding.
        let _ = parts.fit_by(Role::Lse.name(), (bytes, span), &axes);
        let check = |rows: Rows| {
            let [b, h, i] = [&rows.batches, &rows.heads, &rows.rows].map(|x| x.start);
            let skipped = layout.index(b, h, i) - layout.offset;
            Check {
                role: Role::Lse,
                first: (b * sizes[1] + h) * sizes[2] + i,
                words: rows.count() as u32,
                layout: layout.at(skipped),
                sizes: rows.sizes(),
                allowed: Allowed::NotNan,
                what: Role::Lse.name(),
                says: "what the forward call wrote; it was never run, or not for these rows".into(),
            }
        };
        parts.rows().into_iter().map(check).collect()
    }

    /// The problem whose operands are looked at; of an append what it has of one.
    fn attended(&self) -> Option<Cow<'_, Problem>> {
        match &self.task {
            Task::Attention(problem) => Some(Cow::Borrowed(problem)),
            Task::Backward(backward) => Some(Cow::Borrowed(&backward.problem)),
            Task::KvAppend(append) => Some(Cow::Owned(append.problem())),
            Task::Merge(_)
            | Task::Rotation(_)
            | Task::Embedding(_)
            | Task::Quantization(_)
            | Task::Scan(_) => None,
        }
    }

    /// Where sequences begin, one behind the other.
    fn check_rising(&self, role: Role, words: u32) -> Option<Check> {
        let problem = self.attended()?;
        let (most, of) = match role {
            Role::CuSeqlensQ => (problem.shape.q_len, "q_len"),
            Role::CuSeqlensK => (problem.shape.kv_len, "kv_len"),
            _ => return None,
        };
        let says = format!(
            "0 at first, then at least the number before it and at most {of} = {most} more, the tokens of a sequence"
        );
        Some(Check::of_words(role, words, Allowed::Rising(most), says))
    }

    fn check_of(&self, role: Role, words: u32) -> Option<Check> {
        let check = |allowed, says| Some(Check::of_words(role, words, allowed, says));
        let within = |range: RangeInclusive<i32>, of: &str| {
            let says = format!("{} to {}, {of}", range.start(), range.end());
            check(Allowed::Within(range), says)
        };
        let magnitude = |most: Magnitude| check(Allowed::Magnitude(most.most), most.says.into());
        if let Some(problem) = self.attended() {
            return match role {
                Role::KvLens => {
                    let most = problem.shape.kv_len;
                    check(Allowed::UpTo(most), format!("0 to kv_len = {most}"))
                }
                Role::CuSeqlensQ | Role::CuSeqlensK => {
                    let queries = role == Role::CuSeqlensQ;
                    let side = if queries {
                        problem.queries()
                    } else {
                        problem.keys()
                    };
                    let total = side.rows()[1];
                    check(
                        Allowed::UpTo(total),
                        format!("0 to {total}, the number of all tokens"),
                    )
                }
                Role::QOffset => {
                    let (range, of) = offsets(&problem);
                    within(range, of)
                }
                Role::QPositions | Role::KPositions => {
                    let (range, of) = positions(&problem);
                    within(range, of)
                }
                Role::Slopes => magnitude(Magnitude::SLOPE),
                Role::Sinks | Role::T5 => magnitude(Magnitude::SCORE),
                _ => None,
            };
        }
        match (role, &self.task) {
            (Role::QPositions, Task::Rotation(rotation)) => within(rotation.range.clone()?, STATED),
            (Role::QPositions, Task::Embedding(embedding)) => within(
                0..=i32::try_from(embedding.rows - 1).unwrap_or(i32::MAX),
                "the rows of the table",
            ),
            (Role::Sinks, _) => magnitude(Magnitude::SCORE),
            // Inputs and outputs may hold what they like, and what no such task copies needs no check.
            _ => None,
        }
    }
}

const STATED: &str = "the stated range; state a wider one";

/// The offsets that the shaders tell apart, and that keep default positions inside of the rotary table.
fn offsets(problem: &Problem) -> (RangeInclusive<i32>, &'static str) {
    let most = MAX_LEN as i32;
    let all = (-most..=most, "the offsets that shaders tell apart");
    let position = &problem.position;
    let by_index = position.q_positions == Positions::Index;
    match (&position.rotary, &position.range) {
        // Within a ring queries move down, however far a sequence goes.
        (Some(_), Some(range)) if by_index && !position.within_cache => {
            let last = problem.shape.q_len.saturating_sub(1) as i32;
            let end = range.end().saturating_sub(last).min(most);
            let of = "which keep every query inside of the stated range; state a wider one";
            ((*range.start()).max(-most)..=end, of)
        }
        _ => all,
    }
}

fn positions(problem: &Problem) -> (RangeInclusive<i32>, &'static str) {
    match (&problem.position.rotary, &problem.position.range) {
        (Some(_), Some(range)) => (range.clone(), STATED),
        _ => (
            -MAX_POSITION..=MAX_POSITION,
            "the positions that shaders tell apart",
        ),
    }
}

impl Allowed {
    /// The rule as the shader knows it: a word is fine when `(word & mask) − low ≤ span`, modulo 2³², `low` the word before
    /// where the fourth number is 1 (and the first word 0).
    pub fn rule(&self) -> [u32; 4] {
        const ALL: u32 = u32::MAX;
        const MAGNITUDE: u32 = u32::MAX >> 1;
        const INFINITY: u32 = f32::INFINITY.to_bits();
        match self {
            Self::UpTo(most) => [ALL, 0, *most, 0],
            Self::Within(range) => {
                let (start, end) = (*range.start(), *range.end());
                [ALL, start as u32, end.wrapping_sub(start) as u32, 0]
            }
            // Without their signs, f32 are in the order of their bits.
            Self::Magnitude(most) => [MAGNITUDE, 0, most.to_bits() & MAGNITUDE, 0],
            Self::NotNan => [MAGNITUDE, 0, INFINITY, 0],
            Self::Rising(most) => [ALL, 0, *most, 1],
        }
    }
}

impl Check {
    /// Of all words of a small operand.
    fn of_words(role: Role, words: u32, allowed: Allowed, says: String) -> Self {
        Self {
            role,
            first: 0,
            words,
            layout: Layout::heads_first(1, words, 1),
            sizes: [1, 1, words],
            allowed,
            what: role.name(),
            says,
        }
    }

    /// Invocations, each with a run of words of its own.
    fn runs(&self) -> u32 {
        self.words.div_ceil(CHECK_RUN)
    }

    /// Bytes of what the shader writes: index and word of the first that a run refuses.
    pub fn found_bytes(&self) -> u64 {
        u64::from(self.runs()) * 8
    }

    /// The dispatch: the operand's words, what is found, the rule.
    pub fn step(&self, most: u32) -> Step {
        let binding = |slot, offset, size| Binding { slot, offset, size };
        let operand = Operand::new(Element::F32, self.layout);
        let start = self.layout.offset * 4;
        let offset = start - start % OFFSET_ALIGNMENT;
        let size = operand.bytes(self.sizes, 1) - offset;
        let groups = self.runs().div_ceil(ROW_KERNEL_INVOCATIONS);
        let x = groups.min(most);
        Step {
            variant: kernel::Check.into(),
            bindings: vec![
                ("words", binding(Slot::Operand(self.role), offset, size)),
                ("found", binding(Slot::Scratch(0), 0, self.found_bytes())),
            ],
            params: Params::default().with(|p| {
                p.work.end = self.words;
                p.sizes.q_heads = self.sizes[1];
                p.sizes.q_len = self.sizes[2];
                p.x = Strides::of(&self.layout);
                p.x.start = ((start - offset) / 4) as u32;
            }),
            items: 0,
            grid: [x, groups.div_ceil(x.max(1)), 1],
            cost: super::Cost {
                read_bytes: u64::from(self.words) * 4,
                written_bytes: self.found_bytes(),
                ..super::Cost::default()
            },
        }
    }

    /// The refusal of a word.
    pub fn refuse(&self, index: u32, word: u32) -> Error {
        let (what, index) = (self.what, (self.first + index) as usize);
        let element = |actual: i64| Error::Element {
            what,
            index,
            actual,
            allowed: self.says.clone(),
        };
        match self.allowed {
            Allowed::UpTo(_) | Allowed::Rising(_) => element(word.into()),
            Allowed::Within(_) => element((word as i32).into()),
            Allowed::Magnitude(_) => {
                let most = match self.role {
                    Role::Slopes => Magnitude::SLOPE,
                    _ => Magnitude::SCORE,
                };
                Error::number_at(what, index, f32::from_bits(word), most.says)
            }
            Allowed::NotNan => Error::number_at(
                what,
                index,
                f32::from_bits(word),
                "numbers and infinities, as the forward call writes them; run it first",
            ),
        }
    }
}
