//! RoPE as a Hugging Face `config.json` states it: the old form (`rope_theta`, `rope_scaling`,
//! `partial_rotary_factor` beside each other, under the names that model families gave them) and the new
//! (`rope_parameters` holds all of them).
//!
//! A field that speaks of positions and is not read is an error, never ignored.

mod families;
mod fields;
mod kind;
mod known;
mod layers;
mod model;
mod origin;
mod sizes;

use serde_json::Value;

use self::families::Family;
use self::fields::Fields;
use self::model::Model;
use super::Rotary;
use crate::error::{Error, Result};

/// What may stand in `rope_scaling` or `rope_parameters`.
const KNOWN: &[&str] = &[
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "truncate",
    "mscale",
    "mscale_all_dim",
    "short_factor",
    "long_factor",
    "low_freq_factor",
    "high_freq_factor",
    "llama_4_scaling_beta",
    // Without effect on text: which pairs rotate by which of an image's positions, and a note on training.
    "mrope_section",
    "mrope_interleaved",
    "finetuned",
];

/// The objects that describe a rotation, by name and path, the new form first.
const FORMS: [(&str, &str); 2] = [
    ("rope_parameters", "rope_parameters."),
    ("rope_scaling", "rope_scaling."),
];

impl Rotary {
    /// Reads a model's `config.json`. Base, rotary channels and layout that it does not state are its `model_type`'s,
    /// where that is known, else 10 000, the whole head and the half layout.
    pub fn from_hf_config(json: &str) -> Result<Self> {
        read(json, None)
    }

    /// The same for a model whose types of layers rotate differently, such as "full_attention" and
    /// "sliding_attention". Layers that do not rotate have the kind [`Nope`](super::RopeKind::Nope).
    pub fn from_hf_layer(json: &str, layer: &str) -> Result<Self> {
        read(json, Some(layer))
    }
}

fn read(json: &str, layer: Option<&str>) -> Result<Rotary> {
    let refuse = |reason: String| Error::ConfigSyntax { reason };
    let value: Value = serde_json::from_str(json).map_err(|e| refuse(e.to_string()))?;
    let object = value
        .as_object()
        .ok_or_else(|| refuse("another value".into()))?;
    let whole = Fields { path: "", object };
    let top = text_model(whole);
    if top.path != whole.path {
        known::check_beside(whole, top)?;
    }
    let family = Family(match top.text("model_type")? {
        Some(name) => Some(name),
        None => whole.text("model_type")?,
    });
    let attention = top.get("attn_config").and_then(Value::as_object);
    let attention = attention.map(|object| Fields {
        path: known::ATTENTION,
        object,
    });
    for fields in [Some(top), attention].into_iter().flatten() {
        known::check(fields, family)?;
    }
    let layers = layers::choose(top, family, layer)?;
    let model = Model {
        top,
        attention,
        layers,
        family,
        head: sizes::head(top)?,
    };
    let parts: Vec<Fields> = [Some(top), attention].into_iter().flatten().collect();
    let origin = origin::of(&parts, &layers, layer);
    let rotary = model.rotary()?;
    Ok(Rotary { origin, ..rotary })
}

/// The part of a multimodal config that describes the language model.
fn text_model(config: Fields) -> Fields {
    match config.get("text_config").and_then(Value::as_object) {
        Some(object) if !sizes::states_sizes(config) => Fields {
            path: "text_config.",
            object,
        },
        _ => config,
    }
}

/// What several names for one number say; two that say different things are refused.
fn agreed<'a, T: PartialEq + std::fmt::Display>(
    candidates: impl IntoIterator<Item = (Fields<'a>, &'a str)>,
    read: impl Fn(&Fields<'a>, &str) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut first: Option<(String, T)> = None;
    for (fields, name) in candidates {
        let Some(value) = read(&fields, name)? else {
            continue;
        };
        match &first {
            Some((other, stated)) if *stated != value => {
                return Err(Error::ConfigField {
                    field: fields.name(name),
                    actual: value.to_string(),
                    allowed: format!("what {other} says, {stated}; leave one of the two out"),
                });
            }
            Some(_) => {}
            None => first = Some((fields.name(name), value)),
        }
    }
    Ok(first.map(|(_, value)| value))
}
