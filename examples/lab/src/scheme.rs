//! What is done with positions beyond the trained context.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wgpu_attention::problem::position::{LongRope, RopeKind, Rotary, Yarn};
use wgpu_attention::problem::{Position, Score, Values, Window, alibi_slopes};
use wgpu_attention::{Element, Mask, Problem, Shape};

use crate::attention::{Gpu, attention};
use crate::model::{Attend, HEAD_DIM, HEADS, TRAINED};

/// The factor of dynamic NTK: the base is that of 2·T/L0 − 1, T being the call's length.
const DYNAMIC: f64 = 2.0;

/// How a model learned where its bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learned {
    Rope,
    Alibi,
}

impl Learned {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rope => "rope",
            Self::Alibi => "alibi",
        }
    }
}

/// Positions of a call, and what it sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// As it was trained.
    AsTrained(Learned),
    /// Position interpolation (arXiv 2306.15595).
    Linear,
    /// NTK-aware: a base for the length (arXiv 2309.00071, section 3.1).
    NtkAware,
    /// The same with a base that follows the length of each call, beyond what the length needs.
    DynamicNtk,
    /// YaRN (arXiv 2309.00071).
    Yarn,
    /// LongRoPE (arXiv 2402.13753) with these factors, one a pair.
    LongRope(Vec<f64>),
    /// As trained, over the first bytes and the last (arXiv 2309.17453): 4 and what the trained context leaves.
    SinksAndWindow(Learned),
    /// Slopes in proportion to the trained length over the call's.
    AlibiInterpolated,
}

impl Scheme {
    pub fn name(&self) -> &'static str {
        match self {
            Self::AsTrained(Learned::Rope) => "none",
            Self::AsTrained(Learned::Alibi) => "alibi",
            Self::Linear => "linear",
            Self::NtkAware => "ntk",
            Self::DynamicNtk => "dynamic-ntk",
            Self::Yarn => "yarn",
            Self::LongRope(_) => "longrope",
            Self::SinksAndWindow(Learned::Rope) => "sinks+window",
            Self::SinksAndWindow(Learned::Alibi) => "alibi sinks+window",
            Self::AlibiInterpolated => "alibi-interpolated",
        }
    }

    /// The model that it is for.
    pub fn learned(&self) -> Learned {
        match self {
            Self::AsTrained(learned) | Self::SinksAndWindow(learned) => *learned,
            Self::AlibiInterpolated => Learned::Alibi,
            _ => Learned::Rope,
        }
    }

    /// What a model that learned so is measured with.
    pub fn all(learned: Learned) -> Vec<Self> {
        match learned {
            Learned::Rope => vec![
                Self::AsTrained(learned),
                Self::Linear,
                Self::NtkAware,
                Self::DynamicNtk,
                Self::Yarn,
                Self::SinksAndWindow(learned),
            ],
            Learned::Alibi => vec![
                Self::AsTrained(learned),
                Self::AlibiInterpolated,
                Self::SinksAndWindow(learned),
            ],
        }
    }

    /// Attention of every layer, stretched as a context of `to` bytes needs it.
    pub fn attend<'a>(&'a self, gpu: &'a Arc<Gpu>, to: usize) -> Box<Attend<'a>> {
        Box::new(move |q, k, v| {
            let (batch, _, len, _) = q.dims4()?;
            Ok(attention(gpu, &self.problem(batch, len, to), q, k, v)?)
        })
    }

    /// Attention of `batch` sequences of `len` bytes, stretched as a context of `to` bytes needs it.
    pub fn problem(&self, batch: usize, len: usize, to: usize) -> Problem {
        let shape = Shape::square(batch as u32, HEADS as u32, len as u32, HEAD_DIM as u32);
        let factor = (to as f64 / TRAINED as f64).max(1.0);
        let problem = Problem::new(shape, Element::F32)
            .with_position(self.position(factor))
            .with_score(self.score(factor));
        problem.with_mask(self.mask())
    }

    fn position(&self, factor: f64) -> Position {
        if self.learned() == Learned::Alibi {
            return Position::default();
        }
        let original = TRAINED as u32;
        let kind = match self {
            Self::Linear => RopeKind::Linear { factor },
            Self::NtkAware => RopeKind::NtkAware { factor },
            Self::DynamicNtk => RopeKind::DynamicNtk {
                factor: DYNAMIC,
                original,
            },
            Self::Yarn => RopeKind::Yarn(Yarn::new(factor, original)),
            Self::LongRope(factors) if factor > 1.0 => RopeKind::LongRope(LongRope::new(
                vec![1.0; factors.len()],
                factors.clone(),
                factor,
                original,
            )),
            _ => RopeKind::Default,
        };
        Position::rotary(Rotary::new(HEAD_DIM as u32).with_kind(kind))
    }

    fn score(&self, factor: f64) -> Score {
        if self.learned() == Learned::Rope {
            return Score::default();
        }
        let factor = match self {
            Self::AlibiInterpolated => factor as f32,
            _ => 1.0,
        };
        let slopes = alibi_slopes(HEADS as u32).into_iter().map(|x| x / factor);
        Score::default().with_slopes(Values::Host(slopes.collect()))
    }

    fn mask(&self) -> Mask {
        let Self::SinksAndWindow(_) = self else {
            return Mask::causal();
        };
        let first = 4;
        Mask::causal()
            .with_window(Window {
                left: Some(TRAINED as u32 - first - 1),
                right: Some(0),
            })
            .with_first(first)
    }
}
