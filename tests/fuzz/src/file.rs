//! Mutated safetensors files, configs and options, through `attend`: an answer, or one sentence and its exit status.

mod tensors;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bytes;
use crate::kind::{Done, Outcome};
use crate::support::drawn::Draw;

pub fn case(attend: &Path, seed: u64) -> Outcome {
    let mut draw = Draw::new(seed);
    let directory =
        std::env::temp_dir().join(format!("wgpu-attention-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    let args = arguments(&mut draw, &directory).map_err(|e| e.to_string())?;
    let run = Command::new(attend).args(&args).output();
    let run = run.map_err(|e| format!("{} does not start: {e}", attend.display()))?;
    let outcome = judge(&run).map_err(|e| format!("{e}\n{}", args.join(" ")));
    if outcome.is_ok() {
        // What is left behind does no harm.
        let _ = std::fs::remove_dir_all(&directory);
    }
    outcome
}

/// A file, half of the time spoilt, and options.
fn arguments(draw: &mut Draw, directory: &Path) -> std::io::Result<Vec<String>> {
    let whole = tensors::file(draw);
    let file = match draw.one_in(2) {
        true => bytes::bytes(draw, &whole),
        false => whole,
    };
    let input = write(directory, "in.safetensors", &file)?;
    let output = directory.join("out.safetensors");
    let mut args = vec![input, output.display().to_string()];
    for _ in 0..draw.size(0, 4) {
        option(draw, directory, &mut args)?;
    }
    Ok(args)
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<String> {
    let path: PathBuf = directory.join(name);
    std::fs::write(&path, bytes)?;
    Ok(path.display().to_string())
}

const OPTIONS: [&str; 24] = [
    "--causal",
    "--window",
    "--first",
    "--prefix",
    "--block-size",
    "--scale",
    "--softcap",
    "--rope-layout",
    "--rope-length",
    "--rope-layer",
    "--alibi",
    "--t5",
    "--t5-distance",
    "--grad",
    "--mod-iterations",
    "--output",
    "--strategy",
    "--splits",
    "--slice-rows",
    "--explain",
    "--json",
    "--top-k",
    "--select",
    "--local",
];
const VALUES: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "16",
    "64",
    "-1",
    "4294967295",
    "4294967296",
    "1e39",
    "-1e-50",
    "nan",
    "inf",
    "3,0",
    "-1,0",
    "inf,inf",
    "4294967295,0",
    "both",
    "causal",
    "f32",
    "workgroup",
    "minmax",
    "interleaved",
    "",
];

fn option(draw: &mut Draw, directory: &Path, args: &mut Vec<String>) -> std::io::Result<()> {
    match draw.size(0, 7) {
        0 => {
            let config = r#"{"head_dim": 8, "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}"#;
            let config = bytes::text(draw, config);
            args.extend([
                "--rope".into(),
                write(directory, "config.json", config.as_bytes())?,
            ]);
        }
        1 => {
            let text =
                "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return j % 3u != i; }";
            let text = bytes::text(draw, text);
            args.extend([
                "--mod".into(),
                write(directory, "mod.wgsl", text.as_bytes())?,
            ]);
        }
        _ => {
            args.push(draw.pick(&OPTIONS).into());
            if draw.one_in(2) {
                args.push(draw.pick(&VALUES).into());
            }
        }
    }
    Ok(())
}

/// Status 0; or 1 with one sentence, or 2.
fn judge(run: &Output) -> Outcome {
    let said = String::from_utf8_lossy(&run.stderr);
    let first = said.lines().next().unwrap_or_default();
    if said.contains("panicked") {
        return Err(format!(
            "attend panics: {}",
            said.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    match run.status.code() {
        Some(0) => Ok(Done::Held),
        Some(1) if said.lines().count() == 1 && first.starts_with("error: ") => Ok(Done::Refused),
        Some(2) if first.starts_with("error: ") => Ok(Done::Refused),
        Some(status) => Err(format!("exit status {status}, and stderr says {said:?}")),
        None => Err(format!(
            "attend ends by a signal ({}): {said:?}",
            run.status
        )),
    }
}
