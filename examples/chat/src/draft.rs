//! Prompt look-up: what followed the last tokens where they stood before is guessed to follow again.
//!
//! Source: A. Saxena, "Prompt Lookup Decoding" (2023); an n-gram draft in place of a small model.

/// Tokens that must agree: as many as may, for they are right more often, and two at the least.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Up to `most` tokens that may follow `text`.
pub fn look_up(text: &[u32], most: usize) -> &[u32] {
    let found = (SHORTEST..=LONGEST)
        .rev()
        .find_map(|len| after_last(text, len));
    let found = found.unwrap_or_default();
    &found[..found.len().min(most)]
}

/// What followed the last `len` tokens where they stood last before.
fn after_last(text: &[u32], len: usize) -> Option<&[u32]> {
    let last = text.len().checked_sub(len)?;
    let before = &text[..text.len() - 1];
    let at = before
        .windows(len)
        .rposition(|tokens| *tokens == text[last..])?;
    Some(&text[at + len..])
}
