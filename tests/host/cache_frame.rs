//! The bytes of a driver's pipeline cache, as an application keeps them: whatever stands there, a driver gets what it gave
//! or nothing.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wgpu_attention::internal::{framed, unframed};

const KEY: &str = "vulkan 00010005 00000000 llvmpipe, llvmpipe Mesa 22.3.6, 64 bits";

#[test]
fn what_was_framed_comes_out() {
    for data in [&b""[..], b"x", &[7; 1000]] {
        assert_eq!(unframed(&framed(data, KEY), KEY), Ok(data));
    }
}

#[test]
fn what_is_refused_says_why() {
    let bytes = framed(b"machine code", KEY);
    let mut longer = bytes.clone();
    longer.push(0);
    let mut newer = bytes.clone();
    newer[8] = 9;
    for (bytes, key, says) in [
        (&b""[..], KEY, "none of wgpu-attention's"),
        (&bytes[..20], KEY, "end is missing"),
        (&bytes[..bytes.len() - 1], KEY, "end is missing"),
        (&longer, KEY, "1 bytes follow"),
        (&newer, KEY, "version 9"),
        (&bytes, "another", "another driver: vulkan 00010005"),
    ] {
        let refused = unframed(bytes, key).expect_err("refused");
        assert!(refused.contains(says), "{refused}");
    }
}

/// 10⁵ inputs: bits, bytes and numbers changed, ends cut off and put on, and bytes that nobody framed.
#[test]
fn nothing_else_comes_out() {
    let mut random = StdRng::seed_from_u64(17);
    let data: Vec<u8> = (0..200).map(|_| random.random()).collect();
    let good = framed(&data, KEY);
    let header = good.len() - data.len();
    for n in 0..100_000 {
        let mut bytes = good.clone();
        let at = random.random_range(0..bytes.len());
        match n % 8 {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[random.random_range(0..header)] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.extend((0..random.random_range(1..40)).map(|_| random.random::<u8>())),
            // The numbers of bytes, absurd ones too.
            4 => {
                let at = [12, header - 16, header - 8][random.random_range(0..3)];
                let number = random.random::<u64>() >> random.random_range(0..64);
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            5 => bytes[at..]
                .iter_mut()
                .for_each(|byte| *byte = random.random()),
            6 => bytes.swap(at, random.random_range(0..good.len())),
            _ => bytes = (0..at).map(|_| random.random()).collect(),
        }
        let found = unframed(&bytes, KEY);
        assert!(
            (found == Ok(&data[..])) == (bytes == good) && (found.is_err() || bytes == good),
            "{n}: {bytes:?}"
        );
    }
}
