//! Answers that were computed elsewhere.

use anyhow::{Context, Result};
use serde_json::Value;

use super::support::compare::{FORWARD_FLOOR, GRADIENT_FLOOR, error};
use super::support::golden::Golden;
use super::tool::{attend, directory, text};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/attention");

fn check(name: &str, extra: &[&str]) -> Result<()> {
    let cases: Vec<Value> = serde_json::from_str(include_str!(
        "../../../../tests/golden/attention/cases.json"
    ))?;
    let case = cases
        .iter()
        .find(|case| case["name"] == name)
        .context("no such case")?;
    let options = case["args"]
        .as_array()
        .context("args")?
        .iter()
        .filter_map(Value::as_str);
    let output = text(&directory(&format!("{name}{}", extra.concat())).join("out.safetensors"));
    let mut args = vec![format!("{ROOT}/{name}.in.safetensors"), output.clone()];
    args.extend(options.map(String::from));
    args.extend(extra.iter().map(|option| option.to_string()));
    attend(&args).succeeded();

    let got = Golden::open(&output)?;
    let want = Golden::open(&format!("{ROOT}/{name}.want.safetensors"))?;
    assert_eq!(got.sizes("o")?, want.sizes("o")?);
    for (tensor, plain) in case["plain"].as_object().context("plain")? {
        let plain = plain.as_f64().context("a number")?;
        let (got, want) = (got.floats(tensor)?, want.floats(tensor)?);
        assert_eq!(got.len(), want.len());
        let off = error(&got, &want);
        let floor = match tensor.as_str() {
            "o" | "lse" => FORWARD_FLOOR,
            _ => GRADIENT_FLOOR,
        };
        let allowed = 2.0 * plain + floor;
        assert!(
            off <= allowed,
            "{name} {extra:?} {tensor}: {off:e}, allowed {allowed:e}"
        );
        assert!(
            got.iter().zip(&want).all(|(x, y)| y.is_finite() || x == y),
            "{name} {tensor}"
        );
    }
    Ok(())
}

#[test]
fn causal_with_grouped_heads() -> Result<()> {
    check("g1", &[])?;
    check("g1", &["--strategy", "workgroup"])
}

#[test]
fn window_and_softcap() -> Result<()> {
    check("g2", &[])?;
    check("g2", &["--strategy", "workgroup"])
}

#[test]
fn fully_masked_rows() -> Result<()> {
    check("g4", &[])?;
    check("g4", &["--strategy", "workgroup"])
}

#[test]
fn alibi() -> Result<()> {
    check("g3", &[])?;
    check("g3", &["--strategy", "workgroup"])
}

#[test]
fn bias_and_sinks() -> Result<()> {
    check("g5", &[])?;
    check("g5", &["--strategy", "workgroup", "--splits", "2"])
}
