//! Texts and bytes, spoilt.

use crate::support::drawn::Draw;

/// What stands in texts of programs and of numbers, to be put where it does not belong.
const SCRAPS: [&str; 40] = [
    "0",
    "1",
    "-1",
    "2147483648",
    "4294967295u",
    "1e39",
    "1e-50",
    "0.5",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"x\"",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    "//",
    "/*",
    "*/",
    "\u{0}",
    "é",
    "😀",
    " ",
    "\n",
    "u32",
    "f32",
    "array<u32, 1000000000>()",
    "loop { }",
    "return",
    "struct",
    "const",
    "fn",
    "@id(0) override",
];

/// A few changes of a text, each of a part of it.
pub fn text(draw: &mut Draw, whole: &str) -> String {
    let mut text = whole.to_string();
    let changes = draw.pick(&[1, 1, 1, 2, 3]);
    for _ in 0..changes {
        let (a, b) = (place(draw, &text), place(draw, &text));
        let (a, b) = (a.min(b), a.max(b).min(a.min(b) + 40));
        let b = (b..=text.len())
            .find(|n| text.is_char_boundary(*n))
            .unwrap_or(text.len());
        let part = text[a..b].to_string();
        match draw.size(0, 9) {
            0 => text.replace_range(a..b, ""),
            1 => text.insert_str(b, &part),
            2 => text.insert_str(a, draw.pick(&SCRAPS)),
            3 => text.replace_range(a..b, draw.pick(&SCRAPS)),
            4 => text.truncate(b),
            _ => text = words(draw, &text),
        }
    }
    text
}

/// A place between two characters.
fn place(draw: &mut Draw, text: &str) -> usize {
    let at = draw.size(0, text.len() as u32) as usize;
    (0..=at)
        .rev()
        .find(|n| text.is_char_boundary(*n))
        .unwrap_or(0)
}

/// One word in the place of another, which parses more often.
fn words(draw: &mut Draw, text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let all: Vec<&str> = text
        .split(|c| !is_word(c))
        .filter(|w| !w.is_empty())
        .collect();
    if all.is_empty() {
        return text.into();
    }
    let (from, to) = (draw.pick(&all), draw.pick(&all));
    text.replacen(from, to, if draw.one_in(2) { 1 } else { usize::MAX })
}

/// A few changes of bytes.
pub fn bytes(draw: &mut Draw, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..draw.size(1, 3) {
        if bytes.is_empty() {
            break;
        }
        // The head of a file is what is parsed.
        let most = if draw.one_in(4) {
            bytes.len()
        } else {
            bytes.len().min(500)
        };
        let at = draw.size(0, most as u32 - 1) as usize;
        match draw.size(0, 4) {
            0 => bytes[at] = draw.word() as u8,
            1 => bytes[at] ^= 1 << draw.size(0, 7),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, draw.word() as u8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}
