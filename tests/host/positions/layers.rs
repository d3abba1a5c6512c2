//! Configurations whose types of layers rotate differently.

use super::*;

const GEMMA3: &str = r#"{"head_dim": 64, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0}}"#;
const MODERNBERT: &str = r#"{"head_dim": 64, "model_type": "modernbert", "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0, "position_embedding_type": "absolute"}"#;

fn layer(json: &str, layer: &str) -> Rotary {
    Rotary::from_hf_layer(json, layer).unwrap_or_else(|e| panic!("{json}, {layer}: {e}"))
}

#[track_caller]
fn refused(result: Result<Rotary, Error>, words: &str) {
    let message = result.expect_err(words).to_string();
    for word in words.split('|') {
        assert!(message.contains(word), "{message} lacks {word}");
    }
}

/// What stretches a context is for full attention only.
#[test]
fn two_bases_in_the_old_form() {
    let linear = RopeKind::Linear { factor: 8.0 };
    for (json, full, kind) in [(GEMMA3, 1e6, linear), (MODERNBERT, 16e4, RopeKind::Default)] {
        let rotary = layer(json, "full_attention");
        assert_eq!((rotary.base, rotary.kind), (full, kind));
        let rotary = layer(json, "sliding_attention");
        assert_eq!((rotary.base, rotary.kind), (1e4, RopeKind::Default));
        refused(
            Rotary::from_hf_config(json),
            "full_attention, sliding_attention|--rope-layer",
        );
        refused(
            Rotary::from_hf_layer(json, "other"),
            "other|full_attention, sliding_attention",
        );
    }
}

/// Types whose files leave bases out, and one whose sliding layers differ by the stretch alone.
#[test]
fn layers_of_a_model_type() {
    for (kind, full) in [("gemma3_text", 1e6), ("gemma3", 1e6), ("modernbert", 16e4)] {
        let json = format!(r#"{{"model_type": "{kind}", "head_dim": 64}}"#);
        assert_eq!(layer(&json, "full_attention").base, full);
        assert_eq!(layer(&json, "sliding_attention").base, 1e4);
        assert!(Rotary::from_hf_config(&json).is_err());
    }
    let olmo3 = r#"{"model_type": "olmo3", "head_dim": 64, "rope_theta": 4e5, "max_position_embeddings": 65536,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192}}"#;
    let (full, sliding) = (
        layer(olmo3, "full_attention"),
        layer(olmo3, "sliding_attention"),
    );
    assert_eq!((full.base, full.kind.name()), (4e5, "yarn"));
    assert_eq!((sliding.base, sliding.kind), (4e5, RopeKind::Default));
}

#[test]
fn an_entry_that_is_null_does_not_rotate() {
    let json = r#"{"head_dim": 64, "rope_parameters": {"full_attention": null,
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}}"#;
    let still = layer(json, "full_attention");
    assert_eq!(still.kind, RopeKind::Nope);
    assert!(still.inv_freq(1).unwrap().iter().all(|&theta| theta == 0.0));
    assert_eq!(layer(json, "sliding_attention").base, 500.0);
    refused(
        Rotary::from_hf_config(json),
        "full_attention, sliding_attention",
    );
    // Fields that are null are none, and no types of layers.
    let nulls = r#"{"head_dim": 64, "rope_parameters": {"rope_type": null, "factor": null}}"#;
    assert_eq!(Rotary::from_hf_config(nulls), Ok(Rotary::new(64)));
}

/// The model's own base is for entries that have none.
#[test]
fn an_entry_comes_before_the_model() {
    let json = r#"{"head_dim": 64, "rope_theta": 1e6, "rope_parameters": {"full_attention": {"rope_type": "default"},
        "sliding_attention": {"rope_theta": 500.0, "partial_rotary_factor": 0.5}}}"#;
    assert_eq!(layer(json, "full_attention").base, 1e6);
    let sliding = layer(json, "sliding_attention");
    assert_eq!((sliding.base, sliding.dim), (500.0, 32));
}

#[test]
fn nothing_to_choose() {
    let one = r#"{"head_dim": 64, "layer_types": ["sliding_attention", "full_attention", "full_attention"]}"#;
    refused(
        Rotary::from_hf_layer(one, "full_attention"),
        "full_attention, sliding_attention|no layer type full_attention to choose|leave",
    );
    refused(
        Rotary::from_hf_layer(r#"{"head_dim": 64}"#, "x"),
        "all layers|layer type x",
    );
}

/// Llama 4's temperature is of the layers that do not rotate, and of them alone.
#[test]
fn llama4_rotates_or_has_a_temperature() {
    let json = r#"{"model_type": "llama4_text", "head_dim": 128, "rope_theta": 500000.0, "floor_scale": 8192,
        "attn_scale": 0.2, "attn_temperature_tuning": 4, "no_rope_layers": [1, 1, 1, 0]}"#;
    for rotary in [
        Rotary::from_hf_config(json).unwrap(),
        layer(json, "chunked_attention"),
    ] {
        assert_eq!((rotary.base, rotary.temperature), (5e5, None));
        assert_eq!(rotary.layout, RotaryLayout::Interleaved);
    }
    let temperature = Temperature::new(0.2, 8192).with_offset(1);
    let still = layer(json, "full_attention");
    assert_eq!(
        (still.kind, still.temperature),
        (RopeKind::Nope, Some(temperature))
    );
    let off = json.replace(
        "\"attn_temperature_tuning\": 4",
        "\"attn_temperature_tuning\": false",
    );
    assert_eq!(layer(&off, "full_attention").temperature, None);
    refused(
        Rotary::from_hf_layer(json, "x"),
        "chunked_attention, full_attention",
    );
}
