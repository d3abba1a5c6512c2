//! A conversation as the model was trained to read it (ChatML), and text that appears token by token.

use anyhow::{Result, ensure};

use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;

/// What SmolLM2's own template begins with where nobody says otherwise.
pub const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// The template's control tokens.
pub struct ChatTokens {
    start: u32,
    end: u32,
}

impl ChatTokens {
    /// Refuses a model with a template of another kind.
    pub fn of(file: &Gguf, tokenizer: &Tokenizer) -> Result<Self> {
        let template = file.text("tokenizer.chat_template")?;
        ensure!(
            template.contains(
                "'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
            ),
            "{}: its chat template is not SmolLM2's; give that model, or --raw",
            file.path().display()
        );
        Ok(Self {
            start: tokenizer.control("<|im_start|>")?,
            end: tokenizer.control("<|im_end|>")?,
        })
    }

    /// Before the first message.
    pub fn system(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        self.message(tokenizer, "system", text)
    }

    /// What the user says, up to where the model answers.
    pub fn user(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.message(tokenizer, "user", text)?;
        tokens.push(self.start);
        tokens.extend(tokenizer.encode("assistant\n")?);
        Ok(tokens)
    }

    /// Between an answer that the model ended and the next message.
    pub fn between(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let mut tokens = vec![self.end];
        tokens.extend(tokenizer.encode("\n")?);
        Ok(tokens)
    }

    fn message(&self, tokenizer: &Tokenizer, role: &str, text: &str) -> Result<Vec<u32>> {
        let mut tokens = vec![self.start];
        tokens.extend(tokenizer.encode(&format!("{role}\n{text}"))?);
        tokens.extend(self.between(tokenizer)?);
        Ok(tokens)
    }
}

/// Bytes that are not a whole letter yet.
#[derive(Default)]
pub struct Letters {
    waiting: Vec<u8>,
}

impl Letters {
    /// The whole letters that these bytes complete. What is no UTF-8 at all is U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.waiting.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.waiting) {
                Ok(rest) => {
                    text.push_str(rest);
                    self.waiting.clear();
                    return text;
                }
                Err(error) => {
                    let (good, bad) = (error.valid_up_to(), error.error_len());
                    text.push_str(&String::from_utf8_lossy(&self.waiting[..good]));
                    let Some(bad) = bad else {
                        self.waiting.drain(..good);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.waiting.drain(..good + bad);
                }
            }
        }
    }

    /// What is left when nothing follows.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.waiting)).into_owned()
    }
}
