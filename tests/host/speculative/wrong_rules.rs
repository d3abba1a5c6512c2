//! Rules that look right and are not: the statistical tests must tell them from the library's.

use rand::{Rng, rngs::StdRng};
use wgpu_attention::speculative::Draft;

use super::distribution::{Drafted, Drafting, Rule, TREE, draw, measured, peaked};

/// Goes down the tree as long as `keep` keeps a child, then lets `last` choose the token; both know the node, or −1, whose
/// children are tried.
fn descend(
    drafted: &Drafted,
    random: &mut StdRng,
    keep: impl Fn(&Drafted, usize, &mut StdRng) -> bool,
    last: impl Fn(&Drafted, i32, &mut StdRng) -> u32,
) -> (Vec<usize>, u32) {
    let mut nodes = Vec::new();
    let mut parent = -1;
    loop {
        let mut children =
            (0..drafted.tokens.len()).filter(|&node| drafted.parents[node] == parent);
        match children.find(|&node| keep(drafted, node, random)) {
            Some(node) => {
                nodes.push(node);
                parent = node as i32;
            }
            None => return (nodes, last(drafted, parent, random)),
        }
    }
}

fn from_target(drafted: &Drafted, parent: i32, random: &mut StdRng) -> u32 {
    draw(drafted.targets[(parent + 1) as usize], &[], random).unwrap()
}

/// min(1, q/p) against the whole target row.
fn by_ratio(drafted: &Drafted, node: usize, random: &mut StdRng) -> bool {
    let token = drafted.tokens[node] as usize;
    let q = drafted.targets[(drafted.parents[node] + 1) as usize][token];
    match drafted.drafts[node] {
        Draft::Row(row) => random.random::<f32>() * row[token] < q,
        Draft::Deterministic => random.random::<f32>() < q,
    }
}

fn accept_always(drafted: &Drafted, random: &mut StdRng) -> (Vec<usize>, u32) {
    descend(drafted, random, |_, _, _| true, from_target)
}

fn resample_from_the_target(drafted: &Drafted, random: &mut StdRng) -> (Vec<usize>, u32) {
    descend(drafted, random, by_ratio, from_target)
}

/// From the difference to the first sibling's row: right for a chain, wrong where siblings were rejected against q.
fn forget_the_residual(drafted: &Drafted, random: &mut StdRng) -> (Vec<usize>, u32) {
    descend(drafted, random, by_ratio, |drafted, parent, random| {
        let row = drafted.targets[(parent + 1) as usize];
        let child = (0..drafted.tokens.len()).find(|&node| drafted.parents[node] == parent);
        let less = |draft: &[f32]| -> Vec<f32> {
            row.iter()
                .zip(draft)
                .map(|(&q, &p)| (q - p).max(0.0))
                .collect()
        };
        match child.map(|node| drafted.drafts[node]) {
            Some(Draft::Row(draft)) => draw(&less(draft), &[], random).unwrap(),
            _ => draw(row, &[], random).unwrap(),
        }
    })
}

fn off(rule: Rule, shape: &[i32]) -> [f64; 2] {
    let (target, draft) = (peaked(6, 2, 30), peaked(6, 2, 31));
    measured(rule, shape, Drafting::Sampled, &target, &draft, 32)
}

#[test]
fn wrong_rules_are_found_on_chains_and_trees() {
    for rule in [accept_always as Rule, resample_from_the_target] {
        for shape in [&[-1][..], &[-1, 0, 1], &TREE] {
            let off = off(rule, shape);
            assert!(off.iter().all(|&far| far > 10.0), "{shape:?}: {off:.1?}");
        }
    }
}

#[test]
fn siblings_tried_against_the_whole_target_are_found() {
    assert!(off(forget_the_residual, &[-1]).iter().all(|&far| far < 4.5));
    assert!(
        off(forget_the_residual, &TREE)
            .iter()
            .all(|&far| far > 10.0)
    );
}
