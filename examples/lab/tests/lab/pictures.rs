//! The pictures of docs/long-context.md are those of the records.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::tool::folder;

fn record<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("records")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn are_those_of_the_records() {
    let drawn = folder("pictures");
    let json = drawn.join("record.json");
    let zero_shot: lab::zero_shot::Record = record("zero-shot.json");
    zero_shot.write(&json, &drawn).unwrap();
    let fine_tune: lab::fine_tune::Record = record("fine-tune.json");
    fine_tune.write(&json, &drawn).unwrap();
    let approximate: lab::approximate::Record = record("approximate.json");
    approximate.write(&json, &drawn).unwrap();
    let passkey: lab::passkey::Passkeys = record("passkey.json");
    passkey.write(&drawn).unwrap();
    let spread: lab::spread::Spread = record("spread.json");
    spread.write(&json, &drawn).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    for name in [
        "length",
        "spread",
        "position",
        "fine-tune",
        "approximate",
        "passkey",
    ] {
        let name = format!("lab-{name}.svg");
        let [ours, theirs] = [&drawn, &docs].map(|folder| {
            std::fs::read_to_string(folder.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"))
        });
        assert!(
            ours == theirs,
            "docs/images/{name} is not what the records say; copy {}",
            drawn.join(&name).display()
        );
    }
}
