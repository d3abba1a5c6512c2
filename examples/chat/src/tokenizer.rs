//! Text to tokens and back: byte-level BPE as GPT-2 has it, with single digits (pre-tokenizer `smollm`).
//!
//! A hundred lines in place of the crate `tokenizers`, which would compile fifty others for its many other kinds.
//! `tests/chat/tokens.rs` holds them against its answers. Source: Sennrich et al. 1508.07909, and GPT-2's `encoder.py`.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use crate::gguf::{Gguf, Value};

/// GPT-2's words. Its `\s+(?!\S)` is [`Tokenizer::word`]'s own affair, and its numbers are [`pieces`]'s.
const WORD: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+";
/// `tokenizer.ggml.token_type` of what is no text.
const CONTROL: Value = Value::Whole(3);

/// The vocabulary of a model.
pub struct Tokenizer {
    /// The bytes of each token; none of a control token.
    bytes: Vec<Vec<u8>>,
    controls: HashMap<String, u32>,
    of_byte: [Option<u32>; 256],
    /// What two tokens become, and how early: the lowest rank merges first.
    merges: HashMap<(u32, u32), (u32, u32)>,
    word: Regex,
    ends: Vec<u32>,
}

impl Tokenizer {
    /// That of a file's metadata.
    pub fn of(file: &Gguf) -> Result<Self> {
        for (key, wanted) in [("model", "gpt2"), ("pre", "smollm")] {
            let key = format!("tokenizer.ggml.{key}");
            let actual = file.text(&key)?;
            let path = file.path().display();
            ensure!(
                actual == wanted,
                "{path}: {key} is {actual:?}; {wanted:?} is read, give a SmolLM2 model"
            );
        }
        let read = Self::read(file);
        read.with_context(|| format!("the vocabulary of {}", file.path().display()))
    }

    fn read(file: &Gguf) -> Result<Self> {
        let names = texts(file, "tokenizer.ggml.tokens")?;
        let ids: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let kinds = file.list("tokenizer.ggml.token_type")?;
        ensure!(
            kinds.len() == names.len(),
            "{} tokens have {} types; fetch the file again",
            names.len(),
            kinds.len()
        );
        let letters = letters();
        let byte_of: HashMap<char, u8> = letters.iter().copied().zip(0..=255).collect();
        let mut controls = HashMap::new();
        let mut bytes = Vec::with_capacity(names.len());
        for (id, (name, kind)) in names.iter().zip(kinds).enumerate() {
            let text = name.chars().map(|letter| byte_of.get(&letter).copied());
            if *kind == CONTROL {
                controls.insert(name.to_string(), id as u32);
                bytes.push(Vec::new());
            } else {
                let text: Option<Vec<u8>> = text.collect();
                bytes.push(text.with_context(|| format!("token {name:?} is no text of bytes"))?);
            }
        }
        let of_byte = letters.map(|letter| ids.get(letter.to_string().as_str()).copied());
        let mut tokenizer = Self {
            bytes,
            controls,
            of_byte,
            merges: merges(file, &ids)?,
            word: Regex::new(WORD)?,
            ends: Vec::new(),
        };
        let end = file.count("tokenizer.ggml.eos_token_id")? as u32;
        tokenizer.ends = vec![end];
        tokenizer
            .ends
            .extend(tokenizer.controls.get("<|endoftext|>"));
        Ok(tokenizer)
    }

    /// Tokens in the vocabulary.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a model says by this token that it is done.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// A token that is no text, by its name.
    pub fn control(&self, name: &str) -> Result<u32> {
        let token = self.controls.get(name).copied();
        token.with_context(|| {
            format!("the vocabulary has no {name}; give a SmolLM2 *Instruct* model")
        })
    }

    /// The bytes of a token, which may be a part of a letter's; none of a control token's.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// The tokens of a text. Names of control tokens in it are plain text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        for piece in pieces(text) {
            let mut at = 0;
            while at < piece.len() {
                let end = self.word(piece, at);
                tokens.extend(self.merged(&piece.as_bytes()[at..end])?);
                at = end;
            }
        }
        Ok(tokens)
    }

    /// Where the word that begins at `at` ends. White space before a word leaves its last character to it.
    fn word(&self, piece: &str, at: usize) -> usize {
        // A single digit is a piece of its own, which the pattern does not know.
        let end = self
            .word
            .find_at(piece, at)
            .map_or(piece.len(), |m| m.end());
        let word = &piece[at..end];
        let last = word.chars().next_back().map_or(0, char::len_utf8);
        let is_space = word.chars().all(char::is_whitespace);
        if is_space && end < piece.len() && word.len() > last {
            end - last
        } else {
            end
        }
    }

    fn merged(&self, word: &[u8]) -> Result<Vec<u32>> {
        let mut tokens = Vec::with_capacity(word.len());
        for &byte in word {
            match self.of_byte[usize::from(byte)] {
                Some(token) => tokens.push(token),
                None => {
                    bail!("the model has no token for the byte {byte:#04x}; leave its letter out")
                }
            }
        }
        loop {
            let pairs = tokens.windows(2).enumerate();
            let known = pairs.filter_map(|(at, pair)| {
                let &(rank, token) = self.merges.get(&(pair[0], pair[1]))?;
                Some((rank, at, token))
            });
            let Some((_, at, token)) = known.min() else {
                return Ok(tokens);
            };
            tokens[at] = token;
            tokens.remove(at + 1);
        }
    }
}

/// Runs without numbers, and single characters that are numbers.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        if letter.is_numeric() {
            let end = at + letter.len_utf8();
            pieces.extend([&text[start..at], &text[at..end]]);
            start = end;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn texts<'a>(file: &'a Gguf, key: &str) -> Result<Vec<&'a str>> {
    let as_text = |value: &'a Value| match value {
        Value::Text(text) => Ok(text.as_str()),
        other => bail!("{key} holds {other:?}; texts are wanted"),
    };
    file.list(key)?.iter().map(as_text).collect()
}

fn merges(file: &Gguf, ids: &HashMap<&str, u32>) -> Result<HashMap<(u32, u32), (u32, u32)>> {
    let mut merges = HashMap::new();
    for (rank, text) in (0..).zip(texts(file, "tokenizer.ggml.merges")?) {
        let parts = text.split_once(' ').and_then(|(left, right)| {
            let whole = format!("{left}{right}");
            Some((*ids.get(left)?, *ids.get(right)?, *ids.get(whole.as_str())?))
        });
        let (left, right, whole) =
            parts.with_context(|| format!("the merge {text:?} is not of its tokens"))?;
        merges.entry((left, right)).or_insert((rank, whole));
    }
    Ok(merges)
}

/// The letter that stands for each byte in a vocabulary: itself where it prints, else one from U+0100 on, in order.
fn letters() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let prints = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if prints { byte as u32 } else { next };
        next += u32::from(!prints);
        char::from_u32(code).unwrap_or_default()
    })
}
