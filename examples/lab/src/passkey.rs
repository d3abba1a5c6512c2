//! A number hidden in a long text, and asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use chat::model::Wanted;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::attention::Gpu;
use crate::effort::tell;
use crate::kept::write_json;
use crate::real::{PART, Real, effort};
use crate::text;

/// The share of numbers that were told right, by tokens of text and depth (0 begin, 1 end).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Passkeys {
    pub model: String,
    pub adapter: String,
    pub scheme: String,
    pub tries: usize,
    /// By length, the share at each depth.
    pub right: BTreeMap<usize, Vec<f64>>,
}

/// Digits of the number.
const DIGITS: usize = 5;

/// Hides numbers in the held-out novel's begin, at depths evenly from its start to its end.
pub fn measure(
    gpu: &Arc<Gpu>,
    real: &Real,
    scheme: &str,
    lengths: &[usize],
    depths: usize,
    tries: usize,
) -> Result<Passkeys> {
    let novel = String::from_utf8_lossy(&text::held_out()?).into_owned();
    let filler = real.tokenizer.encode(&novel)?;
    for &len in lengths {
        ensure!(
            filler.len() > len,
            "the text has {} tokens; give --lengths below that",
            filler.len()
        );
    }
    let effort = effort(gpu, real, &filler)?;
    let seconds = lengths.iter().map(|&len| effort.seconds(len, len));
    tell(
        "asking for pass keys",
        seconds.sum::<f64>() * (depths * tries) as f64,
        &gpu.name,
        "fewer --lengths, --depths or --tries take less",
    );
    let mut rng = StdRng::seed_from_u64(1);
    let mut right = BTreeMap::new();
    let bar = indicatif::ProgressBar::new((lengths.iter().sum::<usize>() * depths * tries) as u64);
    bar.set_style(indicatif::ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} tokens, {eta} left",
    )?);
    for &len in lengths {
        let mut shares = Vec::new();
        for depth in 0..depths {
            let at = len * depth / depths.saturating_sub(1).max(1);
            let mut found = 0;
            for _ in 0..tries {
                let number: String = (0..DIGITS)
                    .map(|_| rng.random_range(b'0'..=b'9') as char)
                    .collect();
                found += usize::from(tells(gpu, real, scheme, &filler[..len], at, &number)?);
                bar.inc(len as u64);
            }
            shares.push(found as f64 / tries as f64);
        }
        right.insert(len, shares);
    }
    bar.finish_and_clear();
    Ok(Passkeys {
        model: real.name.clone(),
        adapter: gpu.name.clone(),
        scheme: scheme.into(),
        tries,
        right,
    })
}

/// Whether the likeliest tokens after the question are the number's digits.
fn tells(
    gpu: &Gpu,
    real: &Real,
    scheme: &str,
    filler: &[u32],
    at: usize,
    number: &str,
) -> Result<bool> {
    let encode = |text: &str| real.tokenizer.encode(text);
    let mut tokens = filler[..at].to_vec();
    tokens.extend(encode(&format!(
        "\nThe pass key is {number}. Remember it. {number} is the pass key.\n"
    ))?);
    tokens.extend(&filler[at..]);
    let question = encode("\nWhat is the pass key? The pass key is ")?;
    let digits = encode(number)?;
    tokens.extend(question);
    let asked = tokens.len();
    tokens.extend(&digits[..digits.len() - 1]);
    let mut cache = real.cache(gpu, scheme, tokens.len())?;
    for part in tokens[..asked - 1].chunks(PART) {
        real.model.forward(part, &mut cache, Wanted::None)?;
    }
    let logits = real
        .model
        .forward(&tokens[asked - 1..], &mut cache, Wanted::All)?;
    let likeliest = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let told = logits
        .chunks_exact(real.model.config.vocabulary)
        .map(likeliest);
    Ok(told.eq(digits.iter().map(|&digit| Some(digit as usize))))
}

impl Passkeys {
    pub fn table(&self) -> String {
        let mut table = String::from("tokens    told right at depths from the begin to the end\n");
        for (len, shares) in &self.right {
            let cells: Vec<_> = shares
                .iter()
                .map(|share| format!("{:>5.0} %", 100.0 * share))
                .collect();
            table += &format!("{len:<8}{}\n", cells.join(""));
        }
        table
            + &format!(
                "{}, {}, {} tries each, on {}\n",
                self.model, self.scheme, self.tries, self.adapter
            )
    }
    /// `passkey.json`, and the share as darkness, depth over length.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join("passkey.json"), self)?;
        let path = folder.join("lab-passkey.svg");
        std::fs::write(&path, self.svg())
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    fn svg(&self) -> String {
        let depths = self.right.values().map(Vec::len).max().unwrap_or(0);
        let (left, top, wide, high) = (70, 60, 90, 36);
        let (width, height) = (
            left + wide * self.right.len() + 20,
            top + high * depths + 40,
        );
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"#28323c\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"14\" y=\"22\" font-size=\"15\" font-weight=\"bold\">Pass keys told right</text>\n\
             <text x=\"14\" y=\"42\" fill=\"#8a929c\">depth down, tokens across; {}</text>\n",
            self.scheme
        );
        for (column, (len, shares)) in self.right.iter().enumerate() {
            let x = left + wide * column;
            for (row, share) in shares.iter().enumerate() {
                let y = top + high * row;
                let (text_x, text_y) = (x + wide / 2, y + high / 2 + 4);
                let color = if *share > 0.5 { "white" } else { "#28323c" };
                svg += &format!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"#1764ab\" fill-opacity=\"{:.2}\"/>\n\
                     <text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"middle\" fill=\"{color}\">{:.0} %</text>\n",
                    wide - 2,
                    high - 2,
                    0.08 + 0.92 * share,
                    100.0 * share
                );
            }
            svg += &format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#8a929c\">{len}</text>\n",
                x + wide / 2,
                top + high * depths + 20
            );
        }
        for row in 0..depths {
            let depth = 100 * row / depths.saturating_sub(1).max(1);
            svg += &format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#8a929c\">{depth} %</text>\n",
                left - 8,
                top + high * row + high / 2 + 4
            );
        }
        svg + "</svg>\n"
    }
}
