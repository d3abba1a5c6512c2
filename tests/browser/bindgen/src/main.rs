//! wasm-bindgen as a program: `browser-bindgen PAGE.wasm FOLDER`.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let wasm = args.next().context("which wasm?")?;
    let folder = args.next().context("into which folder?")?;
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .generate(folder)
}
