//! Caches that grow token by token, against one call over all tokens.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{Mask, Position, Shape, Window};
use wgpu_attention::{
    CacheKind, Call, Element, Error, Host, KvCache, KvCacheOptions, Problem, Sequence,
};

use crate::device::{gpu, left_out};
use crate::run::{buffer, read};
use crate::support::tensor::{decode, encode, normal};

const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const DIM: u32 = 32;

/// q, k and v of a token, `[H, D]` each, by a number that stands for the token.
fn token(id: u64) -> [Vec<f64>; 3] {
    let of = |n, heads: u32| normal(7 + 3 * id + n, (heads * DIM) as usize);
    [of(0, HEADS), of(1, KV_HEADS), of(2, KV_HEADS)]
}

/// A cache with its calls, prepared once.
struct Cached {
    cache: KvCache,
    element: Element,
    q: wgpu::Buffer,
    k: wgpu::Buffer,
    v: wgpu::Buffer,
    o: wgpu::Buffer,
    append: Call,
    attend: Call,
}

impl Cached {
    fn new(options: &KvCacheOptions, element: Element) -> Self {
        Self::with(options, element, |problem| problem)
    }

    fn with(
        options: &KvCacheOptions,
        element: Element,
        change: impl Fn(Problem) -> Problem,
    ) -> Self {
        let gpu = gpu();
        let cache = pollster::block_on(gpu.attention.kv_cache(options)).expect("a cache");
        let rows = options.batch * options.q_len;
        let made = |heads: u32| buffer(&gpu.device, &vec![0; (rows * heads * DIM * 4) as usize]);
        let (q, k, v, o) = (made(HEADS), made(KV_HEADS), made(KV_HEADS), made(HEADS));
        let lse = made(1);
        let plan = gpu
            .attention
            .plan_append(&cache.append(element))
            .expect("a plan");
        let operands = cache.append_operands(0, &k, &v).expect("a layer");
        let append = pollster::block_on(gpu.attention.prepare(&plan, &operands))
            .unwrap_or_else(|e| panic!("{e}\n{plan}"));
        let problem = cache
            .problem(HEADS, element)
            .with_o(wgpu_attention::problem::Operand::new(
                Element::F32,
                cache.problem(HEADS, element).o.layout,
            ));
        let plan = gpu.attention.plan(&change(problem)).expect("a plan");
        let operands = cache.operands(0, &q, &o, &lse).expect("a layer");
        let attend = pollster::block_on(gpu.attention.prepare(&plan, &operands))
            .unwrap_or_else(|e| panic!("{e}\n{plan}"));
        Self {
            cache,
            element,
            q,
            k,
            v,
            o,
            append,
            attend,
        }
    }

    /// New tokens of sequences; answers o of each, `[tokens][Hq · D]`.
    fn step(&mut self, new: &[(Sequence, Vec<u64>)]) -> Vec<Vec<Vec<f64>>> {
        let gpu = gpu();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let counts: Vec<_> = new.iter().map(|(s, ids)| (*s, ids.len() as u32)).collect();
        let rows = self.cache.begin(&mut encoder, &counts).expect("room");
        let (batch, len) = {
            let options = self.cache.options();
            (options.batch, options.q_len)
        };
        for (n, (to, heads)) in [(&self.q, HEADS), (&self.k, KV_HEADS), (&self.v, KV_HEADS)]
            .into_iter()
            .enumerate()
        {
            // What no token has is NaN.
            let mut values = vec![f64::NAN; (batch * heads * len * DIM) as usize];
            for ((_, ids), row) in new.iter().zip(&rows) {
                for (i, &id) in ids.iter().enumerate() {
                    let x = &token(id)[n];
                    for h in 0..heads {
                        let at = (((row * heads + h) * len + i as u32) * DIM) as usize;
                        let from = (h * DIM) as usize;
                        values[at..at + DIM as usize]
                            .copy_from_slice(&x[from..from + DIM as usize]);
                    }
                }
            }
            gpu.queue
                .write_buffer(to, 0, &encode(self.element, &values));
        }
        self.append.encode(&mut encoder);
        self.attend.encode(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        let [o] = read(gpu, [&self.o]);
        let o = decode(Element::F32, &o);
        let of = |row: u32, i: usize| {
            let at = |h| (((row * HEADS + h) * len + i as u32) * DIM) as usize;
            let heads = 0..HEADS;
            heads
                .flat_map(|h| o[at(h)..at(h) + DIM as usize].to_vec())
                .collect()
        };
        let tokens = new.iter().zip(&rows);
        tokens
            .map(|((_, ids), &row)| (0..ids.len()).map(|i| of(row, i)).collect())
            .collect()
    }
}

/// o of the last tokens of a sequence, by one call over all of them.
fn plain(ids: &[u64], last: usize, change: impl Fn(Problem) -> Problem) -> Vec<Vec<f64>> {
    let n = ids.len() as u32;
    let shape = Shape {
        batch: 1,
        q_heads: HEADS,
        kv_heads: KV_HEADS,
        q_len: n,
        kv_len: n,
        head_dim: DIM,
        value_dim: DIM,
    };
    let gather = |which: usize, heads: u32| -> Vec<u8> {
        let tokens: Vec<_> = ids.iter().map(|&id| token(id)[which].clone()).collect();
        let rows = (0..heads as usize).flat_map(|h| {
            tokens
                .iter()
                .flat_map(move |x| x[h * DIM as usize..(h + 1) * DIM as usize].to_vec())
        });
        encode(Element::F32, &rows.collect::<Vec<_>>())
    };
    let problem = change(Problem::new(shape, Element::F32).with_mask(Mask::causal()));
    let gpu = gpu();
    let plan = gpu.attention.plan(&problem).expect("a plan");
    let (q, k, v) = (gather(0, HEADS), gather(1, KV_HEADS), gather(2, KV_HEADS));
    let out = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &Host::new(&q, &k, &v)))
        .expect("outputs");
    let o = decode(Element::F32, &out.o);
    let first = ids.len() - last;
    let row = |i: usize| {
        let at = |h| (h * n as usize + i) * DIM as usize;
        let heads = 0..HEADS as usize;
        heads
            .flat_map(|h| o[at(h)..at(h) + DIM as usize].to_vec())
            .collect()
    };
    (first..ids.len()).map(row).collect()
}

fn close(got: &[Vec<f64>], expected: &[Vec<f64>], most: f64, context: &str) {
    assert_eq!(got.len(), expected.len(), "{context}");
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!(
            (got - expected).abs() <= most,
            "{got} for {expected}: {context}"
        );
    }
}

fn kinds() -> [CacheKind; 3] {
    [
        CacheKind::Contiguous { capacity: 48 },
        CacheKind::Paged {
            page_len: 8,
            pages: 14,
            capacity: 48,
        },
        CacheKind::Ring {
            first: 2,
            window: 9,
        },
    ]
}

/// As a ring's window hides.
fn windowed(kind: CacheKind, problem: Problem) -> Problem {
    match kind {
        CacheKind::Ring { first, window } => {
            let mask = problem.mask.clone().with_first(first).with_window(Window {
                left: Some(window - 1),
                right: Some(0),
            });
            problem.with_mask(mask)
        }
        _ => problem,
    }
}

fn tolerance(element: Element) -> f64 {
    match element {
        Element::F32 => 5e-6,
        Element::F16 => 8e-3,
        Element::Int4 => 0.5,
        _ => 6e-2,
    }
}

/// Sequences that take turns, in steps of different lengths, forked and truncated: each row is what one call over the
/// sequence's tokens gives.
#[test]
fn tokens_through_a_cache_are_one_prefill() {
    let storages = [
        (Element::F32, Element::F32),
        (Element::F16, Element::F32),
        (Element::BF16, Element::F16),
        (Element::Int8, Element::Int8),
        (Element::Int4, Element::Int8),
    ];
    let is_part = left_out("two of three ways to store keys in each kind of cache");
    for (n, kind) in kinds().into_iter().enumerate() {
        for (m, &(k, v)) in storages.iter().enumerate() {
            if is_part && (n + m) % 3 != 0 {
                continue;
            }
            let is_ring = matches!(kind, CacheKind::Ring { .. });
            let rotary = ((n + m) % 2 == 0).then(|| Rotary::new(DIM));
            let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
                .with_batch(3)
                .with_q_len(4)
                .with_k(k)
                .with_v(v)
                .with_rotary(rotary.clone())
                .with_rotated(is_ring || m != 1)
                .with_k_hadamard(m == 4)
                .with_v_hadamard(m == 3);
            let element = if m == 2 { Element::F16 } else { Element::F32 };
            walk(&options, element, rotary, tolerance(k).max(tolerance(v)));
        }
    }
}

fn walk(options: &KvCacheOptions, element: Element, rotary: Option<Rotary>, most: f64) {
    let mut cached = Cached::new(options, element);
    let mut tokens: Vec<(Sequence, Vec<u64>)> = Vec::new();
    let mut next = 0;
    let mut random = 12345u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    for _ in 0..2 {
        tokens.push((cached.cache.create().expect("a sequence"), Vec::new()));
    }
    for step in 0..14 {
        let mut new = Vec::new();
        for (sequence, ids) in &mut tokens {
            let count = draw(5).min(44 - ids.len() as u64);
            if draw(4) > 0 {
                let fresh: Vec<u64> = (next..next + count).collect();
                next += count;
                ids.extend(&fresh);
                new.push((*sequence, fresh));
            }
        }
        let got = cached.step(&new);
        for ((sequence, fresh), got) in new.iter().zip(&got) {
            let ids = &tokens
                .iter()
                .find(|(s, _)| s == sequence)
                .expect("one of them")
                .1;
            if fresh.is_empty() {
                continue;
            }
            let expected = plain(ids, fresh.len(), |problem| {
                let problem = match &rotary {
                    Some(rotary) => problem.with_position(Position::rotary(rotary.clone())),
                    None => problem,
                };
                windowed(options.kind, problem)
            });
            close(got, &expected, most, &format!("step {step} of {options:?}"));
        }
        match draw(4) {
            0 if tokens.len() < 3 && !tokens[0].1.is_empty() => {
                let mut encoder = gpu().device.create_command_encoder(&Default::default());
                let fork = cached.cache.fork(&mut encoder, tokens[0].0).expect("room");
                gpu().queue.submit([encoder.finish()]);
                tokens.push((fork, tokens[0].1.clone()));
            }
            1 => {
                let (sequence, ids) = &mut tokens[1];
                let len = ids.len().saturating_sub(2);
                cached
                    .cache
                    .truncate(*sequence, len as u32)
                    .expect("the last tokens");
                ids.truncate(len);
            }
            2 if tokens.len() == 3 => {
                let (sequence, _) = tokens.remove(2);
                cached.cache.free(sequence).expect("a live sequence");
            }
            _ => {}
        }
    }
}

/// Several tokens in one encoder: each append and each call sees the lengths that stand before it.
#[test]
fn many_tokens_in_one_encoder() {
    let gpu = gpu();
    for kind in kinds() {
        let options = KvCacheOptions::new(kind, KV_HEADS, DIM).with_rotary(Rotary::new(DIM));
        let mut cached = Cached::new(&options, Element::F32);
        let sequence = cached.cache.create().expect("a sequence");
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let bytes = u64::from(HEADS * DIM) * 4;
        let kept = buffer(&gpu.device, &vec![0; 20 * bytes as usize]);
        for id in 0..20 {
            cached
                .cache
                .begin(&mut encoder, &[(sequence, 1)])
                .expect("room");
            let inputs = token(id);
            for (x, to) in inputs.iter().zip([&cached.q, &cached.k, &cached.v]) {
                let from = buffer(&gpu.device, &encode(Element::F32, x));
                encoder.copy_buffer_to_buffer(&from, 0, to, 0, from.size());
            }
            cached.append.encode(&mut encoder);
            cached.attend.encode(&mut encoder);
            encoder.copy_buffer_to_buffer(&cached.o, 0, &kept, id * bytes, bytes);
        }
        gpu.queue.submit([encoder.finish()]);
        let [kept] = read(gpu, [&kept]);
        let got: Vec<_> = decode(Element::F32, &kept)
            .chunks(bytes as usize / 4)
            .map(<[f64]>::to_vec)
            .collect();
        let ids: Vec<u64> = (0..20).collect();
        let expected = plain(&ids, 20, |problem| {
            windowed(
                kind,
                problem.with_position(Position::rotary(Rotary::new(DIM))),
            )
        });
        close(&got, &expected, 5e-6, &format!("{kind:?}"));
    }
}

/// StreamingLLM: the keys that are kept stand side by side, whatever is gone between.
#[test]
fn positions_within_a_ring_are_those_of_the_kept_keys() {
    let kind = CacheKind::Ring {
        first: 3,
        window: 8,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_rotary(Rotary::new(DIM))
        .with_rotated(false);
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.cache.create().expect("a sequence");
    for id in 0..40 {
        let got = cached.step(&[(sequence, vec![id])]);
        let ids: Vec<u64> = (0..=id).filter(|&n| n < 3 || n + 8 > id).collect();
        let expected = plain(&ids, 1, |problem| {
            problem.with_position(Position::rotary(Rotary::new(DIM)))
        });
        close(&got[0], &expected, 5e-6, &format!("token {id}"));
    }
}

/// Ten thousand tokens, and not a byte more than at the first.
#[test]
fn a_ring_takes_ten_thousand_tokens_without_growing() {
    let kind = CacheKind::Ring {
        first: 4,
        window: 30,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_q_len(50)
        .with_rotary(Rotary::new(DIM));
    let mut cached = Cached::new(&options, Element::F32);
    let sequence = cached.cache.create().expect("a sequence");
    let held = |cached: &Cached| (cached.cache.bytes(), cached.attend.plan().scratch_bytes());
    let before = held(&cached);
    let variants = gpu().attention.compiled_variants();
    let mut last = Vec::new();
    for n in 0..200u64 {
        let ids: Vec<u64> = (50 * n..50 * (n + 1)).collect();
        last = cached.step(&[(sequence, ids)]).remove(0);
    }
    assert_eq!(cached.cache.len(sequence), Ok(10_000));
    assert_eq!(held(&cached), before);
    // Others' tests share the kernels.
    assert!(gpu().attention.compiled_variants() >= variants);
    // The last tokens, with what they see: the first four stand where they always did.
    let ids: Vec<u64> = (0..4).chain(9_900..10_000).collect();
    let positions: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let expected = plain(&ids, 50, |problem| {
        let position = Position::rotary(Rotary::new(DIM))
            .with_q_positions(wgpu_attention::problem::Positions::Host(positions.clone()))
            .with_k_positions(wgpu_attention::problem::Positions::Host(positions.clone()));
        windowed(kind, problem.with_position(position))
    });
    close(&last, &expected, 2e-5, "the last tokens");
}

/// Forks of a prompt whose pages are read once for all of them.
#[test]
fn forks_share_the_reading_of_their_prefix() {
    const PROMPT: u32 = 70;
    const SHARED: u32 = 64;
    let kind = CacheKind::Paged {
        page_len: 8,
        pages: 24,
        capacity: 96,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_batch(4)
        .with_q_len(2)
        .with_rotary(Rotary::new(DIM));
    let mut cached = Cached::with(&options, Element::F32, |problem| {
        problem.with_shared_prefix(SHARED)
    });
    let plan = cached.attend.plan().to_string();
    assert!(plan.contains("for all 4 sequences at once"), "{plan}");
    let first = cached.cache.create().expect("a sequence");
    for n in 0..u64::from(PROMPT / 2) {
        cached.step(&[(first, vec![2 * n, 2 * n + 1])]);
    }
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    let mut all = vec![first];
    for _ in 0..3 {
        all.push(cached.cache.fork(&mut encoder, first).expect("a fork"));
    }
    gpu().queue.submit([encoder.finish()]);
    assert_eq!(cached.cache.common_prefix(&all), Ok(PROMPT));
    let mut texts = vec![(0..u64::from(PROMPT)).collect::<Vec<_>>(); 4];
    for step in 0..6u64 {
        let new: Vec<_> = (0..4u64)
            .map(|n| {
                (0..1 + (step + n) % 2)
                    .map(|i| 1000 + 100 * n + 2 * step + i)
                    .collect()
            })
            .collect();
        let named: Vec<_> = all.iter().copied().zip(new.iter().cloned()).collect();
        let got = cached.step(&named);
        for ((text, new), got) in texts.iter_mut().zip(&new).zip(&got) {
            text.extend(new);
            let expected = plain(text, new.len(), |problem| {
                problem.with_position(Position::rotary(Rotary::new(DIM)))
            });
            close(got, &expected, 5e-6, &format!("step {step}"));
        }
    }
    // The page that the prompt filled in part was copied.
    assert_eq!(cached.cache.common_prefix(&all), Ok(SHARED));
}

#[test]
fn a_snapshot_comes_back() {
    let gpu = gpu();
    for kind in kinds() {
        let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
            .with_batch(2)
            .with_q_len(4);
        let mut cached = Cached::new(&options, Element::F32);
        let sequence = cached.cache.create().expect("a sequence");
        for n in 0..5 {
            cached.step(&[(sequence, (4 * n..4 * (n + 1)).collect())]);
        }
        let snapshot = pollster::block_on(cached.cache.snapshot(&gpu.queue, sequence));
        let snapshot = snapshot.expect("a snapshot");
        let expected = cached.step(&[(sequence, vec![20, 21])]);
        cached.cache.free(sequence).expect("a live sequence");

        let mut again = Cached::new(&options, Element::F32);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let restored = pollster::block_on(again.cache.restore(&mut encoder, &snapshot));
        gpu.queue.submit([encoder.finish()]);
        let restored = restored.expect("a sequence");
        assert_eq!(
            again.step(&[(restored, vec![20, 21])]),
            expected,
            "{kind:?}"
        );

        let mut short = snapshot.clone();
        short.bytes.pop();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let refused = pollster::block_on(again.cache.restore(&mut encoder, &short));
        assert!(
            matches!(refused, Err(Error::Snapshot { .. })),
            "{refused:?}"
        );
        let half = options.clone().with_k(Element::F16).with_v(Element::F16);
        let mut other = Cached::new(&half, Element::F16);
        let refused = pollster::block_on(other.cache.restore(&mut encoder, &snapshot));
        assert!(
            matches!(refused, Err(Error::Snapshot { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_cache_larger_than_a_binding_is_refused() {
    let kind = CacheKind::Contiguous { capacity: 1 << 24 };
    let options = KvCacheOptions::new(kind, 8, 128);
    let refused = pollster::block_on(gpu().attention.kv_cache(&options)).map(|_| ());
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("shaders index") || said.contains("binding_size"),
        "{said}"
    );
    let cache = pollster::block_on(gpu().attention.kv_cache(&KvCacheOptions::new(
        kinds()[0],
        2,
        32,
    )));
    let cache = cache.expect("a cache");
    let o = buffer(&gpu().device, &[0; 16]);
    let refused = cache.operands(1, &o, &o, &o).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("layer is 1"));
}
