//! The token loop: a prompt is read in parts, then tokens come out of one pass each, or several with drafts.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wgpu_attention::speculative::{Draft, accept};

use crate::cache::Cache;
use crate::draft::look_up;
use crate::model::{Model, Wanted};
use crate::sample::Sampling;

/// Tokens of a prompt that a pass reads: enough for products to be fast, few enough for a bar to move.
pub const PART: usize = 128;

/// The parts of a text of which only the latest tokens are held: positions move by a part at a time, so that short ones
/// are nearer to a token at a time.
pub fn part_of_stream(window: usize) -> usize {
    (window / 8).clamp(1, PART)
}

/// A text that a model goes on with.
pub struct Writer<'a> {
    model: &'a Model,
    cache: Box<dyn Cache + 'a>,
    sampling: Sampling,
    /// Most tokens that are guessed before a pass.
    drafts: usize,
    /// Tokens of a prompt that a pass reads.
    part: usize,
    random: StdRng,
    /// All tokens, the last of which the cache does not hold yet.
    text: Vec<u32>,
    pub counts: Counts,
    /// The logits of every token written, where they are kept.
    pub kept_logits: Option<Vec<Vec<f32>>>,
}

/// What was done, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub read: usize,
    pub reading: Duration,
    pub written: usize,
    pub writing: Duration,
    /// Passes that wrote.
    pub passes: usize,
    pub drafted: usize,
    pub drafts_kept: usize,
}

impl<'a> Writer<'a> {
    pub fn new(model: &'a Model, cache: Box<dyn Cache + 'a>, sampling: Sampling) -> Self {
        Self {
            model,
            cache,
            sampling,
            drafts: 0,
            part: PART,
            random: StdRng::seed_from_u64(0),
            text: Vec::new(),
            counts: Counts::default(),
            kept_logits: None,
        }
    }

    pub fn with_drafts(self, drafts: usize) -> Self {
        Self { drafts, ..self }
    }

    pub fn with_part(self, part: usize) -> Self {
        Self { part, ..self }
    }

    pub fn with_seed(self, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, ..self }
    }

    pub fn with_kept_logits(self, kept: bool) -> Self {
        let kept_logits = kept.then(Vec::new);
        Self {
            kept_logits,
            ..self
        }
    }

    pub fn text(&self) -> &[u32] {
        &self.text
    }

    pub fn cache(&self) -> &dyn Cache {
        &*self.cache
    }

    /// Appends a prompt and reads it, all but its last token; `progress` is told how many tokens are read.
    pub fn read(&mut self, prompt: &[u32], mut progress: impl FnMut(usize)) -> Result<()> {
        let start = Instant::now();
        self.text.extend_from_slice(prompt);
        let until = self.text.len().saturating_sub(1);
        let from = self.cache.len();
        while self.cache.len() < until {
            let part = self.cache.len()..until.min(self.cache.len() + self.part);
            self.model
                .forward(&self.text[part], &mut *self.cache, Wanted::None)?;
            progress(self.cache.len() - from);
        }
        self.counts.read += until - from;
        self.counts.reading += start.elapsed();
        Ok(())
    }

    /// Whether a pass more fits.
    pub fn has_room(&self) -> bool {
        self.cache
            .capacity()
            .is_none_or(|room| self.cache.len() < room)
    }

    /// One pass: 1 to `most` tokens more, up to the first that `is_end`.
    pub fn write(&mut self, most: usize, is_end: impl Fn(u32) -> bool) -> Result<&[u32]> {
        let start = Instant::now();
        let before = self.text.len();
        let drafts = self.guess(most);
        let logits = self.model.forward(
            &[&self.text[before - 1..], &drafts].concat(),
            &mut *self.cache,
            Wanted::All,
        )?;
        let rows: Vec<&[f32]> = logits.chunks_exact(self.model.config.vocabulary).collect();
        let targets: Vec<Vec<f32>> = rows.iter().map(|row| self.sampling.row(row)).collect();
        let kinds = vec![Draft::Deterministic; drafts.len()];
        let random = &mut self.random;
        let accepted = accept(&drafts, &kinds, &targets, || random.random::<f64>())?;
        self.text.extend(&drafts[..accepted.nodes.len()]);
        self.text.push(accepted.next);
        let end = self.text[before..].iter().position(|&token| is_end(token));
        self.text
            .truncate(end.map_or(self.text.len(), |end| before + end + 1));
        // Drafts that are not kept, or that stand after the end, were never there.
        self.cache.truncate(self.text.len() - 1)?;
        if let Some(kept) = &mut self.kept_logits {
            let written = self.text.len() - before;
            kept.extend(rows[..written].iter().map(|row| row.to_vec()));
        }
        self.counts.drafted += drafts.len();
        self.counts.drafts_kept += accepted.nodes.len();
        self.counts.passes += 1;
        self.counts.written += self.text.len() - before;
        self.counts.writing += start.elapsed();
        Ok(&self.text[before..])
    }

    /// Drafts for which there is room.
    fn guess(&self, most: usize) -> Vec<u32> {
        let after = self.cache.len() + 1;
        let room = self
            .cache
            .capacity()
            .map_or(usize::MAX, |room| room.saturating_sub(after));
        let most = self.drafts.min(room).min(most.saturating_sub(1));
        look_up(&self.text, most).to_vec()
    }
}
