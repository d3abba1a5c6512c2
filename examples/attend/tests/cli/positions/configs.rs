//! `--rope` over configurations of model families: what is rotated, and what is told of it.

use anyhow::Result;
use serde_json::Value;
use wgpu_attention::problem::position::RotaryLayout;

use super::{Setup, rotary};
use crate::support::golden::Golden;
use crate::tool::{Tensor, attend, directory, text, write};

/// One query at position 50 and one key at 0, each the second unit vector of 4: lse is cos(50·θ₁) for a scale of 1.
#[test]
fn one_pair_of_known_angle() -> Result<()> {
    let sizes = r#""hidden_size": 8, "num_attention_heads": 2"#;
    let gemma3 = r#", "rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}"#;
    let modernbert = r#", "global_rope_theta": 160000.0, "local_rope_theta": 10000.0"#;
    for (name, more, options, lse) in [
        ("gemma3", gemma3, "--rope-layer sliding_attention", 0.877_58),
        (
            "modernbert",
            modernbert,
            "--rope-layer full_attention",
            0.992_20,
        ),
        (
            "neox",
            r#", "rotary_pct": 0.5, "rotary_emb_base": 100"#,
            "",
            0.964_97,
        ),
        (
            "minimax",
            r#", "head_dim": 4, "rotary_dim": 2, "rope_theta": 10000.0"#,
            "",
            0.964_97,
        ),
    ] {
        let directory = directory(&format!("positions-known-{name}"));
        let unit = |name| Tensor::floats(name, &[0.0, 1.0, 0.0, 0.0]).shaped(&[1, 1, 1, 4]);
        let at = Tensor::integers("q_positions", &[50]).shaped(&[1, 1]);
        let input = write(
            &directory,
            "in.safetensors",
            &[unit("q"), unit("k"), unit("v"), at],
        );
        let [output, config] =
            ["out.safetensors", "config.json"].map(|file| text(&directory.join(file)));
        std::fs::write(&config, format!("{{{sizes}{more}}}"))?;
        let files = [&input, &output, "--scale", "1", "--rope", &config];
        attend(
            &files
                .into_iter()
                .chain(options.split_whitespace())
                .collect::<Vec<_>>(),
        )
        .succeeded();
        let got = Golden::open(&output)?.floats("lse")?[0];
        assert!((got - lse).abs() < 1e-5, "{name}: {got}");
    }
    Ok(())
}

/// As DeepSeek's, of the size of these tests.
const LATENT: &str = r#"{"model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128,
    "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "max_position_embeddings": 64, "rope_theta": 10000,
    "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 16}}"#;

#[test]
fn latent_attention_rotates_the_end_of_a_row() -> Result<()> {
    let expected = rotary(LATENT);
    assert_eq!((expected.start, expected.dim), (8, 4));
    Setup::new("latent", "--causal").rope(LATENT).check(|p| {
        p.mask.causal = true;
        p.position.rotary = Some(expected);
    })
}

/// The layout is the model type's, unless it is asked for.
#[test]
fn the_layout_of_a_model_type() -> Result<()> {
    let config = r#"{"model_type": "cohere2", "head_dim": 12, "rope_theta": 100.0}"#;
    for (options, layout) in [
        ("", RotaryLayout::Interleaved),
        ("--rope-layout half", RotaryLayout::Half),
    ] {
        Setup::new(&format!("layout-{layout}"), options)
            .rope(config)
            .check(|p| {
                let rotary = rotary(config);
                p.position.rotary = Some(rotary.with_layout(layout));
            })?;
    }
    Ok(())
}

#[test]
fn rotated_keys_stay() -> Result<()> {
    Setup::new("rotated-keys", "--rotated-keys")
        .rope(super::YARN)
        .check(|p| {
            p.position.rotary = Some(rotary(super::YARN));
            p.position.k_rotated = true;
        })
}

#[test]
fn a_type_of_layer_that_does_not_rotate() -> Result<()> {
    let config = r#"{"head_dim": 12, "rope_parameters": {"full_attention": null,
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}"#;
    Setup::new("null-layer", "--rope-layer full_attention")
        .rope(config)
        .check(|_| {})
}

/// The plan and the object tell the rotation; without a scale stderr says that the model's own is another.
#[test]
fn a_rotation_is_told() -> Result<()> {
    let config = text(&directory("positions-told").join("config.json"));
    std::fs::write(&config, LATENT)?;
    let run = |options: &str| {
        let fixed = ["--random", "1,2,2,5,9,12", "--rope", &config];
        attend(
            &fixed
                .into_iter()
                .chain(options.split_whitespace())
                .collect::<Vec<_>>(),
        )
        .succeeded()
    };
    let plan = run("--explain").stdout;
    for words in [
        "yarn, base 10000, factor 4, channels 8 to 11 of 12, interleaved layout",
        "softmax factor 1.296",
        "qk_rope_head_dim 4",
        "rope_scaling.mscale_all_dim 1.0",
        "state a scale of 0.374",
    ] {
        assert!(plan.contains(words), "{plan} lacks {words}");
    }
    let told = run("--json");
    assert!(
        told.stderr.contains("--scale") && told.stderr.contains("0.374"),
        "{told:?}"
    );
    let report: Value = serde_json::from_str(&told.stdout)?;
    let rotation = &report["rotation"];
    assert_eq!(
        [&rotation["kind"], &rotation["layout"]],
        ["yarn", "interleaved"]
    );
    let numbers =
        ["base", "factor", "start", "dim", "head_dim"].map(|name| rotation[name].as_f64());
    assert_eq!(numbers, [1e4, 4.0, 8.0, 4.0, 12.0].map(Some));
    assert_eq!(rotation["rotated_keys"], false);
    assert!(
        rotation["config"]
            .as_str()
            .is_some_and(|said| said.contains("model_type deepseek_v3"))
    );
    assert!(!run("--json --scale 0.374").stderr.contains("--scale"));
    let none: Value = serde_json::from_str(
        &attend(&["--random", "1,1,1,4,4,8", "--json"])
            .succeeded()
            .stdout,
    )?;
    assert_eq!(none.get("rotation"), None);
    Ok(())
}
