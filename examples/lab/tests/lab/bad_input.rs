//! What is wrong with files and command lines is said in one sentence.

use candle_core::{DType, Device, Tensor, safetensors};
use std::collections::HashMap;

use super::tool::{folder, refused, weights};

#[test]
fn models_that_do_not_fit() {
    let out = folder("models");
    let options = |weights: &str| ["zero-shot".to_string(), format!("--weights={weights}")];
    let refused_in = |name: &str, words: &[&str]| {
        let options = options(&out.join(name).display().to_string());
        refused(&out, &options.each_ref().map(String::as_str), words);
    };
    refused_in(
        "none",
        &["rope.safetensors", "holds no weights of this model"],
    );
    let spoiled = |name: &str, change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = weights().join("rope.safetensors");
        let mut tensors = safetensors::load(path, &Device::Cpu).unwrap();
        change(&mut tensors);
        safetensors::save(&tensors, folder.join("rope.safetensors")).unwrap();
    };
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F16, &Device::Cpu).unwrap();
    spoiled("shape", &|tensors| {
        tensors.insert("layers.1.up".into(), zeros((512, 64)));
    });
    refused_in("shape", &["layers.1.up is [512, 64], not [512, 128]"]);
    spoiled("missing", &|tensors| drop(tensors.remove("norm")));
    refused_in("missing", &["norm is missing"]);
    spoiled("more", &|tensors| {
        tensors.insert("layers.9.up".into(), zeros((1, 1)));
    });
    refused_in("more", &["layers.9.up is unknown"]);
    spoiled("alone", &|_| ());
    refused_in("alone", &["rope.json", "`lab train` writes it"]);
}

#[test]
fn texts_and_lengths_that_do_not_fit() {
    let out = folder("texts");
    let short = out.join("short.txt");
    std::fs::write(&short, "Emma Woodhouse").unwrap();
    let text = format!("--text={}", short.display());
    refused(
        &out,
        &["zero-shot", &text],
        &["14 bytes", "4096 needs 4097", "shorter context"],
    );
    refused(
        &out,
        &["zero-shot", "--text=/none.txt"],
        &["/none.txt cannot be read"],
    );
    refused(
        &out,
        &["zero-shot", "--longest=100"],
        &["--longest is 100", "256"],
    );
    refused(&out, &["approximate", "--len=2000000"], &["needs 2000001"]);
    refused(
        &out,
        &["zero-shot", "--adapter=no such"],
        &["no adapter is called"],
    );
}

#[test]
fn runs_that_cannot_go_on() {
    let out = folder("runs");
    let state = out.join("train-rope-1");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("progress.json"), "{").unwrap();
    let options = ["train", "--position=rope", "--steps=1"];
    refused(
        &out,
        &options,
        &["progress.json is damaged", "remove it to begin anew"],
    );
    let other = r#"{"recipe":{"steps":2,"batch":8,"len":256,"rate":0.003,"warm_up":50,"seed":1},"losses":[],"seconds":0,"attention_seconds":0}"#;
    std::fs::write(state.join("progress.json"), other).unwrap();
    refused(&out, &options, &["keeps a run of another recipe"]);
}

#[test]
fn real_models_that_do_not_fit() {
    let out = folder("real");
    refused(
        &out,
        &["perplexity", "--model=/none.gguf"],
        &["/none.gguf cannot be read"],
    );
    refused(
        &out,
        &["passkey", "--model=/none.gguf"],
        &["/none.gguf cannot be read"],
    );
}
