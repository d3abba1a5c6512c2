//! What a config said, for people.

use serde_json::Value;

use super::fields::Fields;
use super::known::is_read;
use super::layers::Layers;
use crate::problem::position::Origin;

/// The fields that were read, in the order of their names: "rope_theta 10000, rope_scaling.factor 40".
pub fn of(parts: &[Fields], layers: &Layers, layer: Option<&str>) -> Origin {
    let stated = |fields: &Fields| -> Vec<String> {
        let read = (fields.object.iter()).filter(|(name, value)| is_read(name) && !value.is_null());
        let read = read.filter(|(_, value)| !value.is_object());
        read.map(|(name, value)| format!("{} {}", fields.name(name), short(value)))
            .collect()
    };
    let mut said: Vec<String> = parts.iter().flat_map(stated).collect();
    if let Some(rope) = layers.rope {
        let each = rope.object.iter().filter(|(_, value)| !value.is_null());
        said.extend(each.map(|(name, value)| format!("{} {}", rope.name(name), short(value))));
    }
    said.extend(layer.map(|layer| format!("layers of {layer}")));
    Origin(Some(said.join(", ")))
}

fn short(value: &Value) -> String {
    match value {
        Value::Array(list) if list.len() > 4 => format!("[{} values]", list.len()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
