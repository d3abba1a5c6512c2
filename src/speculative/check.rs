//! What is refused before the first number is taken.

use super::draft::Draft;
use super::row::{DRAFTS, TARGETS};
use crate::error::{Error, Result};

pub(super) fn operands(
    parents: &[i32],
    tokens: &[u32],
    drafts: &[Draft<'_>],
    targets: &[impl AsRef<[f32]>],
) -> Result<()> {
    Error::check_values("drafts", drafts.len(), tokens.len() as u64)?;
    Error::check_values("targets", targets.len(), tokens.len() as u64 + 1)?;
    let vocabulary = targets[0].as_ref().len();
    for (index, target) in targets.iter().enumerate() {
        TARGETS.check_length(index, target.as_ref(), vocabulary)?;
        TARGETS.check(index, target.as_ref())?;
    }
    for (index, &token) in tokens.iter().enumerate() {
        in_vocabulary("tokens", index, token, vocabulary)?;
        new_sibling(parents, tokens, index)?;
        draft(drafts, index, token, vocabulary)?;
    }
    Ok(())
}

pub(super) fn in_vocabulary(
    what: &'static str,
    index: usize,
    token: u32,
    vocabulary: usize,
) -> Result<()> {
    if (token as usize) < vocabulary {
        return Ok(());
    }
    Err(Error::Element {
        what,
        index,
        actual: i64::from(token),
        allowed: format!("0 to {}, the rows' tokens", vocabulary - 1),
    })
}

fn new_sibling(parents: &[i32], tokens: &[u32], node: usize) -> Result<()> {
    let same = |&other: &usize| parents[other] == parents[node] && tokens[other] == tokens[node];
    // A parent stands before its children, so siblings stand after it.
    let first = (parents[node] + 1) as usize;
    match (first..node).find(same) {
        None => Ok(()),
        Some(sibling) => Err(Error::Element {
            what: "tokens",
            index: node,
            actual: i64::from(tokens[node]),
            allowed: format!(
                "a token that no earlier sibling has, and node {sibling} has it; draft siblings without replacement"
            ),
        }),
    }
}

fn draft(drafts: &[Draft<'_>], node: usize, token: u32, vocabulary: usize) -> Result<()> {
    let Draft::Row(row) = drafts[node] else {
        return Ok(());
    };
    DRAFTS.check_length(node, row, vocabulary)?;
    // Siblings often share a row, and stand side by side.
    let known = node > 0 && matches!(drafts[node - 1], Draft::Row(last) if std::ptr::eq(last, row));
    if !known {
        DRAFTS.check(node, row)?;
    }
    let p = row[token as usize];
    if p > 0.0 {
        return Ok(());
    }
    let allowed = "numbers above 0, as the token was drawn from this row";
    Err(DRAFTS.probability(node, token as usize, p, allowed))
}
