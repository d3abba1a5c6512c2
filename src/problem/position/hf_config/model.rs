//! The meaning of a config's fields: base, rotary channels, layout, temperature.

use super::agreed;
use super::families::Family;
use super::fields::{Fields, ORIGINAL};
use super::layers::{Kind, Layers, sliding_base};
use super::sizes::Head;
use crate::error::{Error, Result};
use crate::problem::position::{RopeKind, Rotary, RotaryLayout, Temperature};

/// Where fields are looked up.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    pub top: Fields<'a>,
    /// `attn_config`.
    pub attention: Option<Fields<'a>>,
    pub layers: Layers<'a>,
    pub family: Family<'a>,
    pub head: Head,
}

/// Names of the part of a head that rotates.
const FRACTIONS: &[&str] = &[
    "partial_rotary_factor",
    "rotary_pct",
    "rope_pct",
    "rotary_emb_fraction",
];

impl<'a> Model<'a> {
    pub fn rotary(self) -> Result<Rotary> {
        let rotary = Rotary {
            temperature: self.temperature()?,
            ..Rotary::new(self.head.dim)
        };
        if !self.layers.kind.rotates() {
            return Ok(rotary.with_kind(RopeKind::Nope));
        }
        let fraction = self.fraction()?;
        let rotary = Rotary {
            base: self.base()?,
            kind: self.kind(fraction.unwrap_or(1.0))?,
            layout: self.layout()?,
            ..rotary
        };
        let rotary = self.channels(rotary, fraction)?;
        rotary.validate()?;
        Ok(rotary)
    }

    fn base(self) -> Result<f64> {
        let default = self.family.base().unwrap_or(Rotary::new(1).base);
        let global = [
            (self.top, "rope_theta"),
            (self.top, "rotary_emb_base"),
            (self.top, "global_rope_theta"),
        ];
        let attention = self.attention.map(|fields| (fields, "rope_theta"));
        let rope = self.layers.rope.map(|rope| (rope, "rope_theta"));
        let of_model = global.into_iter().chain(attention);
        let base = match self.layers.kind {
            Kind::Local => {
                let local = ["rope_local_base_freq", "local_rope_theta"];
                let stated = agreed(local.map(|name| (self.top, name)), Fields::number)?;
                let global = agreed(of_model, Fields::number)?.unwrap_or(default);
                return Ok(stated.unwrap_or_else(|| sliding_base(self.family, global)));
            }
            // An entry's own base comes before the model's, which is that of other entries.
            Kind::Entry => match agreed(rope, Fields::number)? {
                Some(base) => Some(base),
                None => agreed(of_model, Fields::number)?,
            },
            _ => agreed(rope.into_iter().chain(of_model), Fields::number)?,
        };
        let ratio = self.top.number("rope_ratio")?.unwrap_or(1.0);
        Ok(ratio * base.unwrap_or(default))
    }

    fn layout(self) -> Result<RotaryLayout> {
        let names = ["rope_interleave", "rotary_emb_interleaved"];
        let stated = agreed(names.map(|name| (self.top, name)), Fields::flag)?;
        Ok(match stated.unwrap_or(self.family.is_interleaved()) {
            true => RotaryLayout::Interleaved,
            false => RotaryLayout::Half,
        })
    }

    /// The part of the head that rotates, where it is stated or the model type's.
    fn fraction(self) -> Result<Option<f64>> {
        let of_model = FRACTIONS.iter().map(|name| (self.top, *name));
        let rope = self.layers.rope.map(|rope| (rope, FRACTIONS[0]));
        let own = agreed(rope, Fields::number)?.filter(|_| self.layers.kind == Kind::Entry);
        let stated = match own {
            Some(fraction) => Some(fraction),
            None => agreed(rope.into_iter().chain(of_model), Fields::number)?,
        };
        let is_counted = self.head.tail.is_some() || self.top.get("rotary_dim").is_some();
        Ok(stated.or(self.family.fraction().filter(|_| !is_counted)))
    }

    /// Puts in which channels rotate: a part, a count, or the last ones.
    fn channels(self, rotary: Rotary, fraction: Option<f64>) -> Result<Rotary> {
        let whole = f64::from(rotary.head_dim);
        if let Some((start, dim)) = self.head.tail {
            // A fraction is of the whole head, or of the channels that rotate.
            self.check_fraction(fraction, &[whole, f64::from(dim)], "qk_rope_head_dim", dim)?;
            return Ok(Rotary {
                start,
                dim,
                ..rotary
            });
        }
        if let Some(dim) = self.top.count("rotary_dim")? {
            self.check_fraction(fraction, &[whole], "rotary_dim", dim)?;
            return Ok(Rotary { dim, ..rotary });
        }
        match fraction {
            // The proportional kind keeps the whole head and leaves the later pairs still.
            Some(fraction) if !matches!(rotary.kind, RopeKind::Proportional { .. }) => {
                rotary.with_fraction(fraction)
            }
            _ => Ok(rotary),
        }
    }

    /// Refuses a fraction that is none of `wholes` channels' when `name` says that `dim` rotate.
    fn check_fraction(
        self,
        fraction: Option<f64>,
        wholes: &[f64],
        name: &str,
        dim: u32,
    ) -> Result<()> {
        let Some(fraction) = fraction else {
            return Ok(());
        };
        let near = |whole: &f64| (fraction * whole - f64::from(dim)).abs() < 1e-3;
        if wholes.iter().any(near) {
            return Ok(());
        }
        Err(Error::ConfigField {
            field: FRACTIONS[0].into(),
            actual: fraction.to_string(),
            allowed: format!("what {name} says, {dim} channels; leave one of the two out"),
        })
    }

    /// Mistral's query temperature, or that of Llama 4's layers that do not rotate.
    fn temperature(self) -> Result<Option<Temperature>> {
        if self.layers.kind == Kind::Tempered {
            return Ok(Some(Temperature {
                scale: self.top.number("attn_scale")?.unwrap_or(0.1),
                floor: self.top.count("floor_scale")?.unwrap_or(8192),
                offset: 1,
            }));
        }
        let Some(scale) = self.either("llama_4_scaling_beta", Fields::number)? else {
            return Ok(None);
        };
        let floor = self.required(
            ORIGINAL,
            Fields::count,
            "the positions of one step of temperature",
        )?;
        Ok(Some(Temperature {
            scale,
            floor,
            offset: 0,
        }))
    }

    /// A field of the rope object, else of the model.
    pub fn either<T>(
        self,
        name: &str,
        read: impl Fn(&Fields<'a>, &str) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        match self.layers.rope {
            Some(rope) if rope.get(name).is_some() => read(&rope, name),
            _ => read(&self.top, name),
        }
    }

    pub fn required<T>(
        self,
        name: &str,
        read: impl Fn(&Fields<'a>, &str) -> Result<Option<T>>,
        meaning: &'static str,
    ) -> Result<T> {
        let fields = self.layers.rope.unwrap_or(self.top);
        self.either(name, read)?
            .ok_or_else(|| fields.missing(name, meaning))
    }
}
