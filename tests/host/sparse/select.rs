//! What is told of a choice of blocks.

use wgpu_attention::problem::{BlockGrid, BlockMask, Coverage, DeviceBlocks};

#[test]
fn coverage_is_over_rows_that_see_something() {
    let fully_masked = f32::NEG_INFINITY;
    let of = |lse: &[f32], dense: &[f32]| Coverage::of(lse, dense).expect("as many rows");
    let half = 0.5f32.ln();
    let coverage = of(
        &[half, 0.0, fully_masked, fully_masked],
        &[0.0, 0.0, 0.0, fully_masked],
    );
    assert_eq!((coverage.rows, coverage.least), (3, 0.0));
    assert!((coverage.mean - 0.5).abs() < 1e-7, "{coverage:?}");
    let with_nonfinite = of(&[half, f32::NAN, 0.0], &[0.0; 3]);
    assert!(
        with_nonfinite.mean.is_nan() && with_nonfinite.least.is_nan(),
        "{with_nonfinite:?}"
    );
    assert!(Coverage::of(&[0.0], &[]).is_err());
}

#[test]
fn encoded_lists_are_read_as_they_were() {
    let grid = BlockGrid::new(16, 70, 90);
    let mask = BlockMask::from_fn(grid, |_, _, i, j| j <= i).expect("a legal grid");
    let lists = DeviceBlocks::new(grid, 4);
    let words = lists.encode(&mask).expect("the mask's own grid");
    assert_eq!(words.len() as u64, lists.words());
    assert_eq!(lists.list(&words, 1), [(0, false), (1, true)]);
    // No room for the last list's blocks: it stands for all.
    let all: Vec<_> = (0..6).map(|block| (block, true)).collect();
    assert_eq!(lists.list(&words, 4), all);
    let other = grid.with_heads(2);
    assert!(DeviceBlocks::new(other, 4).encode(&mask).is_err());
}
