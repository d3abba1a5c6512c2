//! The texts: five novels of Jane Austen to learn from, and Emma, which no model here has seen.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

const TRAIN: &[u8] = include_bytes!("../data/train.txt.gz");
const HELD_OUT: &[u8] = include_bytes!("../data/emma.txt.gz");

/// 3.1 MB to learn from.
pub fn train() -> Result<Vec<u8>> {
    unpacked(TRAIN)
}

/// 0.9 MB to be measured on.
pub fn held_out() -> Result<Vec<u8>> {
    unpacked(HELD_OUT)
}

fn unpacked(packed: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = GzDecoder::new(packed).read_to_end(&mut text);
    read.context("the text in the program is damaged; build it anew")?;
    Ok(text)
}

/// `count` windows of `len + 1` bytes, spread evenly over the text: the bytes a model reads, each with its next one.
pub fn windows(text: &[u8], len: usize, count: usize) -> Result<Vec<&[u8]>> {
    ensure!(
        text.len() > len && count > 0,
        "the text has {} bytes; a context of {len} needs {} at the least: give a longer text or a shorter context",
        text.len(),
        len + 1
    );
    let room = text.len() - (len + 1);
    let start = |n: usize| room * n / count;
    Ok((0..count)
        .map(|n| &text[start(n)..=start(n) + len])
        .collect())
}
