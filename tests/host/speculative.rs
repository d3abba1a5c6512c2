//! Speculative sampling: small cases by hand, what is refused, and that the output has the target's distribution.

mod bad_input;
mod chi_squared;
mod distribution;
mod exact;
mod wrong_rules;

use wgpu_attention::speculative::{Accepted, Draft, DraftTree, accept, accept_tree};

/// A `uniform` that gives these numbers and no more.
fn numbers<const N: usize>(numbers: [f64; N]) -> impl FnMut() -> f64 {
    let mut numbers = numbers.into_iter();
    move || numbers.next().expect("no more numbers than a call takes")
}

fn is_chain(parents: &[i32]) -> bool {
    parents.iter().copied().eq((-1..).take(parents.len()))
}

/// The library's answer, by the chain's function where the tree is one.
fn verify(
    parents: &[i32],
    tokens: &[u32],
    drafts: &[Draft],
    targets: &[&[f32]],
    uniform: impl FnMut() -> f64,
) -> Accepted {
    if is_chain(parents) {
        accept(tokens, drafts, targets, uniform).unwrap()
    } else {
        let tree = DraftTree::new(parents, tokens).unwrap();
        accept_tree(&tree, drafts, targets, uniform).unwrap()
    }
}
