//! Rings: a call looks at no row that they have lost, as far as the host knows lengths and offsets.

use wgpu_attention::problem::{KvAddress, Lengths, Mask, Offsets, Ring, Slice, Window};
use wgpu_attention::{Element, Error, Problem, Shape};

/// Four queries per batch, two batches, over rings of `len` rows beside the first two.
fn problem(len: u32, change: impl FnOnce(&mut Problem)) -> Result<(), Error> {
    let mut shape = Shape::square(2, 1, 100, 8);
    shape.q_len = 4;
    let mask = Mask::causal().with_first(2).with_window(Window {
        left: Some(9),
        right: Some(0),
    });
    let mut problem = Problem::new(shape, Element::F32)
        .with_mask(mask)
        .with_cache(KvAddress::Ring(Ring::new(2, len)));
    change(&mut problem);
    problem.validate()
}

/// The least length that is taken.
fn least(change: impl Fn(&mut Problem)) -> u32 {
    let taken = |len: &u32| match problem(*len, &change) {
        Ok(()) => true,
        Err(Error::Size { what, allowed, .. }) => {
            assert_eq!(what, "the ring's len");
            assert!(allowed.starts_with("at least "), "{allowed}");
            false
        }
        Err(other) => panic!("{other}"),
    };
    let least = (1..200).find(taken).expect("a length");
    // What is told is what is needed.
    if least > 1 {
        let told = problem(1, &change).unwrap_err().to_string();
        assert!(told.contains(&format!("at least {least}, ")), "{told}");
    }
    least
}

fn at(lens: [u32; 2], offsets: [i32; 2]) -> impl Fn(&mut Problem) {
    move |p| {
        p.mask.kv_lens = Lengths::Host(lens.to_vec());
        p.mask.q_offset = Offsets::Host(offsets.to_vec());
    }
}

#[test]
fn queries_behind_all_other_keys() {
    assert_eq!(least(|_| {}), 13);
    let device = |p: &mut Problem| {
        (p.mask.kv_lens, p.mask.q_offset) = (Lengths::Device, Offsets::Device);
    };
    assert_eq!(least(device), 13);
    assert_eq!(least(at([100, 50], [96, 46])), 13);
    // A later slice of them looks at less.
    let later = |p: &mut Problem| p.slice = Some(Slice { q: 3..4, k: 0..100 });
    assert_eq!(least(later), 10);
}

/// Of 60 keys the queries stand at 20, and see from key 11 on: a ring of 13 has lost those.
#[test]
fn queries_before_the_end() {
    assert_eq!(least(at([60, 10], [20, 6])), 49);
    assert_eq!(least(at([10, 60], [6, 20])), 49);
    // What is seen from the first rows on is kept for good, and all of a short sequence is there.
    assert_eq!(least(at([60, 60], [0, 3])), 58);
    assert_eq!(least(at([5, 3], [1, -1])), 3);
}

/// Without a window every key is seen, but for the first those in the ring.
#[test]
fn no_window() {
    let all = |p: &mut Problem| p.mask.window = None;
    assert_eq!(least(all), 98);
    let short = |p: &mut Problem| {
        p.mask.window = None;
        at([30, 12], [26, 8])(p);
    };
    assert_eq!(least(short), 28);
}
