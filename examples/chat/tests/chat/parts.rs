//! Small parts by themselves: blocks of numbers, samples, drafts, letters.

use chat::blocks::Blocks;
use chat::draft::look_up;
use chat::prompt::Letters;
use chat::sample::{Sampling, likeliest};
use half::f16;

fn halves(numbers: [f32; 2]) -> Vec<u8> {
    let bytes = numbers.map(|x| f16::from_f32(x).to_le_bytes());
    bytes.concat()
}

#[test]
fn blocks_are_a_scale_and_an_offset() {
    let mut block = halves([0.5, -3.0]);
    block.extend((0..16).map(|i| i | (15 - i) << 4));
    let low = (0..16).map(|i| 0.5 * i as f32 - 3.0);
    let high = (0..16).map(|i| 0.5 * (15 - i) as f32 - 3.0);
    let wanted: Vec<f32> = low.chain(high).collect();
    assert_eq!(Blocks::Q41.numbers(&block), wanted);
    let mut block = halves([0.25, 0.0])[..2].to_vec();
    block.extend((0..32).map(|i| (i * 8 - 128) as u8));
    let wanted: Vec<f32> = (0..32).map(|i| 0.25 * (i * 8 - 128) as f32).collect();
    assert_eq!(Blocks::Q80.numbers(&block), wanted);
    assert!(Blocks::of(2).is_err());
    assert!(Blocks::Q41.bytes(33).is_err());
}

#[test]
fn rows_of_probabilities() {
    let logits = [1.0, 3.0, 3.0, f32::NEG_INFINITY, 2.0];
    let row = |temperature, top_p| Sampling { temperature, top_p }.row(&logits);
    assert_eq!(likeliest(&logits), 1);
    assert_eq!(row(0.0, 1.0), [0.0, 1.0, 0.0, 0.0, 0.0]);
    // e^(−2), 1, 1, 0, e^(−1) over their sum.
    let sum = (-2.0_f32).exp() + 2.0 + (-1.0_f32).exp();
    let all = row(1.0, 1.0);
    assert!((all[1] - 1.0 / sum).abs() < 1e-6, "{all:?}");
    assert!((all[4] - (-1.0_f32).exp() / sum).abs() < 1e-6, "{all:?}");
    assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    // The first alone has 0.4, both 0.8.
    assert_eq!(row(1.0, 0.3), [0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(row(1.0, 0.7), [0.0, 0.5, 0.5, 0.0, 0.0]);
    // A low temperature likes the likely more.
    assert!(row(0.5, 1.0)[4] < all[4]);
}

#[test]
fn what_followed_before_is_guessed() {
    assert!(look_up(&[], 4).is_empty());
    assert!(look_up(&[1, 2, 3, 4], 4).is_empty());
    assert_eq!(look_up(&[1, 2, 3, 9, 1, 2], 4), [3, 9, 1, 2]);
    assert_eq!(look_up(&[1, 2, 3, 9, 1, 2], 1), [3]);
    assert!(look_up(&[1, 2, 3, 9, 1, 2], 0).is_empty());
    // Three that agree count more than two that stand nearer.
    assert_eq!(look_up(&[7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2], 1), [3]);
    // A run goes on.
    assert_eq!(look_up(&[5, 5, 5], 3), [5]);
}

#[test]
fn letters_come_whole() {
    let mut letters = Letters::default();
    let bytes = "né🦀".as_bytes();
    let parts: Vec<String> = bytes.iter().map(|byte| letters.push(&[*byte])).collect();
    assert_eq!(parts, ["n", "", "é", "", "", "", "🦀"]);
    assert_eq!(letters.push(&[0xff, b'a', 0xe2]), "\u{fffd}a");
    assert_eq!(letters.finish(), "\u{fffd}");
    assert_eq!(letters.finish(), "");
}
