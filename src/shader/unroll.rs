//! Unrolls loops in the text. KeyLoop loops over private arrays are up to 17 times slower under wgpu's default runtime
//! checks on a software adapter (they hide trip count and index from the driver), unrolled ones lose nothing.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

use super::line::{Line, braces};

/// Replaces every `@unroll for (var i = 0u; i < N; i++) { … }` by N copies of its body, i replaced by its value; an
/// inner loop is unrolled in each copy. N is a number or one of `constants`. `@unroll_one` does so for a single turn and
/// leaves other loops as they are.
pub(super) fn unroll(
    lines: Vec<Line>,
    constants: &BTreeMap<&'static str, u32>,
) -> Result<Vec<Line>> {
    let mut out = Vec::with_capacity(lines.len() * 4);
    emit(&lines, constants, &mut out)?;
    Ok(out)
}

fn emit(
    lines: &[Line],
    constants: &BTreeMap<&'static str, u32>,
    out: &mut Vec<Line>,
) -> Result<()> {
    let mut n = 0;
    while n < lines.len() {
        let line = &lines[n];
        let Some((header, only_one)) = marked(&line.text) else {
            out.push(line.clone());
            n += 1;
            continue;
        };
        let at = |message: &str| Error::compose(&line.module, line.number, message);
        let (name, bound, first) =
            parse(header).ok_or_else(|| at("this is no loop that @unroll knows"))?;
        let count = bound
            .trim_end_matches('u')
            .parse()
            .ok()
            .or_else(|| constants.get(bound).copied())
            .ok_or_else(|| {
                at("the bound of @unroll is neither a number nor a constant of the variant")
            })?;
        if only_one && count != 1 {
            let text = header.to_string();
            out.push(Line {
                text,
                ..line.clone()
            });
            n += 1;
            continue;
        }
        let (body, next) =
            body(lines, n, first).ok_or_else(|| at("the block of @unroll does not end"))?;
        for value in 0..count {
            let value = format!("{value}u");
            let copy: Vec<Line> = body
                .iter()
                .map(|line| substitute(line, name, &value))
                .collect();
            emit(&copy, constants, out)?;
        }
        n = next;
    }
    Ok(())
}

/// The loop behind `@unroll ` or `@unroll_one `, and whether it is the latter.
fn marked(text: &str) -> Option<(&str, bool)> {
    let text = text.trim_start();
    let always = text.strip_prefix("@unroll ").map(|header| (header, false));
    always.or_else(|| Some((text.strip_prefix("@unroll_one ")?, true)))
}

/// `for (var i = 0u; i < N; i++) rest` → (i, N, rest)
fn parse(header: &str) -> Option<(&str, &str, &str)> {
    let rest = header.strip_prefix("for (var ")?;
    let (name, rest) = rest.split_once(" = 0u; ")?;
    let rest = rest.strip_prefix(name)?.strip_prefix(" < ")?;
    let (bound, rest) = rest.split_once("; ")?;
    let rest = rest.strip_prefix(name)?.strip_prefix("++) ")?;
    Some((name, bound, rest))
}

/// The block that opens in `first` on line `start`, its braces kept (they make a scope of each copy), and the number
/// of the line after it.
fn body(lines: &[Line], start: usize, first: &str) -> Option<(Vec<Line>, usize)> {
    let opening = Line {
        text: first.to_string(),
        ..lines[start].clone()
    };
    let mut depth = braces(first);
    let mut body = vec![opening];
    let mut n = start + 1;
    while depth > 0 {
        let line = lines.get(n)?;
        depth += braces(&line.text);
        body.push(line.clone());
        n += 1;
    }
    // `{ @unroll … }` on one line: give the inner loop a line of its own.
    if body.len() == 1 && first.contains("@unroll") {
        let inner = first.strip_prefix('{')?.strip_suffix('}')?;
        let part = |text: &str| Line {
            text: text.to_string(),
            ..lines[start].clone()
        };
        body = vec![part("{"), part(inner.trim()), part("}")];
    }
    Some((body, n))
}

fn substitute(line: &Line, name: &str, value: &str) -> Line {
    // A member `.i` is no variable i.
    let text = map_words(&line.text, |word, is_member| {
        (word == name && !is_member).then(|| value.to_string())
    });
    Line {
        text,
        ..line.clone()
    }
}

/// Replaces the words for which `f` has an answer; it is told whether a word is a member's name.
pub(super) fn map_words(text: &str, f: impl Fn(&str, bool) -> Option<String>) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, word) = rest.split_at(start);
        out.push_str(before);
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        out.push_str(&f(word, before.ends_with('.')).unwrap_or_else(|| word.to_string()));
        rest = after;
    }
    out.push_str(rest);
    out
}
