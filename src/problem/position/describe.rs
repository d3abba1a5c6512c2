//! A rotation in words, for plans.

use std::fmt;

use super::{RopeKind, Rotary, RotaryLayout};

impl fmt::Display for RotaryLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Half => "half",
            Self::Interleaved => "interleaved",
        })
    }
}

/// "yarn, base 10000, factor 40, channels 128 to 191 of 192, interleaved layout", and what else is not 1.
impl fmt::Display for Rotary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.kind {
            RopeKind::Nope => write!(f, ", no channel rotates")?,
            RopeKind::Custom { .. } => self.channels_in_words(f)?,
            _ => {
                write!(f, ", base {}", self.base)?;
                if let Some(factor) = self.kind.factor() {
                    write!(f, ", factor {factor}")?;
                }
                self.channels_in_words(f)?;
            }
        }
        for (what, factor) in [
            ("attention factor", self.attention_factor()),
            ("softmax factor", self.softmax_factor()),
        ] {
            if factor != 1.0 {
                write!(f, ", {what} {factor:.6}")?;
            }
        }
        if let Some(xpos) = self.xpos {
            write!(f, ", xPos about {}", xpos.centre)?;
        }
        match self.temperature {
            Some(t) => write!(f, ", temperature {} per {} positions", t.scale, t.floor),
            None => Ok(()),
        }
    }
}

impl Rotary {
    /// What to say about a problem's scale where the model's own code puts [another factor](Self::softmax_factor) on it,
    /// which no position scheme does by itself; `None` where there is none, or the scale holds it.
    pub fn scale_hint(&self, scale: f32) -> Option<String> {
        let factor = self.softmax_factor();
        let own = factor / f64::from(self.head_dim).sqrt();
        let held = (f64::from(scale) / own - 1.0).abs() < 1e-3;
        (factor != 1.0 && !held).then(|| {
            format!(
                "the scale is {scale:.6}, but this model's own code multiplies 1/√{} by {factor:.6} \
                 (Rotary::softmax_factor): for its answers state a scale of {own:.8}",
                self.head_dim
            )
        })
    }

    fn channels_in_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = (self.start + self.dim).saturating_sub(1);
        let (start, of, layout) = (self.start, self.head_dim, self.layout);
        write!(f, ", channels {start} to {last} of {of}, {layout} layout")
    }
}
