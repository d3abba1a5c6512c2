//! Fields of a config that contradict each other, that say what no rotation here does, or that are not known.

use super::*;

#[track_caller]
fn refused(json: &str, words: &str) {
    let message = match Rotary::from_hf_config(json) {
        Err(error) => error.to_string(),
        Ok(rotary) => panic!("{json} is read as {rotary}"),
    };
    for word in words.split('|') {
        assert!(message.contains(word), "{json}: {message} lacks {word}");
    }
}

fn head(more: &str) -> String {
    format!(r#"{{"head_dim": 64, {more}}}"#)
}

/// A field whose name speaks of positions is read or refused, whatever it says.
#[test]
fn unknown_fields_of_positions() {
    for name in [
        "rope_wobble",
        "ropewobble",
        "rotary_scaling_factor",
        "rotary_emb_scale_base",
        "swa_rope_theta",
        "layer_rope_theta",
        "compress_rope_theta",
        "alibi_slopes",
        "use_rope",
        "attn_rotary_emb",
        "mla_use_nope",
        "position_encoding_3d",
    ] {
        refused(
            &head(&format!(r#""{name}": 2"#)),
            &format!("{name}|not known"),
        );
        assert!(Rotary::from_hf_config(&head(&format!(r#""{name}": null"#))).is_ok());
        let nested = format!(r#"{{"head_dim": 64, "attn_config": {{"{name}": 2}}}}"#);
        refused(&nested, &format!("attn_config.{name}|not known"));
    }
    for name in [
        "vocab_size",
        "max_position_embeddings",
        "no_rope_layers",
        "europe",
    ] {
        assert!(Rotary::from_hf_config(&head(&format!(r#""{name}": 2"#))).is_ok());
    }
}

#[test]
fn what_no_rotation_here_does() {
    for (field, words) in [
        (r#""alibi": true"#, "alibi|--alibi"),
        (r#""use_dynamic_ntk": true"#, "use_dynamic_ntk|seq_length"),
        (r#""use_logn_attn": true"#, "use_logn_attn|seq_length"),
        (r#""rotary_value": true"#, "rotary_value|values"),
        (
            r#""position_encoding_2d": true"#,
            "position_encoding_2d|one position",
        ),
        (
            r#""position_embedding_type": "absolute""#,
            "position_embedding_type|absolute|does not rotate",
        ),
        (
            r#""position_embedding_type": "nope""#,
            "nope|leave the rotation out",
        ),
        (
            r#""attn_config": {"rope": false}"#,
            "attn_config.rope|does not rotate",
        ),
        (
            r#""attn_config": {"alibi": true}"#,
            "attn_config.alibi|--alibi",
        ),
        (r#""alibi": 3"#, "alibi is 3|true or false"),
    ] {
        refused(&head(field), words);
    }
    for field in [
        r#""alibi": false"#,
        r#""position_embedding_type": "rope""#,
        r#""position_embedding_type": "rotary""#,
        r#""attn_config": {"rope": true, "alibi": false, "alibi_bias_max": 8}"#,
    ] {
        assert_eq!(
            Rotary::from_hf_config(&head(field)),
            Ok(Rotary::new(64)),
            "{field}"
        );
    }
}

#[test]
fn contradictions() {
    let linear = r#""rope_scaling": {"type": "linear", "factor": 2.0}"#;
    for (fields, words) in [
        (
            r#""rope_theta": 1e4, "rotary_emb_base": 1e3"#.to_string(),
            "rotary_emb_base|1000|rope_theta",
        ),
        (
            r#""rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e3}"#.into(),
            "rope_theta|rope_parameters.rope_theta",
        ),
        (
            r#""rope_theta": 1e4, "attn_config": {"rope_theta": 1e3}"#.into(),
            "attn_config.rope_theta",
        ),
        (
            r#""rotary_pct": 0.5, "partial_rotary_factor": 0.25"#.into(),
            "rotary_pct|partial_rotary_factor",
        ),
        (
            r#""rotary_dim": 16, "partial_rotary_factor": 0.5"#.into(),
            "rotary_dim|16 channels",
        ),
        (r#""kv_channels": 128"#.into(), "kv_channels|128|head_dim"),
        (
            r#""rope_interleave": true, "rotary_emb_interleaved": false"#.into(),
            "rotary_emb_interleaved|rope_interleave",
        ),
        (
            format!(r#"{linear}, "rope_parameters": {{"rope_type": "linear", "factor": 4.0}}"#),
            "rope_scaling|rope_parameters",
        ),
        (
            format!(r#"{linear}, "rope_parameters": {{"rope_theta": 1e4}}"#),
            "rope_scaling|rope_parameters",
        ),
    ] {
        refused(&head(&fields), words);
    }
    let same = r#""rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 1e3}"#;
    let rotary =
        Rotary::from_hf_config(&head(&format!("{linear}, {same}"))).expect("the same twice");
    assert_eq!(
        (rotary.base, rotary.kind),
        (1e3, RopeKind::Linear { factor: 2.0 })
    );
}

#[test]
fn a_text_model_and_what_stands_beside_it() {
    let beside =
        |more: &str| format!(r#"{{"text_config": {{"head_dim": 64, "rope_theta": 5e5}}{more}}}"#);
    assert!(Rotary::from_hf_config(&beside(r#", "rope_theta": 5e5, "vision_config": {}"#)).is_ok());
    refused(
        &beside(r#", "rope_theta": 1e4"#),
        "rope_theta|text_config.rope_theta",
    );
    let inner = r#"{"text_config": {"head_dim": 64, "rope_wobble": 2}}"#;
    refused(inner, "text_config.rope_wobble");
}

#[test]
fn sizes_that_do_not_fit() {
    refused(
        r#"{"hidden_size": 100, "num_attention_heads": 3}"#,
        "hidden_size|100|multiple of the 3 heads",
    );
    refused(r#"{"n_embd": 100, "n_head": 3}"#, "n_embd|100|3 heads");
    refused(
        r#"{"hidden_size": 128, "n_embd": 64, "n_head": 2}"#,
        "n_embd|64|hidden_size",
    );
    refused(r#"{"qk_rope_head_dim": 64}"#, "qk_nope_head_dim|missing");
    let latent =
        |more: &str| format!(r#"{{"qk_rope_head_dim": 64, "qk_nope_head_dim": 128, {more}}}"#);
    refused(&latent(r#""head_dim": 128"#), "head_dim|192|64");
    refused(
        &latent(r#""partial_rotary_factor": 0.5"#),
        "partial_rotary_factor|qk_rope_head_dim",
    );
    let third = Rotary::from_hf_config(&latent(r#""partial_rotary_factor": 0.3333333333333333"#));
    assert_eq!(third.map(|r| (r.start, r.dim)), Ok((128, 64)));
    refused(
        r#"{"qk_rope_head_dim": 4294967295, "qk_nope_head_dim": 4294967295}"#,
        "head_dim|1 to 576",
    );
}
