//! Mutated config.json files: an error, or a rotation whose frequencies and tables are finite.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wgpu_attention::Error;
use wgpu_attention::problem::position::{Rotary, Side, Table};

use crate::bytes;
use crate::kind::{Done, Outcome};
use crate::support::drawn::Draw;

const PATIENCE: Duration = Duration::from_secs(2);
/// Configs of every kind, in both forms.
const GOLDEN: &str = include_str!("../../golden/rope.json");
/// Names that stand in some model's file.
const FIELDS: [&str; 24] = [
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "rotary_pct",
    "rotary_dim",
    "rotary_emb_base",
    "rope_local_base_freq",
    "global_rope_theta",
    "head_dim",
    "hidden_size",
    "num_attention_heads",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "model_type",
    "rope_type",
    "factor",
    "original_max_position_embeddings",
    "max_position_embeddings",
    "attention_factor",
    "short_factor",
    "low_freq_factor",
    "layer_types",
    "text_config",
];

pub fn case(seed: u64) -> Outcome {
    let mut draw = Draw::new(seed);
    let text = draw_text(&mut draw)?;
    let start = Instant::now();
    let read = match draw.one_in(3) {
        true => {
            let layer = draw.pick(&["full_attention", "sliding_attention", "x", ""]);
            Rotary::from_hf_layer(&text, layer)
        }
        false => Rotary::from_hf_config(&text),
    };
    let outcome = match read {
        Ok(rotary) => holds(&rotary),
        Err(error) => said(&error),
    };
    let took = start.elapsed();
    match outcome {
        Ok(_) if took > PATIENCE => Err(format!("reading took {took:?}\n{text}")),
        outcome => outcome.map_err(|e| format!("{e}\n{text}")),
    }
}

fn draw_text(draw: &mut Draw) -> Result<String, String> {
    let golden: Value = serde_json::from_str(GOLDEN).map_err(|e| e.to_string())?;
    let cases = golden["cases"].as_array().ok_or("no cases")?;
    let mut config = draw.pick(cases)[draw.pick(&["config_new", "config_old"])].clone();
    for _ in 0..draw.size(0, 3) {
        spoil(draw, &mut config);
    }
    let text = config.to_string();
    Ok(match draw.one_in(3) {
        true => bytes::text(draw, &text),
        false => text,
    })
}

/// Changes a field of an object, or of one inside of it.
fn spoil(draw: &mut Draw, config: &mut Value) {
    let Some(object) = config.as_object_mut() else {
        return;
    };
    let names: Vec<String> = object.keys().cloned().collect();
    let name = match draw.one_in(3) || names.is_empty() {
        true => draw.pick(&FIELDS).to_string(),
        false => draw.pick(&names),
    };
    if let Some(inner) = object.get_mut(&name).filter(|x| x.is_object())
        && draw.one_in(2)
    {
        return spoil(draw, inner);
    }
    match draw.one_in(4) {
        true => drop(object.remove(&name)),
        false => drop(object.insert(name, value(draw))),
    }
}

fn value(draw: &mut Draw) -> Value {
    let float = f64::from(draw.absurd_float());
    let types = [
        "llama",
        "gemma3",
        "llama4",
        "deepseek_v3",
        "gptj",
        "gpt_oss",
        "glm",
        "modernbert",
    ];
    match draw.size(0, 8) {
        0 => json!(draw.absurd()),
        1 => json!(draw.absurd_int()),
        2 => json!(float),
        3 => json!(draw.pick(&types)),
        4 => json!(draw.pick(&[
            "yarn", "llama3", "longrope", "linear", "dynamic", "default", "x"
        ])),
        5 => json!(vec![float; draw.size(0, 70) as usize]),
        6 => json!({ "rope_type": draw.pick(&["yarn", "linear", "llama3"]), "factor": float }),
        7 => draw.pick(&[Value::Null, json!(true), json!([]), json!({})]),
        _ => json!(draw.size(1, 20_000)),
    }
}

fn holds(rotary: &Rotary) -> Outcome {
    let length = 5000;
    let frequencies = match rotary.inv_freq(length) {
        Ok(frequencies) => frequencies,
        Err(error) => return said(&error),
    };
    if let Some(x) = frequencies.iter().find(|x| !x.is_finite()) {
        return Err(format!("a frequency is {x} for {rotary:?}"));
    }
    for x in [rotary.attention_factor(), rotary.softmax_factor()] {
        if !(x.is_finite() && x > 0.0) {
            return Err(format!("a factor is {x} for {rotary:?}"));
        }
    }
    match Table::new(rotary, -3..=40, length) {
        Ok(table) => finite(&table, rotary),
        Err(error) => said(&error),
    }
}

fn finite(table: &Table, rotary: &Rotary) -> Outcome {
    let numbers = table.entries(Side::Query).iter().flatten();
    match numbers.copied().find(|x| !x.is_finite()) {
        Some(x) => Err(format!("a table holds {x} for {rotary:?}")),
        None => Ok(Done::Held),
    }
}

fn said(error: &Error) -> Outcome {
    match error.to_string() {
        text if text.is_empty() || text.contains('\n') => Err(format!("an error says {text:?}")),
        _ => Ok(Done::Refused),
    }
}
