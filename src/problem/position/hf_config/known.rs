//! Which of a config's fields speak of positions: those that are read, those that say that nothing rotates, and the
//! rest, which are refused.

use serde_json::Value;

use super::families::Family;
use super::fields::Fields;
use crate::error::{Error, Result};

/// Fields beside `rope_scaling` and `rope_parameters` that are read, or do not change a rotation.
const READ: &[&str] = &[
    "alibi",
    "alibi_bias_max",
    "global_rope_theta",
    "local_rope_theta",
    "no_rope_layer_interval",
    "no_rope_layers",
    "original_rope",
    "partial_rotary_factor",
    "position_embedding_type",
    "position_encoding_2d",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "rope",
    "rope_interleave",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_pct",
    "rope_ratio",
    "rope_scaling",
    "rope_theta",
    "rotary_dim",
    "rotary_emb_base",
    "rotary_emb_fraction",
    "rotary_emb_interleaved",
    "rotary_pct",
    "rotary_value",
    "use_dynamic_ntk",
    "use_logn_attn",
];

/// Fields that are read and whose names do not speak of positions.
const SIZES: &[&str] = &[
    "attn_scale",
    "attn_temperature_tuning",
    "d_model",
    "floor_scale",
    "head_dim",
    "hidden_size",
    "kv_channels",
    "llama_4_scaling_beta",
    "max_position_embeddings",
    "model_type",
    "n_embd",
    "n_head",
    "n_heads",
    "num_attention_heads",
    "original_max_position_embeddings",
];

/// Switches that, turned on, do what no rotation here does, and what to do about each.
const REFUSED: &[(&str, &str)] = &[
    (
        "alibi",
        "false: this model has a bias by distance in place of a rotation (attend's --alibi)",
    ),
    (
        "use_dynamic_ntk",
        "false: up to seq_length tokens it changes nothing, and beyond them this model stretches its base in a way of its own",
    ),
    (
        "use_logn_attn",
        "false: up to seq_length tokens it changes nothing, and beyond them this model scales queries besides",
    ),
    ("rotary_value", "false: values are not rotated here"),
    (
        "position_encoding_2d",
        "false: one position per token rotates here",
    ),
];

/// Whether a field's name speaks of positions by the words that the field has for schemes.
pub fn says_position(name: &str) -> bool {
    let words = [
        "rope", "mrope", "nope", "rotary", "alibi", "xpos", "yarn", "ntk",
    ];
    let begins = [
        "rope",
        "rotary",
        "alibi",
        "position_embedding",
        "position_encoding",
    ];
    name.split('_').any(|word| words.contains(&word))
        || begins.iter().any(|start| name.starts_with(start))
}

/// Whether a field took part in a rotation, for its origin.
pub fn is_read(name: &str) -> bool {
    READ.contains(&name) || SIZES.contains(&name)
}

/// Refuses what speaks of positions and is not read, and what says that this model does not rotate.
pub fn check(fields: Fields, family: Family) -> Result<()> {
    for name in fields.object.keys() {
        let stated = fields.get(name).is_some();
        if stated && says_position(name) && !READ.contains(&name.as_str()) {
            return Err(Error::ConfigUnknown {
                field: fields.name(name),
                known: READ.join(", "),
            });
        }
    }
    for (name, allowed) in REFUSED {
        if fields.flag(name)? == Some(true) {
            return Err(fields.refuse(name, &Value::Bool(true), allowed));
        }
    }
    if fields.path == ATTENTION && fields.flag("rope")? == Some(false) {
        let allowed = "true: this model does not rotate, so leave the rotation out";
        return Err(fields.refuse("rope", &Value::Bool(false), allowed));
    }
    check_type(fields, family)
}

/// The path of `attn_config`, where DBRX and MPT say how they rotate.
pub const ATTENTION: &str = "attn_config.";

fn check_type(fields: Fields, family: Family) -> Result<()> {
    let name = "position_embedding_type";
    match fields.text(name)? {
        Some("rope" | "rotary") | None => Ok(()),
        Some(_) if family.always_rotates() => Ok(()),
        Some(other) => {
            let allowed = "rope or rotary: this model does not rotate, so leave the rotation out";
            Err(fields.refuse(name, &other.into(), allowed))
        }
    }
}

/// Refuses what a multimodal config says of positions beside its language model's part, unless that says the same.
pub fn check_beside(outer: Fields, inner: Fields) -> Result<()> {
    let differs = |name: &&String| {
        let stated = outer.get(name);
        stated.is_some() && says_position(name) && stated != inner.get(name)
    };
    match outer.object.keys().find(differs) {
        Some(name) => {
            let value = outer.get(name).unwrap_or(&Value::Null);
            let allowed = format!(
                "what {} says: it describes the language model",
                inner.name(name)
            );
            Err(outer.refuse(name, value, &allowed))
        }
        None => Ok(()),
    }
}
