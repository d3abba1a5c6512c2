//! Continuous batching: prompts and single tokens of several sequences in one call, one after the other.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{Element, KvCacheOptions};

use super::harness::{Cached, DIM, KV_HEADS, kinds};
use super::stored::{check_stored, close, expected, stored};
use crate::device::gpu;

/// The tokens that each of four sequences has new in each step: prefills beside decodes, and steps without some.
const STEPS: [[usize; 4]; 6] = [
    [9, 0, 0, 0],
    [1, 12, 0, 5],
    [1, 1, 12, 6],
    [0, 1, 1, 1],
    [1, 1, 1, 1],
    [4, 1, 0, 12],
];

#[test]
fn prompts_and_single_tokens_share_a_call() {
    let storages = [Element::F32, Element::Int8, Element::F16];
    for (n, kind) in kinds().into_iter().enumerate() {
        for rotated in [true, false] {
            let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_batch(4)
                .with_q_len(12)
                .with_tokens(20)
                .with_k(storages[n])
                .with_v(storages[n])
                .with_rotary(Rotary::new(DIM))
                .with_rotated(rotated);
            let mut cached = Cached::new(&options, Element::F32);
            let all = [(); 4].map(|()| cached.create());
            let mut texts: [Vec<u64>; 4] = Default::default();
            for (step, counts) in STEPS.iter().enumerate() {
                let mut named = Vec::new();
                // Of a paged cache rows are those of the call, in the order in which they are named.
                for s in [2, 0, 3, 1] {
                    let start = (1000 * s + texts[s].len()) as u64;
                    let new: Vec<u64> = (start..start + counts[s] as u64).collect();
                    texts[s].extend(&new);
                    if !new.is_empty() {
                        named.push((s, new));
                    }
                }
                let new: Vec<_> = named
                    .iter()
                    .map(|(s, ids)| (all[*s], ids.clone()))
                    .collect();
                let got = cached.step(&new);
                for ((s, new), got) in named.iter().zip(&got) {
                    let (text, context) = (
                        (&texts[*s][..], Element::F32),
                        format!("step {step} of {options:?}"),
                    );
                    let held = stored(gpu(), &cached.cache, all[*s]);
                    check_stored(&held, &options, text, &context);
                    let want = expected(&held, &options, text, new.len(), |problem| problem);
                    close(got, &want, 8e-6, &context);
                }
                let checked = pollster::block_on(cached.attend.check(&gpu().queue));
                assert_eq!(checked, Ok(()));
                let checked = pollster::block_on(cached.append.check(&gpu().queue));
                assert_eq!(checked, Ok(()));
            }
        }
    }
}
