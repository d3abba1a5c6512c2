//! Speculative sampling: which drafted tokens a target model keeps, and the token that comes next. Host code on rows of
//! probabilities, no GPU.
//!
//! A cheap draft guesses a few tokens, the target model reads all of them in one call, and what is kept of them is
//! distributed as if the target had written every token by itself. [`accept`] verifies a chain of drafts, [`accept_tree`] a
//! tree of them ([`DraftTree`]), and [`sample`] draws drafts.
//!
//! # Shapes
//!
//! | what | shape | meaning |
//! | --- | --- | --- |
//! | tokens | `[n]` | the drafted tokens |
//! | drafts | `[n]` of [`Draft`] | what each token was drawn from: a row of V probabilities, or a deterministic draft |
//! | targets | `[n + 1]` rows of V | row 0 follows the text, row i + 1 follows draft i (and what leads to it) |
//!
//! A row is what a token is drawn from: after temperature, top-k and top-p. It sums to 1 within [`TOLERANCE`] and is
//! divided by its sum, in f64. The output follows the target rows as they are given, so the draft may use other settings.
//! Greedy text is rows with a single 1: then a draft is kept exactly where it is the target's choice.
//!
//! # Example
//!
//! ```
//! use wgpu_attention::speculative::{Draft, accept};
//!
//! // A vocabulary of three tokens. The draft model drew token 0, then token 2.
//! let drafts = [Draft::Row(&[0.6, 0.3, 0.1]), Draft::Row(&[0.2, 0.2, 0.6])];
//! let targets = [[0.3, 0.6, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]];
//! let mut numbers = [0.4, 0.9, 0.5].into_iter(); // in a program: a generator's numbers
//!
//! let accepted = accept(&[0, 2], &drafts, &targets, || numbers.next().unwrap())?;
//!
//! // Token 0 is kept with probability 0.3 / 0.6, and 0.4 is below that; token 2 for certain, as 0.8 > 0.6.
//! assert_eq!(accepted.nodes, [0, 1]);
//! // 0.5 falls into token 1 of the last row: 0.2 ≤ 0.5 < 0.7.
//! assert_eq!(accepted.next, 1);
//! # Ok::<(), wgpu_attention::Error>(())
//! ```
//!
//! # A tree, from its drafts to what is kept
//!
//! One call of the target model verifies a whole tree: its queries are the text's last token and the nodes.
//!
//! ```
//! use wgpu_attention::problem::Tree;
//! use wgpu_attention::reference::{Tensors, forward};
//! use wgpu_attention::speculative::{Draft, DraftTree, accept_tree};
//! use wgpu_attention::{Element, Mask, Problem, Shape};
//!
//! // Drafts: token 2 or token 0 may come next, and after token 2 token 1.
//! let tree = DraftTree::new(&[-1, -1, 0], &[2, 0, 1])?;
//!
//! // The mask: each query sees the text before, its ancestors and itself.
//! assert_eq!(tree.mask(), Tree::Host(vec![-1, 0, 0, 1]));
//! let mut shape = Shape::square(1, 1, 7, 3); // seven keys, of which the last four are those of the call
//! shape.q_len = 4;
//! let problem = Problem::new(shape, Element::F32).with_mask(Mask::default().with_tree(tree.mask()));
//!
//! // The call: its row 0 follows the text, row n + 1 node n. (A program asks the GPU; this model has one layer and
//! // counts the tokens that it sees.)
//! let tokens = [0, 1, 1, 2, 2, 0, 1]; // three of the text, its last one and the drafts
//! let v: Vec<f64> = tokens.iter().flat_map(|&t| (0..3).map(move |c| f64::from(u8::from(c == t)))).collect();
//! let rows = forward(&problem, &Tensors::new(&[0.0; 12], &[0.0; 21], &v)).o;
//! let targets: Vec<Vec<f32>> = rows.chunks(3).map(|row| row.iter().map(|&x| x as f32).collect()).collect();
//! assert_eq!(targets[0], [0.25, 0.5, 0.25]);
//! assert_eq!(targets[3], [1.0 / 6.0, 0.5, 2.0 / 6.0]); // 0 1 1 2 2 1: nothing of the other branch
//!
//! // What is kept.
//! let mut numbers = [0.2, 0.1, 0.9].into_iter();
//! let accepted = accept_tree(&tree, &[Draft::Deterministic; 3], &targets, || numbers.next().unwrap())?;
//! assert_eq!(accepted.nodes, [0, 2]); // tokens 2 and 1
//! assert_eq!(accepted.next, 2);
//! # Ok::<(), wgpu_attention::Error>(())
//! ```
//!
//! # Random numbers
//!
//! `uniform` gives independent numbers in `[0, 1)`; equal numbers give equal tokens. One is taken for each draft that is
//! tried, also where it is kept for certain, and then one for the next token.
//!
//! # Why the output does not change
//!
//! *One draft* (Leviathan et al. 2211.17192, Chen et al. 2302.01318). Let p be the draft's row and q the target's. A token x
//! from p is kept with probability `min(1, q(x)/p(x))`, so it is drafted and kept with probability `min(p(x), q(x))`.
//! A draft is thus rejected with probability `1 − Σ min(p, q) = Σ (q − p)₊`. Then the token comes from
//! `r = (q − p)₊ / Σ (q − p)₊`, which adds `(q(x) − p(x))₊`. In all: `min(p(x), q(x)) + (q(x) − p(x))₊ = q(x)`. The draft
//! decides how often a token is kept, never which tokens come out. Resampling from q itself would give
//! `min(p, q) + q·Σ (q − p)₊`: too much of what the draft likes.
//!
//! *A deterministic draft* (a continuation looked up in the prompt, a model's k likeliest tokens) is p with a single 1 at x:
//! x is kept with probability q(x), and else the token comes from q without x.
//!
//! *A chain.* After a kept draft the text is one token longer and the same argument holds for the next row. The first
//! rejection ends it, for later drafts follow a token that is not there. When all are kept the target's last row is at hand
//! and gives one more token. By induction every token that comes out has the target's distribution given those before it.
//!
//! *Siblings of a tree*: recursive rejection sampling (Jeon et al. 2402.14160; Sequoia, 2402.12374, removes rejected tokens
//! likewise), which is SpecInfer's multi-step sampling (2305.09781) for drafts *without* replacement. Siblings x₁, x₂, …
//! are drafted in the order of their indices, x_j from its row without x₁ … x_{j−1}, divided by what is left: p_j.
//! They are tried in turn, at first against r₁ = q: x_j is kept with probability `min(1, r_j(x_j)/p_j(x_j))`, and a
//! rejection leaves `r_{j+1} = (r_j − p_j)₊`, normalised; after the last one the token comes from what is left. Proof,
//! from the last sibling back: r_{j+1} depends on x₁ … x_{j−1} and not on x_j, and given those, x_j is drawn from p_j. If what
//! follows a rejection of x_j gives tokens distributed as r_{j+1} (for the last one it is drawn so), then by the argument
//! of *one draft* with p_j and r_j, what begins with x_j gives tokens distributed as r_j. At j = 1 that is q. A kept node's
//! children are then siblings against the row after it, as in a chain.
//!
//! Whether a node is drafted at all may depend on what was drafted before it, not on its own token: a tree from which
//! sampled nodes are removed because *they* are unlikely no longer has drafts from p. The likeliest tokens of a row are not
//! sampled: [`Draft::Deterministic`].
//!
//! # Errors
//!
//! A row that holds NaN, an infinity or a negative number, is of another length than the first target row or does not sum
//! to 1; a token outside of the vocabulary, or that its draft cannot have drawn (probability 0, or an earlier sibling's
//! token); numbers of drafts and targets that do not fit; a parent that does not come before its child; a tree of more than
//! [`MAX_TREE`] nodes; a `uniform` outside of `[0, 1)`. All rows are looked at before the first number is taken.

mod check;
mod draft;
mod residual;
mod row;
mod tree;

pub use draft::Draft;
pub use row::TOLERANCE;
pub use tree::{DraftTree, MAX_TREE};

use crate::error::{Error, Result};
use residual::Residual;

/// What is kept of the drafts, and the token after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// Indices of the drafts that are kept, each the child of the one before it; of a chain 0, 1, ….
    pub nodes: Vec<usize>,
    /// The token that follows them: the target's own.
    pub next: u32,
}

/// Verifies drafts that follow one another: `tokens[i]` was drawn from `drafts[i]` after all before it.
pub fn accept(
    tokens: &[u32],
    drafts: &[Draft<'_>],
    targets: &[impl AsRef<[f32]>],
    uniform: impl FnMut() -> f64,
) -> Result<Accepted> {
    let parents: Vec<i32> = (-1..).take(tokens.len()).collect();
    verify(&parents, tokens, drafts, targets, uniform)
}

/// Verifies a tree of drafts: siblings are tried in the order of their indices, the first that is kept leads on.
pub fn accept_tree(
    tree: &DraftTree<'_>,
    drafts: &[Draft<'_>],
    targets: &[impl AsRef<[f32]>],
    uniform: impl FnMut() -> f64,
) -> Result<Accepted> {
    verify(tree.parents(), tree.tokens(), drafts, targets, uniform)
}

/// Draws a token from `row` without those in `taken`: a draft beside its earlier siblings, or with nothing taken any token.
pub fn sample(row: &[f32], taken: &[u32], uniform: impl FnMut() -> f64) -> Result<u32> {
    row::ROW.check(0, row)?;
    for (index, &token) in taken.iter().enumerate() {
        check::in_vocabulary("taken", index, token, row.len())?;
    }
    let mut rest = Residual::default();
    rest.start(row);
    if !rest.remove(taken) {
        return Err(Error::Number {
            what: "the probability that is left of the row",
            actual: 0.0,
            allowed: "above 0; take fewer tokens than have a probability",
        });
    }
    Ok(rest.draw(number(uniform)?))
}

fn verify(
    parents: &[i32],
    tokens: &[u32],
    drafts: &[Draft<'_>],
    targets: &[impl AsRef<[f32]>],
    mut uniform: impl FnMut() -> f64,
) -> Result<Accepted> {
    check::operands(parents, tokens, drafts, targets)?;
    let mut nodes = Vec::new();
    let mut rest = Residual::default();
    let mut parent = -1; // the last node that was kept
    'deeper: loop {
        rest.start(targets[(parent + 1) as usize].as_ref());
        for node in children(parents, parent) {
            if rest.accepts(tokens[node], &drafts[node], number(&mut uniform)?) {
                nodes.push(node);
                parent = node as i32;
                continue 'deeper;
            }
        }
        let next = rest.draw(number(&mut uniform)?);
        return Ok(Accepted { nodes, next });
    }
}

fn children(parents: &[i32], parent: i32) -> impl Iterator<Item = usize> + '_ {
    let after = (parent + 1) as usize; // a parent stands before its children
    (after..parents.len()).filter(move |&node| parents[node] == parent)
}

fn number(mut uniform: impl FnMut() -> f64) -> Result<f64> {
    let number = uniform();
    if (0.0..1.0).contains(&number) {
        Ok(number)
    } else {
        Err(Error::number(
            "the uniform number",
            number as f32,
            "0 to below 1",
        ))
    }
}
