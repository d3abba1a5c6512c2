//! The example of position schemes reads a model's config, and draws what each scheme does to it.

use super::run::{assert_drawn, example, picture};

const CONFIG: &str = r#"{
    "hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 4096, "rope_theta": 10000.0
}"#;

#[test]
fn every_scheme_is_drawn() {
    let picture = picture("positions");
    let config = picture.with_extension("json");
    std::fs::write(&config, CONFIG).expect("a config for the test");
    let [config, output] = [&config, &picture].map(|path| path.display().to_string());
    let run = example("positions", &[&config, "16384", &output]).succeeded();
    assert!(
        run.stdout.contains("9 schemes from 4096 to 16384 tokens"),
        "{run:?}"
    );
    assert_drawn(&picture);
}
