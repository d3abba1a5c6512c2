//! Reading `config.json`: defaults, aliases, and errors that name the field.

use super::*;

const SIZES: &str =
    r#""hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 8192"#;

fn scaled(scaling: &str) -> Result<Rotary, Error> {
    Rotary::from_hf_config(&format!(r#"{{{SIZES}, "rope_scaling": {{{scaling}}}}}"#))
}

#[test]
fn head_size_and_defaults() {
    let rotary = Rotary::from_hf_config(&format!("{{{SIZES}}}")).unwrap();
    assert_eq!(rotary, Rotary::new(64));
    let rotary = Rotary::from_hf_config(r#"{"head_dim": 96, "rope_scaling": null}"#).unwrap();
    assert_eq!((rotary.head_dim, rotary.dim), (96, 96));
    let nested = format!(r#"{{"text_config": {{{SIZES}, "rope_theta": 5e5}}}}"#);
    assert_eq!(Rotary::from_hf_config(&nested).unwrap().base, 5e5);
}

#[test]
fn aliases_and_optional_fields() {
    let lists = format!("\"short_factor\": {0:?}, \"long_factor\": {0:?}", [2.0; 32]);
    let text = format!(r#""type": "su", {lists}, "original_max_position_embeddings": 1024"#);
    let RopeKind::LongRope(long) = scaled(&text).unwrap().kind else {
        panic!("su is longrope");
    };
    assert_eq!((long.factor, long.original), (8.0, 1024));

    let text = r#""type": "yarn", "original_max_position_embeddings": 2048, "mscale": 0.0, "truncate": false,
                  "beta_fast": 16, "llama_4_scaling_beta": 0.1"#;
    let rotary = scaled(text).unwrap();
    let expected = Yarn::new(4.0, 2048)
        .with_beta_fast(16.0)
        .with_truncate(false);
    assert_eq!(rotary.kind, RopeKind::Yarn(expected));
    let temperature = Temperature::new(0.1, 2048);
    assert_eq!(rotary.temperature, Some(temperature));
    let mrope = scaled(r#""type": "mrope", "mrope_section": [8, 12, 12]"#).unwrap();
    assert_eq!(mrope.kind, RopeKind::Default);
    let ntk = scaled(r#""type": "ntk", "factor": 2"#).unwrap();
    assert_eq!(ntk.kind, RopeKind::NtkAware { factor: 2.0 });
}

#[test]
fn one_entry_for_each_type_of_layer() {
    let json = format!(
        r#"{{{SIZES}, "rope_parameters": {{
            "full_attention": {{"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}},
            "sliding_attention": {{"rope_type": "default", "rope_theta": 1e4}}}}}}"#
    );
    let full = Rotary::from_hf_layer(&json, "full_attention").unwrap();
    let inv_freq = full.inv_freq(1).unwrap();
    assert_eq!((full.base, full.dim, inv_freq.len()), (1e6, 64, 32));
    assert!(inv_freq[7] > 0.0 && inv_freq[8..].iter().all(|&x| x == 0.0));
    assert_eq!(inv_freq[1], 1.0 / 1e6f64.powf(2.0 / 64.0));
    for error in [
        Rotary::from_hf_config(&json).unwrap_err(),
        Rotary::from_hf_layer(&json, "other").unwrap_err(),
    ] {
        assert!(
            error
                .to_string()
                .contains("full_attention, sliding_attention"),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_field_is_named() {
    let lists = format!("\"short_factor\": {0:?}, \"long_factor\": {0:?}", [1.0; 31]);
    let short_lists =
        format!(r#""type": "longrope", "original_max_position_embeddings": 512, {lists}"#);
    for (scaling, words) in [
        (
            r#""type": "foo", "factor": 2"#,
            "rope_scaling.type proportional longrope llama3 \"foo\"",
        ),
        (r#""factor": 2"#, "rope_type missing"),
        (r#""type": "linear""#, "rope_scaling.factor missing"),
        (
            r#""type": "linear", "factor": "2""#,
            "rope_scaling.factor \"2\" number",
        ),
        (r#""type": "linear", "factor": 0.5"#, "factor 0.5 least 1"),
        (
            r#""type": "linear", "factr": 2"#,
            "rope_scaling.factr known",
        ),
        (
            r#""type": "llama3", "factor": 8"#,
            "rope_scaling.low_freq_factor missing",
        ),
        (
            r#""type": "yarn", "factor": 4, "beta_fast": 1"#,
            "beta_fast beta_slow",
        ),
        (r#""type": "yarn""#, "rope_scaling.factor missing"),
        (
            r#""type": "yarn", "factor": 4, "truncate": 1"#,
            "truncate true false",
        ),
        (
            r#""type": "longrope""#,
            "original_max_position_embeddings missing",
        ),
        (&short_lists, "short_factor 31 32"),
    ] {
        let message = scaled(scaling).unwrap_err().to_string();
        for word in words.split(' ') {
            assert!(message.contains(word), "{scaling}: {message} lacks {word}");
        }
    }
}

#[test]
fn a_wrong_model_is_named() {
    for (json, words) in [
        ("[1]", "JSON object"),
        ("{", "JSON object"),
        ("{}", "hidden_size missing"),
        (r#"{"head_dim": 63}"#, "rotary dimension 63 even"),
        (r#"{"head_dim": 1.5}"#, "head_dim 1.5 whole"),
        (
            r#"{"head_dim": 64, "partial_rotary_factor": 1.5}"#,
            "partial_rotary_factor 1.5",
        ),
        (
            r#"{"head_dim": 64, "partial_rotary_factor": 0}"#,
            "partial_rotary_factor 0",
        ),
        (r#"{"head_dim": 64, "rope_theta": 1}"#, "rope_theta above 1"),
        (
            r#"{"head_dim": 64, "rope_parameters": 3}"#,
            "rope_parameters 3 object",
        ),
        (
            r#"{"head_dim": 64, "rope_parameters": {"rope_type": "dynamic", "factor": 2}}"#,
            "max_position_embeddings missing",
        ),
    ] {
        let message = Rotary::from_hf_config(json).unwrap_err().to_string();
        for word in words.split(' ') {
            assert!(message.contains(word), "{json}: {message} lacks {word}");
        }
    }
}
