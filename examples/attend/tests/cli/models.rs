//! The table of model families in `docs/models.md`: each row's options give what the model's own code computes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::support::compare::error;
use super::support::golden::Golden;
use super::tool::{attend, directory, text};

const GUIDE: &str = include_str!("../../../../docs/models.md");
const CAPTURED: &str = include_str!("../../../../tests/golden/models/models.json");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/models");
/// Two programs in f32.
const ALLOWED: f64 = 1e-5;

/// A row: its first name, and its options as they stand.
fn rows() -> Vec<(&'static str, &'static str)> {
    let (_, table) = GUIDE.split_once("## Model families").expect("the table");
    let table = table.split("\n## ").next().unwrap_or(table);
    let code = |cell: &'static str| cell.split('`').nth(1).unwrap_or_default();
    let cells = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        (code(cells[0]), code(cells[cells.len() - 1]))
    };
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(cells).collect()
}

/// The options with the config's numbers in place of their letters.
fn filled(options: &str, case: &Value, config: &str) -> Result<Vec<String>> {
    let number = |name: &str| case["config"][name].as_f64();
    let window = number("sliding_window").or(number("local_attention"));
    let known = |what: Option<f64>| what.with_context(|| format!("{options} of {case}"));
    let fill = |word: &str| {
        Ok(match word {
            "config.json" => config.to_string(),
            "W-1,0" => format!("{},0", known(window)? - 1.0),
            "W/2,W/2" => format!("{0},{0}", known(window)? / 2.0),
            "C" => known(number("attn_logit_softcapping"))?.to_string(),
            "M" => known(number("relative_attention_max_distance"))?.to_string(),
            "S" => known(case["scale"].as_f64())?.to_string(),
            word => word.to_string(),
        })
    };
    options.split_whitespace().map(fill).collect()
}

fn check(name: &str, options: &str, case: &Value) -> Result<()> {
    let directory = directory(&format!("models-{name}"));
    let config = text(&directory.join("config.json"));
    std::fs::write(&config, case["config"].to_string())?;
    let output = text(&directory.join("out.safetensors"));
    let mut args = vec![format!("{ROOT}/{name}.safetensors"), output.clone()];
    args.extend(filled(options, case, &config)?);
    attend(&args).succeeded();
    let got = Golden::open(&output)?.floats("o")?;
    let want = Golden::open(&format!("{ROOT}/o.safetensors"))?.floats(name)?;
    ensure!(got.len() == want.len(), "{name} has {} values", got.len());
    let off = error(&got, &want);
    ensure!(off < ALLOWED, "{name} with {args:?} is off by {off:e}");
    Ok(())
}

#[test]
fn every_row_of_the_guide_is_what_the_model_computes() -> Result<()> {
    let captured: Value = serde_json::from_str(CAPTURED)?;
    let cases = captured["cases"].as_array().context("cases")?;
    let named = |name: &str| cases.iter().find(|case| case["name"] == name);
    let mut told = BTreeSet::new();
    for (name, options) in rows() {
        let case = named(name).with_context(|| format!("{name} was not captured"))?;
        check(name, options, case)?;
        told.insert(name);
    }
    let untold = cases.iter().filter_map(|case| case["name"].as_str());
    let untold: Vec<_> = untold.filter(|name| !told.contains(name)).collect();
    assert!(untold.is_empty(), "{untold:?} stand in no row");
    Ok(())
}

/// The options matter: those of another row give another answer.
#[test]
fn rows_of_other_families_differ() -> Result<()> {
    let captured: Value = serde_json::from_str(CAPTURED)?;
    let cases = captured["cases"].as_array().context("cases")?;
    for (name, options) in [
        ("mistral", "--window W,0 --rope config.json"),
        ("gptj", "--causal --rope config.json --rope-layout half"),
        ("gpt_neox", "--causal"),
        ("gemma2-full", "--causal --rope config.json --scale S"),
        ("deepseek_v3", "--causal --rope config.json"),
        ("t5-encoder", "--t5 both --t5-distance M"),
        ("cohere2-full", "--causal --rope config.json"),
    ] {
        let case = cases.iter().find(|case| case["name"] == name);
        let case = case.context(name)?;
        let options = options.replace("W,0", &format!("{},0", case["config"]["sliding_window"]));
        let fault = check(name, &options, case).expect_err(name);
        assert!(fault.to_string().contains("is off by"), "{fault}");
    }
    Ok(())
}
