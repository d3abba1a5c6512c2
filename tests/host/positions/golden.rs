//! Published configurations, their frequencies as transformers computes them.

use super::*;
use serde_json::Value;

fn cases() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../golden/rope.json")).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn numbers(case: &Value) -> Vec<f64> {
    let list = case["inv_freq"].as_array().unwrap();
    list.iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Distance in units of the last place of f32.
fn ulps(a: f64, b: f64) -> u32 {
    (a as f32).to_bits().abs_diff((b as f32).to_bits())
}

#[test]
fn published_configurations_in_both_forms() {
    let cases = cases();
    assert_eq!(cases.len(), 11);
    for case in &cases {
        let length = case["seq_len"].as_u64().unwrap_or(0) as u32;
        let factor = case["attention_factor"].as_f64().unwrap();
        for form in ["config_new", "config_old"] {
            let name = format!("{} {form}", case["name"]);
            let exact = Rotary::from_hf_config(&case[form].to_string()).expect(&name);
            let trained = exact.clone().with_precision(Precision::AsTrained);
            let expected = numbers(case);
            let (exact_freq, trained_freq) = (
                exact.inv_freq(length).unwrap(),
                trained.inv_freq(length).unwrap(),
            );
            assert_eq!(exact_freq.len(), expected.len(), "{name}");
            for i in 0..expected.len() {
                let relative = (exact_freq[i] / expected[i] - 1.0).abs();
                assert!(relative <= 1e-6, "{name} pair {i}: {relative}");
                let ulps = ulps(trained_freq[i], expected[i]);
                // 4 are allowed, but the exact frequencies come as near: 1 shows that f32 was followed.
                assert!(ulps <= 1, "{name} pair {i}: {ulps} ULP");
            }
            let relative = (exact.attention_factor() / factor - 1.0).abs();
            assert!(
                relative <= 1e-7,
                "{name}: attention factor off by {relative}"
            );
        }
    }
}
