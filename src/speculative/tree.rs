//! Drafts that branch.

use crate::error::{Error, Result};
use crate::problem::{MAX_TREE_QUERIES, Tree, check_parents};

/// The most nodes of a tree: with the text's last token, which is a query of the same call, they are as many as a mask has
/// bits for ([`MAX_TREE_QUERIES`]).
pub const MAX_TREE: usize = MAX_TREE_QUERIES as usize - 1;

/// A tree of drafted tokens, told by parents. Siblings stand in the order in which they were drafted.
///
/// ```
/// use wgpu_attention::speculative::{Draft, DraftTree, accept_tree};
///
/// // Two guesses of the next token, 4 and 1, and one of what follows token 4; all looked up, none sampled.
/// let tree = DraftTree::new(&[-1, -1, 0], &[4, 1, 2])?;
/// let row = |token: usize| -> Vec<f32> { (0..5).map(|t| if t == token { 0.8 } else { 0.05 }).collect() };
/// let targets = [row(1), row(2), row(3), row(0)]; // after the text, after 4, after 1, after 4 2
/// let mut numbers = [0.5, 0.5, 0.5].into_iter();
///
/// let accepted = accept_tree(&tree, &[Draft::Deterministic; 3], &targets, || numbers.next().unwrap())?;
///
/// assert_eq!(accepted.nodes, [1]); // 4 has 0.05 and is rejected, 1 has 0.8 / 0.95 of what is left
/// assert_eq!(accepted.next, 3); // from the row after 1
/// # Ok::<(), wgpu_attention::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftTree<'a> {
    parents: &'a [i32],
    tokens: &'a [u32],
}

impl<'a> DraftTree<'a> {
    /// Node i is `tokens[i]` after node `parents[i]`, or after the text where that is −1. Parents stand before children.
    pub fn new(parents: &'a [i32], tokens: &'a [u32]) -> Result<Self> {
        if tokens.len() > MAX_TREE {
            return Err(Error::size(
                "the tree's number of nodes",
                tokens.len() as u64,
                format!("0 to {MAX_TREE}"),
            ));
        }
        Error::check_values("parents", parents.len(), tokens.len() as u64)?;
        check_parents("parents", "node", parents, 0)?;
        Ok(Self { parents, tokens })
    }

    /// The parent of each node, or −1.
    pub fn parents(&self) -> &'a [i32] {
        self.parents
    }

    /// The token of each node.
    pub fn tokens(&self) -> &'a [u32] {
        self.tokens
    }

    /// What the target model's call verifies it with, of one batch: query 0 is the text's last token, query n + 1 is node n.
    /// The rows of the call are then the targets of [`super::accept_tree`]. For several batches join the parents of their
    /// [`Tree::Host`], of as many queries each.
    pub fn mask(&self) -> Tree {
        let nodes = self.parents.iter().map(|parent| parent + 1);
        Tree::Host([-1].into_iter().chain(nodes).collect())
    }

    /// The positions of the same queries, of which the text's last token stands at `last`: siblings share one, which the
    /// default positions (one per key) do not say. Positions of queries and of their keys.
    pub fn positions(&self, last: i32) -> Vec<i32> {
        let mut positions = vec![last];
        for &parent in self.parents {
            positions.push(positions[(parent + 1) as usize].saturating_add(1));
        }
        positions
    }
}
