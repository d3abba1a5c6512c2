//! Which rotation of a config is meant where its types of layers rotate differently.

use serde_json::{Map, Value};

use super::families::{Family, Sliding};
use super::fields::Fields;
use super::{FORMS, KNOWN};
use crate::error::{Error, Result};

/// The part of a model that a rotation is read for.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// `rope_parameters` or `rope_scaling`, or what stands in it for these layers.
    pub rope: Option<Fields<'a>>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Every layer that rotates.
    All,
    /// One entry of several in `rope_parameters`, before what the model says for all.
    Entry,
    /// Full attention, beside sliding attention with another base.
    Global,
    Local,
    /// Layers that do not rotate.
    Still,
    /// Such layers with Llama 4's temperature.
    Tempered,
}

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";
const CHUNKED: &str = "chunked_attention";

pub fn choose<'a>(top: Fields<'a>, family: Family, layer: Option<&str>) -> Result<Layers<'a>> {
    let rope = rope_object(top)?;
    if let Some(rope) = rope.filter(|rope| is_nested(rope.object)) {
        return entry(rope, layer);
    }
    if let Some(rope) = rope {
        rope.check_known(KNOWN)?;
    }
    let layered = family.sliding().is_some()
        || [
            "rope_local_base_freq",
            "global_rope_theta",
            "local_rope_theta",
        ]
        .iter()
        .any(|name| top.get(name).is_some());
    let tempered = family.is_tempered() || top.get("attn_temperature_tuning").is_some();
    let kind = match layer {
        Some(FULL) if layered => Kind::Global,
        Some(SLIDING) if layered => Kind::Local,
        _ if layered => return Err(unchosen(layer, &[FULL, SLIDING])),
        None => Kind::All,
        Some(CHUNKED) if tempered => Kind::All,
        Some(FULL) if tempered && switched_on(top) => Kind::Tempered,
        Some(FULL) if tempered => Kind::Still,
        Some(_) if tempered => return Err(unchosen(layer, &[CHUNKED, FULL])),
        Some(layer) => return Err(nothing_to_choose(top, layer)),
    };
    // What stretches a context is for full attention: a window sees no far positions.
    let rope = rope.filter(|_| kind != Kind::Local);
    Ok(Layers { rope, kind })
}

/// `attn_temperature_tuning` is a switch that older files write as a number; Llama 4's default is on.
fn switched_on(top: Fields) -> bool {
    match top.get("attn_temperature_tuning") {
        Some(Value::Bool(on)) => *on,
        Some(value) => value.as_f64() != Some(0.0),
        None => true,
    }
}

/// `rope_parameters`, or `rope_scaling`; both only where they say the same.
fn rope_object(top: Fields<'_>) -> Result<Option<Fields<'_>>> {
    let mut found = None;
    for (name, path) in FORMS {
        let Some(value) = top.get(name) else {
            continue;
        };
        let Some(object) = value.as_object() else {
            return Err(top.refuse(name, value, "an object"));
        };
        let fields = Fields { path, object };
        match found {
            None => found = Some(fields),
            Some(Fields { object: first, .. }) if same_rope(first, object) => {}
            Some(_) => {
                let allowed = "what rope_parameters says; leave one of the two out";
                return Err(top.refuse(name, value, allowed));
            }
        }
    }
    Ok(found)
}

/// Whether two objects describe one rotation; the second may leave base and fraction to the first.
fn same_rope(first: &Map<String, Value>, second: &Map<String, Value>) -> bool {
    let kind = |object: &Map<String, Value>| {
        let stated = object.get("rope_type").or_else(|| object.get("type"));
        stated.cloned().unwrap_or_else(|| "default".into())
    };
    let of_model = ["rope_theta", "partial_rotary_factor"];
    let same = |a: Option<&Value>, b: Option<&Value>| match (
        a.and_then(Value::as_f64),
        b.and_then(Value::as_f64),
    ) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    };
    let mut names = first.keys().chain(second.keys());
    kind(first) == kind(second)
        && names.all(|name| {
            matches!(&**name, "rope_type" | "type")
                || (of_model.contains(&&**name) && !second.contains_key(name))
                || same(first.get(name), second.get(name))
        })
}

/// Whether an object has one entry for each type of layer.
fn is_nested(object: &Map<String, Value>) -> bool {
    let entries = object.iter().all(|(name, value)| {
        value.is_object() || (value.is_null() && !KNOWN.contains(&name.as_str()))
    });
    !object.is_empty() && entries
}

fn entry<'a>(rope: Fields<'a>, layer: Option<&str>) -> Result<Layers<'a>> {
    let names: Vec<&str> = rope.object.keys().map(String::as_str).collect();
    match layer.and_then(|layer| rope.object.get(layer)) {
        None => Err(unchosen(layer, &names)),
        Some(Value::Object(object)) => {
            let rope = Fields { object, ..rope };
            rope.check_known(KNOWN)?;
            Ok(Layers {
                rope: Some(rope),
                kind: Kind::Entry,
            })
        }
        Some(_) => Ok(Layers {
            rope: None,
            kind: Kind::Still,
        }),
    }
}

fn unchosen(layer: Option<&str>, names: &[&str]) -> Error {
    Error::ConfigLayer {
        actual: layer.map(String::from),
        names: names.join(", "),
    }
}

fn nothing_to_choose(top: Fields, layer: &str) -> Error {
    let listed = top.get("layer_types").and_then(Value::as_array);
    let mut names: Vec<&str> = listed
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    Error::ConfigOneRotation {
        layer: layer.into(),
        names: match names.is_empty() {
            true => "all layers".into(),
            false => names.join(", "),
        },
    }
}

impl Kind {
    pub fn rotates(self) -> bool {
        !matches!(self, Self::Still | Self::Tempered)
    }
}

/// The base of sliding layers where the model's fields do not say it.
pub fn sliding_base(family: Family, global: f64) -> f64 {
    match family.sliding() {
        Some(Sliding::Base(base)) => base,
        Some(Sliding::Unscaled) | None => global,
    }
}
