//! An answer, printed as it comes.

use std::io::Write;

use anyhow::{Result, ensure};
use chat::generate::Writer;
use chat::prompt::Letters;
use chat::tokenizer::Tokenizer;

use crate::report::with_bar;

/// A writer whose text is read by somebody.
pub struct Speaker<'a> {
    pub writer: Writer<'a>,
    tokenizer: &'a Tokenizer,
    /// Most tokens of an answer.
    most: usize,
    /// Whether text is printed.
    prints: bool,
    /// All that was said.
    pub said: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

impl<'a> Speaker<'a> {
    pub fn new(writer: Writer<'a>, tokenizer: &'a Tokenizer, most: usize, prints: bool) -> Self {
        Self {
            writer,
            tokenizer,
            most,
            prints,
            said: String::new(),
            tokens: Vec::new(),
        }
    }

    /// Reads a prompt and writes until the model ends, the answer is long enough, or the context is full.
    pub fn answer(&mut self, prompt: &[u32]) -> Result<()> {
        self.check_room(prompt.len())?;
        let writer = &mut self.writer;
        let total = writer.text().len() + prompt.len() - writer.cache().len() - 1;
        with_bar("reading the prompt", |mut read| {
            writer.read(prompt, |n| read(n, total))
        })?;
        let mut letters = Letters::default();
        let mut left = self.most;
        while left > 0 && self.writer.has_room() {
            let tokenizer = self.tokenizer;
            let tokens = self
                .writer
                .write(left, |token| tokenizer.is_end(token))?
                .to_vec();
            left -= tokens.len();
            for &token in &tokens {
                self.say(&letters.push(tokenizer.bytes(token)))?;
            }
            self.tokens.extend(&tokens);
            if tokens.last().is_some_and(|&token| tokenizer.is_end(token)) {
                break;
            }
        }
        self.say(&letters.finish())?;
        self.end()
    }

    fn check_room(&self, prompt: usize) -> Result<()> {
        let needed = self.writer.text().len() + prompt;
        if let Some(room) = self.writer.cache().capacity() {
            ensure!(
                needed <= room,
                "the context of {room} tokens is full: {needed} are to be read; give --context more"
            );
        }
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<()> {
        self.said.push_str(text);
        if self.prints && !text.is_empty() {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.prints {
            println!();
        }
        Ok(())
    }
}
