//! Ragged batches: the tool against itself, a sequence at a time.

use std::ops::Range;

use safetensors::SafeTensors;
use wgpu_attention::problem::Element;

use super::tool::{Tensor, attend, directory, text, write};

/// Queries and keys of each sequence: among them an empty one, and more queries than keys.
const LENGTHS: [(usize, usize); 4] = [(5, 9), (0, 2), (1, 4), (6, 3)];

fn starts(lengths: impl Iterator<Item = usize>) -> Vec<i32> {
    let mut sum = 0;
    let ends = lengths.map(|len| {
        sum += len as i32;
        sum
    });
    std::iter::once(0).chain(ends).collect()
}

/// `[1, heads, rows, dim]` of some rows of the whole.
fn rows(whole: &Tensor, [heads, all, dim]: [usize; 3], rows: &Range<usize>) -> Tensor {
    let (size, len) = (4 * dim, rows.len());
    let of_head = |h: usize| &whole.bytes[(h * all + rows.start) * size..][..len * size];
    Tensor {
        name: whole.name,
        dtype: whole.dtype,
        shape: match whole.shape.len() {
            3 => vec![1, heads, len],
            _ => vec![1, heads, len, dim],
        },
        bytes: (0..heads).flat_map(of_head).copied().collect(),
    }
}

fn tensors() -> Vec<(Tensor, [usize; 3])> {
    let (q, k) = LENGTHS
        .iter()
        .fold((0, 0), |sum, x| (sum.0 + x.0, sum.1 + x.1));
    let normal = |name, shape: &[usize], seed| Tensor::normal(name, Element::F32, shape, seed);
    vec![
        (normal("q", &[1, 4, q, 12], 1), [4, q, 12]),
        (normal("k", &[1, 2, k, 12], 2), [2, k, 12]),
        (normal("v", &[1, 2, k, 6], 3), [2, k, 6]),
        (normal("do", &[1, 4, q, 6], 4), [4, q, 6]),
        (normal("dlse", &[1, 4, q], 5), [4, q, 1]),
    ]
}

/// What a run writes, as f32 by name.
fn run(directory: &std::path::Path, name: &str, tensors: &[Tensor]) -> Vec<(String, Vec<f32>)> {
    let input = write(directory, &format!("{name}.in.safetensors"), tensors);
    let output = directory.join(format!("{name}.out.safetensors"));
    let options = ["--causal", "--alibi", "--softcap", "4", "--grad"];
    let args: Vec<String> = [input, text(&output)]
        .into_iter()
        .chain(options.map(String::from))
        .collect();
    attend(&args).succeeded();
    let bytes = std::fs::read(output).expect("an output");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let values = |bytes: &[u8]| bytemuck::pod_collect_to_vec(bytes);
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, view)| (name, values(view.data())))
        .collect()
}

#[test]
fn sequences_are_what_they_are_alone() {
    let directory = directory("ragged");
    let (q, k) = (
        starts(LENGTHS.iter().map(|x| x.0)),
        starts(LENGTHS.iter().map(|x| x.1)),
    );
    let mut whole: Vec<Tensor> = tensors().into_iter().map(|(tensor, _)| tensor).collect();
    whole.push(Tensor::integers("cu_seqlens_q", &q));
    whole.push(Tensor::integers("cu_seqlens_k", &k));
    let got = run(&directory, "whole", &whole);
    let sizes = [
        ("o", 4, 6, true),
        ("lse", 4, 1, true),
        ("dq", 4, 12, true),
        ("dk", 2, 12, false),
        ("dv", 2, 6, false),
    ];
    for n in (0..LENGTHS.len()).filter(|&n| LENGTHS[n].0 > 0) {
        let of = |starts: &[i32]| starts[n] as usize..starts[n + 1] as usize;
        let (own_q, own_k) = (of(&q), of(&k));
        let one: Vec<Tensor> = tensors()
            .iter()
            .map(|(tensor, sizes)| {
                let of_keys = ["k", "v"].contains(&tensor.name);
                rows(tensor, *sizes, if of_keys { &own_k } else { &own_q })
            })
            .collect();
        let alone = run(&directory, &format!("sequence {n}"), &one);
        for (name, heads, dim, of_queries) in sizes {
            let find = |all: &[(String, Vec<f32>)]| {
                let found = all.iter().find(|(found, _)| found == name);
                found.expect(name).1.clone()
            };
            let (all, want) = (find(&got), find(&alone));
            let own = if of_queries { &own_q } else { &own_k };
            let count = all.len() / heads / dim;
            for h in 0..heads {
                let all = &all[(h * count + own.start) * dim..][..own.len() * dim];
                let want = &want[h * own.len() * dim..][..own.len() * dim];
                let near = |(a, b): (&f32, &f32)| a == b || (a - b).abs() < 2e-5;
                assert!(
                    all.iter().zip(want).all(near),
                    "{name}, {n}: {all:?}, {want:?}"
                );
            }
        }
    }
}

#[test]
fn bad_sequences_are_one_sentence() {
    let directory = directory("ragged-bad");
    let refused = |more: Vec<Tensor>, words: &[&str]| {
        let mut all: Vec<Tensor> = tensors()
            .into_iter()
            .map(|(tensor, _)| tensor)
            .take(3)
            .collect();
        all.extend(more);
        let file = write(&directory, "bad.safetensors", &all);
        attend(&[file.as_str()]).refused(1, words);
    };
    let q = |x: &[i32]| Tensor::integers("cu_seqlens_q", x);
    let k = |x: &[i32]| Tensor::integers("cu_seqlens_k", x);
    let good = || [q(&[0, 5, 5, 6, 12]), k(&[0, 9, 11, 15, 18])];
    let with = |tensor: Tensor| good().into_iter().chain([tensor]).collect::<Vec<_>>();
    refused(
        vec![q(&[0, 12])],
        &["cu_seqlens_q needs cu_seqlens_k", "add it"],
    );
    refused(vec![k(&[0, 18])], &["cu_seqlens_k needs cu_seqlens_q"]);
    refused(
        vec![q(&[1, 12]), k(&[0, 18])],
        &["cu_seqlens_q[0] is 1", "allowed is 0"],
    );
    refused(
        vec![q(&[0, 7, 5, 12]), k(&[0, 1, 2, 18])],
        &["cu_seqlens_q[2] is 5", "at least 7"],
    );
    refused(
        vec![q(&[0, 12]), k(&[0, 17])],
        &["cu_seqlens_k[1] is 17", "18, the number of all"],
    );
    refused(
        vec![q(&[0, 12]), k(&[0, 9, 18])],
        &["cu_seqlens_k has 3 values; it needs 2"],
    );
    refused(vec![q(&[0, -1]), k(&[0, 18])], &["cu_seqlens_q[1] is -1"]);
    refused(vec![q(&[0, 12]).shaped(&[1, 2]), k(&[0, 18])], &["[S + 1]"]);
    refused(
        with(Tensor::integers("kv_lens", &[1, 1, 1, 1])),
        &["kv_lens does not go with"],
    );
    let bias = Tensor::normal("bias", Element::F32, &[1, 1, 12, 18], 7);
    refused(with(bias), &["bias", "does not go with cu_seqlens_q"]);
}
