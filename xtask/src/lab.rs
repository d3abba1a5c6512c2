//! The quick part of the lab: committed weights, tables and pictures.

use anyhow::Result;

use crate::{
    adapter,
    shell::{self, cargo},
};

/// `cargo xtask lab`, or `cargo xtask lab COMMAND [options of lab]`
pub fn command(args: &[&str]) -> Result<()> {
    adapter::ensure()?;
    let lab = |args: &[&str]| {
        shell::run(cargo(&["run", "--release", "--quiet", "--package", "lab", "--"]).args(args))
    };
    if !args.is_empty() {
        return lab(args);
    }
    lab(&["zero-shot"])?;
    lab(&["approximate"])?;
    println!("pictures and tables: target/lab");
    Ok(())
}
