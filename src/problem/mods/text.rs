//! The words of a WGSL text: enough of its grammar to see declarations and to rename them.

use std::collections::BTreeSet;

/// What every name of the user's begins with in a composed shader, so that none meets one of the library's.
pub const PREFIX: &str = "user_";

/// A word, a number or a sign.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub text: &'a str,
    /// Bytes from the start of the text.
    pub at: usize,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_word_start)
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic() || (!c.is_ascii() && !is_blank(c))
}

fn is_word_part(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit()
}

fn is_blank(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{9}'..='\u{d}' | '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
    )
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\u{a}'..='\u{d}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// All tokens in order; comments are none.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = match c {
            c if is_blank(c) => c.len_utf8(),
            '/' if rest.starts_with("//") => rest.find(is_line_end).unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            _ => {
                let len = token(rest, c);
                let text = &rest[..len];
                tokens.push(Token { text, at });
                len
            }
        };
        at += len;
    }
    tokens
}

/// Bytes of the block comment that `text` begins with; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        let step = match &text[at..] {
            rest if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            rest if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn token(text: &str, first: char) -> usize {
    let followed_by_digit = || text[1..].starts_with(|c: char| c.is_ascii_digit());
    match first {
        c if is_word_start(c) => text.find(|c| !is_word_part(c)).unwrap_or(text.len()),
        c if c.is_ascii_digit() || (c == '.' && followed_by_digit()) => number(text),
        c => c.len_utf8(),
    }
}

/// Bytes of the number that `text` begins with, sign of its exponent and suffix included.
fn number(text: &str) -> usize {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let mut exponent = false;
    let is_part = |c: char| {
        let inside = c.is_ascii_alphanumeric() || c == '.' || (exponent && matches!(c, '+' | '-'));
        exponent = match c {
            'e' | 'E' => !hexadecimal,
            'p' | 'P' => hexadecimal,
            _ => false,
        };
        inside
    };
    let mut is_part = is_part;
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// A token and how many blocks are open before it.
pub fn with_depth<'a>(tokens: &'a [Token<'a>]) -> impl Iterator<Item = (usize, Token<'a>, usize)> {
    let mut depth = 0usize;
    tokens.iter().enumerate().map(move |(n, token)| {
        if token.text == "}" {
            depth = depth.saturating_sub(1);
        }
        let at = depth;
        if token.text == "{" {
            depth += 1;
        }
        (n, *token, at)
    })
}

/// The functions, constants, structures and aliases that the text declares.
pub fn declared<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    with_depth(tokens)
        .filter(|(_, token, depth)| {
            *depth == 0 && matches!(token.text, "fn" | "const" | "struct" | "alias")
        })
        .filter_map(|(n, ..)| tokens.get(n + 1))
        .filter(|name| name.is_word())
        .map(|name| name.text)
        .collect()
}

/// The text with `var name: T;` as `var name: T = T();`: Tint keeps what such a variable held when a loop comes by
/// again, where WGSL says that it is 0.
pub fn initialised(text: &str) -> String {
    let tokens = tokens(text);
    let mut out = String::with_capacity(text.len() + 64);
    let mut end = 0;
    for n in 0..tokens.len() {
        let Some(kind) = bare_type(&tokens[n..]) else {
            continue;
        };
        let behind = kind[kind.len() - 1];
        let until = behind.at + behind.text.len();
        let words: Vec<_> = kind.iter().map(|token| token.text).collect();
        out.push_str(&text[end..until]);
        out.push_str(&format!(" = {}()", words.join(" ")));
        end = until;
    }
    out.push_str(&text[end..]);
    out
}

/// The type in tokens that begin `var name: type;`.
fn bare_type<'a>(tokens: &'a [Token<'a>]) -> Option<&'a [Token<'a>]> {
    if tokens.first()?.text != "var" || tokens.get(2)?.text != ":" {
        return None;
    }
    let end = tokens.iter().position(|x| matches!(x.text, "=" | ";"))?;
    (tokens[end].text == ";" && end > 3).then(|| &tokens[3..end])
}

/// The text with every name of its own behind [`PREFIX`], comments taken out, lines where they were.
pub fn renamed(text: &str) -> String {
    let tokens = tokens(text);
    let (names, members) = (declared(&tokens), members(&tokens));
    let mut out = String::with_capacity(text.len() + 256);
    let mut end = 0;
    for (n, token) in tokens.iter().enumerate() {
        gap(&text[end..token.at], &mut out);
        let behind = n.checked_sub(1).map(|n| tokens[n].text);
        // A local that looks like a renamed name is renamed itself, or it would hide one.
        let own = names.contains(token.text) || (token.is_word() && token.text.starts_with(PREFIX));
        if own && !matches!(behind, Some("." | "@")) && !members.contains(&n) {
            out.push_str(PREFIX);
        }
        out.push_str(token.text);
        end = token.at + token.text.len();
    }
    gap(&text[end..], &mut out);
    out
}

/// The numbers of the tokens that name a structure's members.
fn members(tokens: &[Token<'_>]) -> BTreeSet<usize> {
    let mut inside = false;
    let mut members = BTreeSet::new();
    for (n, token, depth) in with_depth(tokens) {
        match token.text {
            "struct" if depth == 0 => inside = true,
            "}" if depth == 0 => inside = false,
            ":" if inside && depth == 1 => {
                members.extend(n.checked_sub(1));
            }
            _ => {}
        }
    }
    members
}

/// Blanks and comments, as blanks.
fn gap(text: &str, out: &mut String) {
    if !text.is_empty() && !text.contains('\n') {
        out.push(' ');
    }
    out.extend(text.chars().filter(|&c| c == '\n'));
}
