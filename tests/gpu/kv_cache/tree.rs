//! Trees of drafts over a cache: each branch is what it is alone, and what is accepted stays.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::speculative::DraftTree;
use wgpu_attention::{CacheKind, Element, Error, KvCache, KvCacheOptions, Problem, Sequence};

use super::harness::{DIM, KV_HEADS, Rows, call, encoder, kinds};
use super::stored::{check_stored, close, expected, stored};
use crate::device::gpu;

/// Two guesses, what may follow each, and what may follow that.
const PARENTS: [i32; 8] = [-1, -1, 0, 0, 1, 2, 2, 5];
/// Tokens of the text, of which the last is a query of the tree's call.
const TEXT: u64 = 11;

fn id(node: usize) -> u64 {
    100 + node as u64
}

fn cache(options: &KvCacheOptions) -> (KvCache, Sequence) {
    let cache = pollster::block_on(gpu().attention.kv_cache(options));
    let mut cache = cache.expect("a cache");
    let sequence = cache.create().expect("a sequence");
    let text: Vec<u64> = (0..TEXT - 1).collect();
    call(&mut cache, sequence, (&text, None), |problem| problem);
    (cache, sequence)
}

/// o of the text's last token and of every node.
fn verify(cache: &mut KvCache, sequence: Sequence) -> Rows {
    let tokens: Vec<u32> = (0..8).collect();
    let tree = DraftTree::new(&PARENTS, &tokens).expect("a tree");
    let ids: Vec<u64> = [TEXT - 1].into_iter().chain((0..8).map(id)).collect();
    let positions = tree.positions(TEXT as i32 - 1);
    call(cache, sequence, (&ids, Some(&positions)), |problem| {
        let mask = problem.mask.clone().with_tree(tree.mask());
        problem.with_mask(mask)
    })
}

/// From the first node to this one.
fn branch(node: usize) -> Vec<usize> {
    let up = |&n: &usize| usize::try_from(PARENTS[n]).ok();
    let mut path: Vec<usize> = std::iter::successors(Some(node), up).collect();
    path.reverse();
    path
}

fn options(kind: CacheKind, storage: Element) -> KvCacheOptions {
    KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_q_len(20)
        .with_k(storage)
        .with_v(storage)
        .with_rotary(Rotary::new(DIM))
}

/// A window counts siblings as it counts all keys, so that a ring's is to be longer than all of them.
fn wide_kinds() -> [CacheKind; 3] {
    let [contiguous, paged, _] = kinds();
    let ring = CacheKind::Ring {
        first: 2,
        window: 30,
    };
    [contiguous, paged, ring]
}

#[test]
fn a_tree_over_a_cache_is_one_branch_at_a_time() {
    let storages = [Element::F32, Element::Int8, Element::F16];
    for (kind, storage) in wide_kinds().into_iter().zip(storages) {
        let options = options(kind, storage);
        let (mut of_tree, sequence) = cache(&options);
        let got = verify(&mut of_tree, sequence);
        for leaf in [3, 4, 6, 7] {
            let (mut alone, sequence) = cache(&options);
            let path = branch(leaf);
            let ids: Vec<u64> = [TEXT - 1]
                .into_iter()
                .chain(path.iter().map(|&n| id(n)))
                .collect();
            let want = call(&mut alone, sequence, (&ids, None), |problem| problem);
            let rows = [0].into_iter().chain(path.iter().map(|n| n + 1));
            let got: Rows = rows.map(|n| got[n].clone()).collect();
            close(&got, &want, 3e-6, &format!("leaf {leaf} of {options:?}"));
        }
    }
}

/// The accepted branch moves behind the text, and the text goes on as if nothing else had been drafted.
#[test]
fn the_accepted_branch_is_kept() {
    let storages = [Element::F32, Element::F16, Element::Int4];
    for (kind, storage) in wide_kinds().into_iter().zip(storages) {
        let options = options(kind, storage);
        let (mut cache, sequence) = cache(&options);
        verify(&mut cache, sequence);
        let kept = branch(7);
        assert_eq!(kept, [0, 2, 5, 7]);
        let mut encoder = encoder(gpu());
        let moved = cache.keep(&mut encoder, sequence, TEXT as u32, &kept);
        moved.expect("a branch");
        gpu().queue.submit([encoder.finish()]);
        let mut ids: Vec<u64> = (0..TEXT).chain(kept.iter().map(|&n| id(n))).collect();
        assert_eq!(cache.len(sequence), Ok(ids.len() as u32));
        let got = call(&mut cache, sequence, (&[500], None), |problem| problem);
        ids.push(500);
        let context = format!("{options:?}");
        let held = stored(gpu(), &cache, sequence);
        check_stored(&held, &options, (&ids, Element::F32), &context);
        let want = expected(&held, &options, (&ids, Element::F32), 1, |problem| problem);
        close(&got, &want, 5e-6, &context);
    }
}

fn begun() -> wgpu::CommandEncoder {
    encoder(gpu())
}

/// Another sequence that holds the same pages keeps what it has.
#[test]
fn what_forks_hold_is_not_moved() {
    let options = options(kinds()[1], Element::F32);
    let (mut cache, sequence) = cache(&options);
    verify(&mut cache, sequence);
    let mut encoder = begun();
    let fork = cache.fork(&mut encoder, sequence).expect("a fork");
    gpu().queue.submit([encoder.finish()]);
    let before = stored(gpu(), &cache, fork).k;
    let mut encoder = begun();
    let moved = cache.keep(&mut encoder, sequence, TEXT as u32, &[1, 4]);
    moved.expect("a branch");
    gpu().queue.submit([encoder.finish()]);
    assert_eq!(stored(gpu(), &cache, fork).k, before);
    let ids: Vec<u64> = (0..TEXT).chain([id(1), id(4)]).collect();
    let held = stored(gpu(), &cache, sequence);
    check_stored(&held, &options, (&ids, Element::F32), "a fork");
}

/// Keys that are rotated by their index as they are read know no siblings, and rows that are given no positions.
#[test]
fn positions_that_nothing_reads_are_refused() {
    let options = options(kinds()[0], Element::F32);
    let (cache, _) = cache(&options);
    let positions = wgpu_attention::problem::Positions::Host(vec![0; 20]);
    let mut problem: Problem = cache.problem(4, Element::F32);
    problem.position.q_positions = positions;
    let refused = gpu().attention.plan(&problem).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::GivenRows { .. }), "{refused}");
    let unrotated = options.with_rotated(false);
    let cache = pollster::block_on(gpu().attention.kv_cache(&unrotated));
    let mut cache = cache.expect("a cache");
    let sequence = cache.create().expect("a sequence");
    let mut encoder = encoder(gpu());
    let refused = cache.begin_at(&mut encoder, &[(sequence, &[0, 1, 1])]);
    assert_eq!(refused, Err(Error::PositionsOfCache));
    assert_eq!(cache.len(sequence), Ok(0));
}
