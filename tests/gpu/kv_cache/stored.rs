//! What a cache stores, as numbers: held against its tokens, and what attention over just that is by definition.

use wgpu_attention::problem::position::Side;
use wgpu_attention::problem::{KvAddress, Layout, Mask, Operand, Position, Shape, Slice, Window};
use wgpu_attention::quantize::hadamard;
use wgpu_attention::reference::{Tensors, forward};
use wgpu_attention::{CacheKind, Element, KvCache, KvCacheOptions, Problem, Sequence};

use super::harness::{DIM, HEADS, KV_HEADS, Rows, heads_first, token, tokens_first};
use crate::device::Gpu;
use crate::support::rotary::rotate;
use crate::support::tensor::{gather, round};

/// What a cache holds of a sequence, `[Hkv, len, D]`; what a ring has lost is NaN.
#[derive(Clone, Debug)]
pub struct Stored {
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    pub len: u32,
}

/// Brings it to the host as the cache stores it, and makes numbers of that.
pub fn stored(gpu: &Gpu, cache: &KvCache, sequence: Sequence) -> Stored {
    let snapshot = pollster::block_on(cache.snapshot(&gpu.queue, sequence)).expect("a snapshot");
    let options = cache.options();
    let [_, heads, rows] = options.address().sizes(&options.shape());
    let [k, v] = options.operands();
    let bytes = |x: &Operand| {
        x.element
            .bytes((heads * rows * x.element.row_elements(DIM)).into())
    };
    let blocks = snapshot.bytes.len() as u64 / (bytes(&k) + bytes(&v));
    let (k_bytes, v_bytes) = snapshot.bytes.split_at((blocks * bytes(&k)) as usize);
    let numbers = |bytes: &[u8], x: &Operand| {
        let layout = Layout::heads_first(heads, rows, x.element.row_elements(DIM));
        let sizes = [blocks as u32, heads, rows];
        let all = gather(bytes, x.element, &layout, sizes, DIM);
        let mut of = vec![f64::NAN; (heads * snapshot.len * DIM) as usize];
        for h in 0..heads {
            for j in 0..snapshot.len {
                let (block, row) = match options.address() {
                    KvAddress::Paged(pages) => (j / pages.page_len, j % pages.page_len),
                    KvAddress::Ring(ring) if j >= ring.first => {
                        (0, ring.first + (j - ring.first) % ring.len)
                    }
                    _ => (0, j),
                };
                let is_first = matches!(options.kind, CacheKind::Ring { first, .. } if j < first);
                if j < snapshot.lost && !is_first {
                    continue;
                }
                let from = (((block * heads + h) * rows + row) * DIM) as usize;
                let to = ((h * snapshot.len + j) * DIM) as usize;
                of[to..][..DIM as usize].copy_from_slice(&all[from..][..DIM as usize]);
            }
        }
        of
    };
    Stored {
        k: numbers(k_bytes, &k),
        v: numbers(v_bytes, &v),
        len: snapshot.len,
    }
}

/// o of the last of a sequence's tokens by the definition, over the rows that a cache of these options stores.
pub fn expected(
    stored: &Stored,
    options: &KvCacheOptions,
    (ids, element): (&[u64], Element),
    last: usize,
    change: impl Fn(Problem) -> Problem,
) -> Rows {
    let n = ids.len() as u32;
    assert_eq!(n, stored.len);
    let shape = Shape {
        batch: 1,
        q_heads: HEADS,
        kv_heads: KV_HEADS,
        q_len: n,
        kv_len: n,
        head_dim: DIM,
        value_dim: DIM,
    };
    let mut mask = Mask::causal();
    let mut position = match &options.rotary {
        Some(rotary) => Position::rotary(rotary.clone()).with_k_rotated(options.rotated),
        None => Position::default(),
    };
    match options.kind {
        CacheKind::Ring { first, window } => {
            mask = mask.with_first(first).with_window(Window {
                left: Some(window - 1),
                right: Some(0),
            });
            position.within_cache = options.rotary.is_some() && !options.rotated;
        }
        _ if !options.rotated => position.length = Some(options.capacity()),
        _ => {}
    }
    let first = ids.len() - last;
    let problem = Problem::new(shape, Element::F32)
        .with_mask(mask)
        .with_position(position)
        .with_k_hadamard(options.k_hadamard)
        .with_v_hadamard(options.v_hadamard)
        .with_slice(Slice {
            q: first as u32..n,
            k: 0..n,
        });
    let q: Vec<_> = ids.iter().map(|&id| token(id)[0].clone()).collect();
    let q: Vec<f64> = heads_first(&q, HEADS);
    let q: Vec<f64> = q.into_iter().map(|x| round(element, x)).collect();
    let o = forward(&change(problem), &Tensors::new(&q, &stored.k, &stored.v)).o;
    tokens_first(&o, ids.len(), first..ids.len())
}

pub fn close(got: &[Vec<f64>], expected: &[Vec<f64>], most: f64, context: &str) {
    assert_eq!(got.len(), expected.len(), "{context}");
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!(
            (got - expected).abs() <= most,
            "{got} for {expected}: {context}"
        );
    }
}

/// Every row that is stored is that token's, rotated as the options say, up to half a step of its storage.
pub fn check_stored(
    stored: &Stored,
    options: &KvCacheOptions,
    (ids, element): (&[u64], Element),
    context: &str,
) {
    let rotary = options.rotary.as_ref().filter(|_| options.rotated);
    let tensors = [
        (&stored.k, 1, options.k, options.k_hadamard, rotary),
        (&stored.v, 2, options.v, options.v_hadamard, None),
    ];
    for (rows, which, storage, by_hadamard, rotary) in tensors {
        for (n, got) in rows.chunks(DIM as usize).enumerate() {
            let (h, j) = (n / ids.len(), n % ids.len());
            if got[0].is_nan() {
                continue;
            }
            let given = token(ids[j])[which][h * DIM as usize..][..DIM as usize].to_vec();
            let given = given.into_iter().map(|x| round(element, x) as f32);
            let mut row: Vec<f32> = given.collect();
            if let Some(rotary) = rotary {
                let length = j as u32 + 1;
                let rotated = rotate(rotary, &row, j as i32, Side::Key, length);
                row = rotated.into_iter().map(|x| x as f32).collect();
            }
            if by_hadamard {
                hadamard(&mut row, DIM).expect("an even row");
            }
            let most = half_step(storage, &row);
            for (got, want) in got.iter().zip(&row) {
                let want = f64::from(*want);
                assert!(
                    (got - want).abs() <= most(want),
                    "{storage} of token {j}: {got} for {want}: {context}"
                );
            }
        }
    }
}

/// How far a stored number may be from what was to be stored, beside f32's own rounding of rotations.
fn half_step(storage: Element, row: &[f32]) -> impl Fn(f64) -> f64 {
    let fold = |f: fn(f32, f32) -> f32, x: f32| f64::from(row.iter().copied().fold(x, f));
    let (low, high) = (fold(f32::min, f32::MAX), fold(f32::max, f32::MIN));
    let largest = high.max(-low);
    move |x| {
        let step = match storage {
            Element::F32 => 0.0,
            Element::F16 => x.abs() / 2048.0,
            Element::BF16 => x.abs() / 256.0,
            Element::Int8 => largest / 254.0,
            Element::Int4 => (high - low) / 30.0 + (low.abs() + high - low) / 1024.0,
            _ => unreachable!("no step is known of {storage}"),
        };
        step + 4e-6 * (1.0 + x.abs())
    }
}
