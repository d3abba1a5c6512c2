//! What is refused, and in which words.

use wgpu_attention::speculative::{Draft, DraftTree, MAX_TREE, accept, accept_tree, sample};

const FLAT: &[f32] = &[0.25; 4];

/// The answer to one draft of token 0 and two target rows, one thing of which is changed.
#[track_caller]
fn refused(tokens: &[u32], drafts: &[Draft], targets: &[&[f32]], message: &str) {
    let never = || panic!("a number was taken before the operands were looked at");
    let error = accept(tokens, drafts, targets, never).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn numbers_of_rows() {
    refused(&[0], &[], &[FLAT; 2], "drafts has 0 values; it needs 1");
    let drafts = [Draft::Row(FLAT)];
    refused(&[0], &drafts, &[FLAT], "targets has 1 values; it needs 2");
    refused(
        &[0],
        &drafts,
        &[FLAT; 3],
        "targets has 3 values; it needs 2",
    );
    refused(&[], &[], &[], "targets has 0 values; it needs 1");
}

#[test]
fn lengths_of_rows() {
    let drafts = [Draft::Row(FLAT)];
    let message = "the length of targets[1] is 3; allowed is 4, that of targets[0]";
    refused(&[0], &drafts, &[FLAT, &FLAT[1..]], message);
    let message = "the length of drafts[0] is 3; allowed is 4, that of targets[0]";
    refused(&[0], &[Draft::Row(&FLAT[1..])], &[FLAT; 2], message);
    let message = "the length of targets[0] is 0; allowed is the vocabulary's size, 1 or more";
    refused(&[], &[], &[&[]], message);
}

#[test]
fn numbers_that_are_no_probabilities() {
    for (value, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-0.25, "-0.25")] {
        let row: &[f32] = &[0.25, 0.5, value, 0.25];
        let message = |what: &str| {
            format!(
                "{what} gives token 2 the probability {shown}; allowed are finite numbers from 0 on"
            )
        };
        refused(&[0], &[Draft::Row(row)], &[FLAT; 2], &message("drafts[0]"));
        refused(
            &[0],
            &[Draft::Deterministic],
            &[FLAT, row],
            &message("targets[1]"),
        );
    }
}

#[test]
fn sums_of_rows() {
    let scores: &[f32] = &[0.25, 0.25, 0.25, 0.125];
    let message = |what: &str| {
        format!(
            "the sum of {what} is 0.875; allowed are 1 within 0.001; give what softmax makes of the scores"
        )
    };
    refused(
        &[0],
        &[Draft::Row(scores)],
        &[FLAT; 2],
        &message("drafts[0]"),
    );
    refused(
        &[0],
        &[Draft::Deterministic],
        &[FLAT, scores],
        &message("targets[1]"),
    );
    let large = [f32::MAX; 4]; // overflows f32, not f64
    assert!(sample(&large, &[], || 0.0).is_err());
    let rounded = [0.25, 0.25, 0.25, 0.2495];
    assert!(sample(&rounded, &[], || 0.0).is_ok());
}

#[test]
fn a_row_after_one_that_siblings_share_is_looked_at() {
    let tree = DraftTree::new(&[-1, -1, -1], &[0, 1, 2]).unwrap();
    let drafts = [Draft::Row(FLAT), Draft::Row(FLAT), Draft::Row(&[0.1; 4])];
    let error = accept_tree(&tree, &drafts, &[FLAT; 4], || 0.0).unwrap_err();
    assert!(
        error.to_string().starts_with("the sum of drafts[2] is 0.4"),
        "{error}"
    );
}

#[test]
fn tokens() {
    let message = "tokens[0] is 4; allowed is 0 to 3, the rows' tokens";
    refused(&[4], &[Draft::Row(FLAT)], &[FLAT; 2], message);
    refused(&[4], &[Draft::Deterministic], &[FLAT; 2], message);
    let message = "drafts[0] gives token 1 the probability 0; allowed are numbers above 0, as the token was drawn from \
                   this row";
    refused(
        &[1],
        &[Draft::Row(&[0.5, 0.0, 0.5, 0.0])],
        &[FLAT; 2],
        message,
    );
}

#[test]
fn a_sibling_twice() {
    let tree = DraftTree::new(&[-1, 0, -1, -1], &[2, 2, 1, 2]).unwrap();
    let error = accept_tree(&tree, &[Draft::Row(FLAT); 4], &[FLAT; 5], || 0.0).unwrap_err();
    let message = "tokens[3] is 2; allowed is a token that no earlier sibling has, and node 0 has it; draft siblings \
                   without replacement";
    assert_eq!(error.to_string(), message);
}

#[test]
fn parents() {
    let message =
        |parents: &[i32], tokens: &[u32]| DraftTree::new(parents, tokens).unwrap_err().to_string();
    assert_eq!(
        message(&[0], &[1]),
        "parents[0] is 0; allowed is -1, for no node stands before it"
    );
    for wrong in [2, 3, -2, i32::MIN, i32::MAX] {
        let message = message(&[-1, 0, wrong], &[1; 3]);
        let want = format!(
            "parents[2] is {wrong}; allowed is -1 or 0 to 1, a node before it: order parents before children"
        );
        assert_eq!(message, want);
    }
    assert_eq!(message(&[-1], &[1, 2]), "parents has 1 values; it needs 2");
}

#[test]
fn more_nodes_than_a_mask_has_bits() {
    let parents: Vec<i32> = (-1..MAX_TREE as i32).collect();
    let tokens = [0; MAX_TREE + 1];
    assert!(DraftTree::new(&parents[..MAX_TREE], &tokens[1..]).is_ok());
    let error = DraftTree::new(&parents, &tokens).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tree's number of nodes is 128; allowed is 0 to 127"
    );
}

#[test]
fn numbers_outside_of_the_unit_interval() {
    for (uniform, shown) in [(1.0, "1"), (-0.5, "-0.5"), (f64::NAN, "NaN")] {
        let error = accept(&[], &[], &[FLAT], || uniform).unwrap_err();
        let message = format!("the uniform number is {shown}; allowed is 0 to below 1");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn nothing_left_to_draw() {
    let row = [0.5_f32, 0.5, 0.0];
    let error = sample(&row, &[0, 1], || 0.0).unwrap_err();
    let message = "the probability that is left of the row is 0; allowed is above 0; take fewer tokens than have a probability";
    assert_eq!(error.to_string(), message);
    let error = sample(&row, &[3], || 0.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "taken[0] is 3; allowed is 0 to 2, the rows' tokens"
    );
}
