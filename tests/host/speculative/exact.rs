//! Cases small enough to follow by hand.

use wgpu_attention::speculative::{Draft, DraftTree, accept, accept_tree, sample};

use super::numbers;

const LAST: f64 = 1.0 - f64::EPSILON / 2.0;

#[test]
fn without_drafts_the_next_token_is_drawn_from_the_target() {
    let target = [[0.25_f32, 0.0, 0.75]];
    for (uniform, token) in [(0.0, 0), (0.249, 0), (0.25, 2), (LAST, 2)] {
        let accepted = accept(&[], &[], &target, numbers([uniform])).unwrap();
        assert_eq!((accepted.nodes.len(), accepted.next), (0, token));
    }
}

#[test]
fn a_draft_is_kept_below_the_ratio_and_replaced_from_the_difference() {
    let drafts = [Draft::Row(&[0.5, 0.25, 0.25])];
    let targets = [[0.25_f32, 0.5, 0.25], [0.0, 0.0, 1.0]];
    let kept = accept(&[0], &drafts, &targets, numbers([0.499, 0.3])).unwrap();
    assert_eq!((&kept.nodes[..], kept.next), (&[0][..], 2));
    // The difference is positive at token 1 only.
    for uniform in [0.0, 0.5, LAST] {
        let replaced = accept(&[0], &drafts, &targets, numbers([0.5, uniform])).unwrap();
        assert_eq!((replaced.nodes.len(), replaced.next), (0, 1));
    }
}

#[test]
fn the_first_rejection_ends_a_chain() {
    let row: &[f32] = &[0.5, 0.5];
    let targets = [[0.5_f32, 0.5], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]];
    let drafts = [Draft::Row(row); 3];
    let accepted = accept(&[1, 0, 1], &drafts, &targets, numbers([0.9, 0.0, 0.0])).unwrap();
    assert_eq!((&accepted.nodes[..], accepted.next), (&[0][..], 1));
}

#[test]
fn a_long_chain_has_no_limit_of_nodes() {
    let targets = vec![[0.0_f32, 1.0]; 1001];
    let accepted = accept(&[1; 1000], &[Draft::Deterministic; 1000], &targets, || 0.5);
    assert_eq!(accepted.unwrap().nodes.len(), 1000);
}

#[test]
fn one_number_per_tried_draft_and_one_for_the_next_token() {
    let row: &[f32] = &[0.25; 4];
    let mut taken = 0;
    let mut count = || {
        taken += 1;
        0.0
    };
    accept(&[0; 5], &[Draft::Row(row); 5], &[row; 6], &mut count).unwrap();
    assert_eq!(taken, 6);
    // Both siblings are rejected, the child of the first is not tried.
    let tree = DraftTree::new(&[-1, 0, -1], &[0, 1, 1]).unwrap();
    let targets = [[0.0_f32, 0.0, 0.0, 1.0]; 4];
    let mut taken = 0;
    let mut count = || {
        taken += 1;
        0.0
    };
    accept_tree(&tree, &[Draft::Row(row); 3], &targets, &mut count).unwrap();
    assert_eq!(taken, 3);
}

#[test]
fn greedy_rows_give_greedy_text_whatever_the_numbers() {
    let hot =
        |token: usize| -> Vec<f32> { (0..4).map(|t| f32::from(u8::from(t == token))).collect() };
    let targets = [hot(2), hot(0), hot(1)];
    let drafts = [
        Draft::Row(&[0.1, 0.1, 0.7, 0.1]),
        Draft::Row(&[0.1, 0.1, 0.1, 0.7]),
    ];
    for uniform in [0.0, 0.3, LAST] {
        let accepted = accept(&[2, 3], &drafts, &targets, || uniform).unwrap();
        assert_eq!((&accepted.nodes[..], accepted.next), (&[0][..], 0));
    }
}

#[test]
fn a_tree_follows_the_first_sibling_that_is_kept() {
    // Node 2 is kept at the top, then node 5, a leaf.
    let tree = DraftTree::new(&[-1, 0, -1, -1, 2, 2], &[0, 1, 1, 2, 0, 3]).unwrap();
    let certain =
        |token: usize| -> Vec<f32> { (0..4).map(|t| f32::from(u8::from(t == token))).collect() };
    let mut targets = vec![vec![0.25; 4]; 7];
    targets[0] = certain(1);
    targets[3] = certain(3);
    targets[6] = certain(2);
    let accepted = accept_tree(&tree, &[Draft::Deterministic; 6], &targets, || 0.5).unwrap();
    assert_eq!((&accepted.nodes[..], accepted.next), (&[2, 5][..], 2));
}

#[test]
fn siblings_share_the_residual() {
    // q = (.2, .3, .5): after token 0 is rejected .3/.8 is left for token 1.
    let tree = DraftTree::new(&[-1, -1], &[0, 1]).unwrap();
    let targets = [[0.2_f32, 0.3, 0.5]; 3];
    let next = |uniform| {
        let drafts = [Draft::Deterministic; 2];
        accept_tree(&tree, &drafts, &targets, numbers([0.3, uniform, 0.9])).unwrap()
    };
    assert_eq!(next(0.374).nodes, [1]);
    let rejected = next(0.376);
    assert_eq!((rejected.nodes.len(), rejected.next), (0, 2));
}

/// Every draft and every cell of a grid on which all ratios and residuals fall, counted: the output is q, not nearly q.
#[test]
fn counted_over_all_numbers_two_siblings_give_the_target() {
    let draft = [0.5_f32, 0.25, 0.25];
    let target = [1.0_f32 / 6.0, 1.0 / 3.0, 0.5];
    let grid = || (0..12).map(|k| (f64::from(k) + 0.5) / 12.0);
    let mut output = [0.0; 3];
    for (first, second) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let left = 1.0 - f64::from(draft[first]);
        let weight = f64::from(draft[first]) * f64::from(draft[second]) / left / 12_f64.powi(3);
        let tokens = [first as u32, second as u32];
        let tree = DraftTree::new(&[-1, -1], &tokens).unwrap();
        for u in grid() {
            for (v, w) in grid().flat_map(|v| grid().map(move |w| (v, w))) {
                let mut given = [u, v, w].into_iter();
                let uniform = || given.next().unwrap();
                let accepted =
                    accept_tree(&tree, &[Draft::Row(&draft); 2], &[target; 3], uniform).unwrap();
                let token = accepted
                    .nodes
                    .first()
                    .map_or(accepted.next, |&node| tokens[node]);
                output[token as usize] += weight;
            }
        }
    }
    for (got, want) in output.into_iter().zip(target) {
        assert!(
            (got - f64::from(want)).abs() < 1e-7,
            "{output:?} is not {target:?}"
        );
    }
}

#[test]
fn rows_that_differ_by_rounding_keep_every_draft() {
    let draft: &[f32] = &[0.1, 0.2, 0.7];
    let target: Vec<f32> = draft.iter().map(|p| p * 1.0005).collect();
    let targets = [&target[..]; 2];
    for token in 0..3 {
        for uniform in [0.0, 0.999_999] {
            let accepted = accept(&[token], &[Draft::Row(draft)], &targets, || uniform).unwrap();
            assert_eq!(accepted.nodes, [0], "token {token} at {uniform}");
        }
        let accepted = accept(&[token], &[Draft::Row(draft)], &[draft; 2], || LAST).unwrap();
        assert_eq!(accepted.nodes, [0], "token {token}");
    }
}

#[test]
fn no_token_comes_that_the_target_excludes() {
    // f64 cannot tell the two sums apart, so nothing is left of the difference.
    let drafts = [Draft::Row(&[1.0, 1e-30])];
    for uniform in [0.0, 0.5, LAST] {
        let accepted = accept(&[1], &drafts, &[[1.0_f32, 0.0]; 2], || uniform).unwrap();
        assert_eq!((accepted.nodes.len(), accepted.next), (0, 0));
    }
}

#[test]
fn what_siblings_leave_may_be_tiny() {
    let row = [1.0_f32, 1e-30, 3e-30];
    assert_eq!(sample(&row, &[0], || 0.2), Ok(1));
    assert_eq!(sample(&row, &[0], || 0.3), Ok(2));
    // p₂ of token 1 is a quarter, and so is r₂.
    let tree = DraftTree::new(&[-1, -1], &[0, 1]).unwrap();
    let targets = [[0.0_f32, 0.25, 0.75]; 3];
    let accepted = accept_tree(
        &tree,
        &[Draft::Row(&row); 2],
        &targets,
        numbers([0.0, 0.99, 0.0]),
    );
    assert_eq!(accepted.unwrap().nodes, [1]);
}

#[test]
fn taken_tokens_are_not_drawn_again() {
    let row = [0.25_f32; 4];
    for (taken, uniform, token) in [(&[][..], 0.3, 1), (&[1], 0.34, 2), (&[3, 0, 0], 0.49, 1)] {
        assert_eq!(sample(&row, taken, || uniform), Ok(token));
    }
}
