//! Published models' configurations under the names that their families gave to fields, and what a type's name means.

use super::*;

fn read(json: &str) -> Rotary {
    Rotary::from_hf_config(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

/// Base, first rotary channel, rotary channels, of how many, and the layout.
#[track_caller]
fn assert_rotary(json: &str, base: f64, [start, dim, head_dim]: [u32; 3], layout: RotaryLayout) {
    let rotary = read(json);
    let got = (rotary.base, rotary.start, rotary.dim, rotary.head_dim);
    assert_eq!(got, (base, start, dim, head_dim), "{json}");
    assert_eq!(rotary.layout, layout, "{json}");
}

use RotaryLayout::{Half, Interleaved};

#[test]
fn pythia_and_what_came_of_it() {
    let sizes = r#""hidden_size": 512, "num_attention_heads": 8"#;
    let with = |more: &str| format!("{{{sizes}{more}}}");
    let own = r#", "rotary_pct": 0.5, "rotary_emb_base": 100"#;
    assert_rotary(&with(own), 100.0, [0, 32, 64], Half);
    let default = r#", "model_type": "gpt_neox""#;
    assert_rotary(&with(default), 1e4, [0, 16, 64], Half);
    let stablelm = r#", "rope_pct": 0.25, "rope_theta": 10000"#;
    assert_rotary(&with(stablelm), 1e4, [0, 16, 64], Half);
    let minimax = r#", "head_dim": 128, "rotary_dim": 64, "rope_theta": 5000000"#;
    assert_rotary(&with(minimax), 5e6, [0, 64, 128], Half);
}

#[test]
fn gpt_j_and_codegen() {
    for kind in ["gptj", "codegen"] {
        let json = format!(
            r#"{{"model_type": "{kind}", "n_embd": 4096, "n_head": 16, "rotary_dim": 64, "rotary": null}}"#
        );
        assert_rotary(&json, 1e4, [0, 64, 256], Interleaved);
    }
}

#[test]
fn nomic_dbrx_and_chatglm() {
    let nomic = r#"{"model_type": "nomic_bert", "n_embd": 768, "n_head": 12, "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": true, "rotary_emb_scale_base": null}"#;
    assert_rotary(nomic, 1e3, [0, 64, 64], Interleaved);
    let dbrx = r#"{"model_type": "dbrx", "d_model": 6144, "n_heads": 48,
        "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "rope_theta": 500000}}"#;
    assert_rotary(dbrx, 5e5, [0, 128, 128], Half);
    let glm = r#"{"model_type": "chatglm", "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128,
        "rope_ratio": 500, "original_rope": true}"#;
    assert_rotary(glm, 5e6, [0, 64, 128], Interleaved);
    let qwen = r#"{"model_type": "qwen", "kv_channels": 128, "rotary_pct": 1.0, "rotary_emb_base": 10000,
        "use_dynamic_ntk": false, "use_logn_attn": false}"#;
    assert_rotary(qwen, 1e4, [0, 128, 128], Half);
}

/// Bases, layouts and parts that a type's name stands for, and that what a config states comes first.
#[test]
fn defaults_of_a_model_type() {
    let of = |kind: &str| format!(r#"{{"model_type": "{kind}", "head_dim": 64}}"#);
    for (kind, base, dim, layout) in [
        ("gpt_oss", 150e3, 64, Half),
        ("cohere", 5e5, 64, Interleaved),
        ("cohere2", 1e4, 64, Interleaved),
        ("glm", 1e4, 32, Interleaved),
        ("glm4", 1e4, 32, Interleaved),
        ("ernie4_5", 5e5, 64, Interleaved),
        ("llama4_text", 5e5, 64, Interleaved),
        ("roformer", 1e4, 64, Interleaved),
        ("phi", 1e4, 32, Half),
        ("llama", 1e4, 64, Half),
        ("never heard of", 1e4, 64, Half),
    ] {
        assert_rotary(&of(kind), base, [0, dim, 64], layout);
    }
    let stated = r#"{"model_type": "glm", "head_dim": 64, "rope_theta": 7.0, "partial_rotary_factor": 1.0,
        "rope_interleave": false}"#;
    assert_rotary(stated, 7.0, [0, 64, 64], Half);
    let inner = r#"{"model_type": "mllama", "text_config": {"head_dim": 64, "model_type": "mllama_text_model"}}"#;
    assert_rotary(inner, 5e5, [0, 64, 64], Half);
}

const DEEPSEEK_V3: &str = r#"{"model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128,
    "num_key_value_heads": 128, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "max_position_embeddings": 163840, "rope_theta": 10000,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096, "type": "yarn"}}"#;

/// Its last 64 channels of 192 rotate, and its softmax scale is not the rotation's.
#[test]
fn deepseek_v3_as_it_is() {
    assert_rotary(DEEPSEEK_V3, 1e4, [128, 64, 192], Interleaved);
    let rotary = read(DEEPSEEK_V3);
    assert_eq!((rotary.pairs(), rotary.channels(0)), (32, (128, 129)));
    // mscale / mscale_all_dim is 1, and (0.1·ln 40 + 1)² stays for the scale.
    assert_eq!(rotary.attention_factor(), 1.0);
    assert!((rotary.softmax_factor() - 1.873_854).abs() < 1e-6);
    let hint = rotary
        .scale_hint(1.0 / 192f32.sqrt())
        .expect("another scale");
    assert!(hint.contains("0.13523378"), "{hint}");
    assert_eq!(rotary.scale_hint(0.135_233_78), None);
    let plain = DEEPSEEK_V3.replace(
        "\"type\": \"yarn\"",
        "\"type\": \"yarn\", \"attention_factor\": 1.0",
    );
    assert_eq!(read(&plain).softmax_factor(), rotary.softmax_factor());
    // Newer files say how many channels rotate in head_dim too.
    let newer = DEEPSEEK_V3.replace(
        "\"v_head_dim\"",
        "\"head_dim\": 64, \"rope_interleave\": true, \"v_head_dim\"",
    );
    assert_eq!(read(&newer), rotary);
}

/// Ministral has the same numbers and leaves its softmax scale alone.
#[test]
fn mscale_is_for_latent_attention_only() {
    let json = r#"{"model_type": "ministral3", "head_dim": 128, "max_position_embeddings": 262144,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 16384, "llama_4_scaling_beta": 0.1}}"#;
    assert_eq!(read(json).softmax_factor(), 1.0);
    assert!(read(json).temperature.is_some());
}

/// What was read is told, and is no part of the rotation.
#[test]
fn an_origin_tells_the_fields() {
    let rotary =
        read(r#"{"head_dim": 64, "rotary_pct": 0.25, "vocab_size": 9, "layer_types": ["a"]}"#);
    assert_eq!(
        rotary.origin.0.as_deref(),
        Some("head_dim 64, rotary_pct 0.25")
    );
    assert_eq!(rotary, Rotary::new(64).with_fraction(0.25).unwrap());
    let words = read(DEEPSEEK_V3).to_string();
    for word in [
        "yarn",
        "base 10000",
        "factor 40",
        "channels 128 to 191 of 192",
        "interleaved",
        "softmax factor 1.87",
    ] {
        assert!(words.contains(word), "{words} lacks {word}");
    }
}
