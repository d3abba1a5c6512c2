//! RoPE as a Hugging Face `config.json` states it: the old form (`rope_theta`, `rope_scaling`,
//! `partial_rotary_factor` beside each other) and the new (`rope_parameters` holds all of them).

mod fields;
mod model;

use serde_json::Value;

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
    // Without effect on text: which pairs turn with which of an image's positions, and a note on training.
    "mrope_section",
    "mrope_interleaved",
    "finetuned",
];

impl Rotary {
    /// Reads a model's `config.json`. Channels are paired in the half layout, as Hugging Face's checkpoints are.
    pub fn from_hf_config(json: &str) -> Result<Self> {
        read(json, None)
    }

    /// The same for a model whose `rope_parameters` has one entry for each type of layer, such as "full_attention".
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
    let top = text_model(Fields { path: "", object });
    let rope = rope_fields(top, layer)?;
    Model { top, rope }.rotary()
}

/// The part of a multimodal config that describes the language model.
fn text_model(config: Fields) -> Fields {
    match config.get("text_config").and_then(Value::as_object) {
        Some(object) if config.get("hidden_size").is_none() => Fields {
            path: "text_config.",
            object,
        },
        _ => config,
    }
}

/// `rope_parameters`, or `rope_scaling`, or that part of it which describes `layer`.
fn rope_fields<'a>(model: Fields<'a>, layer: Option<&str>) -> Result<Option<Fields<'a>>> {
    let forms = [
        ("rope_parameters", "rope_parameters."),
        ("rope_scaling", "rope_scaling."),
    ];
    let Some((name, path)) = forms
        .into_iter()
        .find(|(name, _)| model.get(name).is_some())
    else {
        return Ok(None);
    };
    let value = model.get(name).unwrap_or(&Value::Null);
    let Some(object) = value.as_object() else {
        return Err(model.refuse(name, value, "an object"));
    };
    let fields = Fields { path, object };
    let per_layer = !object.is_empty() && object.values().all(Value::is_object);
    if per_layer {
        one_layer(fields, layer).map(Some)
    } else {
        fields.check_known(KNOWN)?;
        Ok(Some(fields))
    }
}

fn one_layer<'a>(fields: Fields<'a>, layer: Option<&str>) -> Result<Fields<'a>> {
    let layers: Vec<&str> = fields.object.keys().map(String::as_str).collect();
    let found = layer.and_then(|layer| fields.get(layer)?.as_object());
    let Some(object) = found else {
        return Err(Error::ConfigField {
            field: fields.path.trim_end_matches('.').into(),
            actual: layer.map_or("given by layer".into(), |layer| format!("without {layer}")),
            allowed: format!(
                "a choice of one layer type (Rotary::from_hf_layer, attend's --rope-layer): {}",
                layers.join(", ")
            ),
        });
    };
    let fields = Fields { object, ..fields };
    fields.check_known(KNOWN)?;
    Ok(fields)
}
