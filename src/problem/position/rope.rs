//! Rotary position embedding (RoPE, arXiv 2104.09864): which channels rotate together, and how fast.

use crate::error::{Error, Result};
use crate::problem::MAX_DIM;

use super::within::{check_attention_factor, check_fraction, check_within};
use super::{RopeKind, Temperature, XPos};

/// Which two channels of a head form pair i of a rotary dimension d.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RotaryLayout {
    /// Channels i and i + d/2 (GPT-NeoX, Llama in Hugging Face's form).
    #[default]
    Half,
    /// Channels 2i and 2i + 1 (the paper, GPT-J).
    Interleaved,
}

impl RotaryLayout {
    /// The channels of pair `i` of a rotary dimension `dim`.
    pub fn channels(self, i: u32, dim: u32) -> (u32, u32) {
        match self {
            Self::Half => (i, i + dim / 2),
            Self::Interleaved => (2 * i, 2 * i + 1),
        }
    }
}

/// How frequencies and angles are rounded on their way to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f64 up to the cosines and sines.
    #[default]
    Exact,
    /// Frequencies computed in f32 and the angle p·θ rounded to f32, as checkpoints were trained and evaluated.
    /// At position 131 071 the fast pairs are then about 1e-2 radians away from [`Precision::Exact`].
    AsTrained,
}

impl Precision {
    /// The value as this precision stores it. Rounding the f64 result of one operation on f32 values gives what f32
    /// arithmetic gives, so one formula serves both precisions.
    pub(super) fn round(self, x: f64) -> f64 {
        match self {
            Self::Exact => x,
            Self::AsTrained => f64::from(x as f32),
        }
    }
}

/// A rotation of q and k by their positions: pair i of a row at position p rotates by the angle p·θ_i.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rotary {
    /// D, the size of a row of q and k.
    pub head_dim: u32,
    /// The first channel that rotates: 0, or where the rotary channels are the last of a row (DeepSeek's latent
    /// attention) `head_dim − dim`.
    pub start: u32,
    /// d, the channels that rotate from `start` on (even, `start + dim` at most `head_dim`); the others pass unchanged.
    pub dim: u32,
    /// b, the base of the frequencies θ_i = b^(−2i/d).
    pub base: f64,
    /// How frequencies are scaled for longer contexts.
    pub kind: RopeKind,
    /// Which channels pair.
    pub layout: RotaryLayout,
    /// How angles are rounded.
    pub precision: Precision,
    /// xPos (2212.10554): a decay by distance.
    pub xpos: Option<XPos>,
    /// A factor on each query's scores, by its position.
    pub temperature: Option<Temperature>,
    /// What the config said, for explanations; no part of equality.
    pub origin: Origin,
}

setters! {
    Rotary {
        with_head_dim(head_dim: u32);
        with_start(start: u32);
        with_dim(dim: u32);
        with_base(base: f64);
        with_layout(layout: RotaryLayout);
        with_precision(precision: Precision);
        with_xpos(xpos?: XPos);
        with_temperature(temperature?: Temperature);
    }
}

impl Rotary {
    /// Plain RoPE over all channels, base 10 000.
    pub fn new(head_dim: u32) -> Self {
        Self {
            head_dim,
            start: 0,
            dim: head_dim,
            base: 10_000.0,
            kind: RopeKind::Default,
            layout: RotaryLayout::Half,
            precision: Precision::Exact,
            xpos: None,
            temperature: None,
            origin: Origin::default(),
        }
    }

    /// The same with another kind of frequencies.
    pub fn with_kind(self, kind: RopeKind) -> Self {
        Self { kind, ..self }
    }

    /// Partial rotary: the leading ⌊`fraction` · `head_dim`⌋ channels rotate.
    pub fn with_fraction(self, fraction: f64) -> Result<Self> {
        check_fraction(fraction)?;
        let dim = (f64::from(self.head_dim) * fraction) as u32;
        Ok(Self { dim, ..self })
    }

    /// The two channels of a row that pair `i` rotates.
    pub fn channels(&self, i: u32) -> (u32, u32) {
        let (first, second) = self.layout.channels(i, self.dim);
        (self.start + first, self.start + second)
    }

    /// d/2, the pairs that a table row holds.
    pub fn pairs(&self) -> u32 {
        self.dim / 2
    }

    /// θ_i for each pair, in radians per position, for a context of `length` tokens (which only
    /// [length-dependent](Self::depends_on_length) kinds look at).
    pub fn inv_freq(&self, length: u32) -> Result<Vec<f64>> {
        self.validate()?;
        Ok(self.kind.inv_freq(self, length))
    }

    /// m, the factor on both cosine and sine; it scales the product of q and k by m².
    pub fn attention_factor(&self) -> f64 {
        self.kind.attention_factor()
    }

    /// A factor that the model's own code puts on its softmax scale besides (DeepSeek's mscale²), 1 for most. No scheme
    /// changes the scale of a problem: state `softmax_factor / √D` there for the model's own answers.
    pub fn softmax_factor(&self) -> f64 {
        self.kind.softmax_factor()
    }

    /// True where a longer context rotates old positions differently: a cache then keeps its keys unrotated.
    pub fn depends_on_length(&self) -> bool {
        self.kind.depends_on_length()
    }

    /// Whether any pair rotates.
    pub(crate) fn rotates(&self) -> bool {
        self.kind != RopeKind::Nope
    }

    /// Checks every number that the host stated.
    pub fn validate(&self) -> Result<()> {
        if self.head_dim == 0 || self.head_dim > MAX_DIM {
            let allowed = format!("1 to {MAX_DIM}");
            return Err(Error::size("head_dim", self.head_dim, allowed));
        }
        self.validate_channels()?;
        let allowed = "a finite number above 1, at most 1e30";
        check_within("rope_theta", self.base, 1.0, MAX_BASE, allowed)?;
        self.kind.validate(self.dim)?;
        // What is computed of other numbers is held to the same.
        check_attention_factor(self.attention_factor())?;
        self.xpos.map_or(Ok(()), |xpos| xpos.validate())?;
        self.temperature.map_or(Ok(()), |t| t.validate())
    }

    fn validate_channels(&self) -> Result<()> {
        if !self.dim.is_multiple_of(2) || self.dim == 0 || self.dim > self.head_dim {
            let allowed = format!("an even number from 2 to head_dim = {}", self.head_dim);
            return Err(Error::size("rotary dimension", self.dim, allowed));
        }
        if self.start > self.head_dim - self.dim {
            let allowed = format!(
                "at most head_dim − rotary dimension = {}",
                self.head_dim - self.dim
            );
            return Err(Error::size("the first rotary channel", self.start, allowed));
        }
        Ok(())
    }
}

/// What a rotation was read from, for people. Plans tell it, and it is no part of the rotation: all origins are equal.
#[derive(Clone, Debug, Default)]
pub struct Origin(pub Option<String>);

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Largest base: its powers stay in f32, in which [`Precision::AsTrained`] computes them.
const MAX_BASE: f64 = 1e30;
