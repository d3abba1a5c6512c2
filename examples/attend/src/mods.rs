//! `--mod FILE.wgsl` and the tensor `mod_data`: the user's own score and mask functions.

use anyhow::{Context, Result, ensure};
use wgpu_attention::Problem;
use wgpu_attention::problem::{ModData, Mods};

use crate::cli::Args;
use crate::input::Input;

/// Puts the functions of a file and their data into a problem.
pub fn configure(problem: &mut Problem, args: &Args, input: &Input) -> Result<()> {
    let data = input.tensor("mod_data");
    let Some(file) = args.mods.as_deref() else {
        ensure!(
            data.is_none(),
            "mod_data is what the functions of --mod read; give --mod FILE.wgsl, or leave mod_data out"
        );
        return Ok(());
    };
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "{} cannot be read; give a file of WGSL text",
            file.display()
        )
    })?;
    let mut mods = Mods::new(&text).with_context(|| file.display().to_string())?;
    if let Some(data) = data {
        ensure!(
            data.shape.len() == 1,
            "mod_data has shape {:?}; give it one axis, [n]",
            data.shape
        );
        let numbers = data.numbers()?.into_iter().map(|x| x as f32).collect();
        mods = mods.with_data(ModData::Host(numbers));
    }
    if let Some(iterations) = args.mod_iterations {
        mods = mods.with_iterations(iterations);
    }
    problem.mods = Some(mods);
    Ok(())
}
