//! A cache with its calls.

use wgpu_attention::problem::{Layout, Operand};
use wgpu_attention::{CacheKind, Call, Element, KvCache, KvCacheOptions, Problem, Sequence};

use crate::device::{Gpu, gpu};
use crate::run::{buffer, read};
use crate::support::tensor::{decode, encode, normal};

pub const HEADS: u32 = 4;
pub const KV_HEADS: u32 = 2;
pub const DIM: u32 = 32;

/// o per token, `[Hq · D]`.
pub type Rows = Vec<Vec<f64>>;

/// q, k and v of a token, `[H, D]` each, by a number that stands for the token.
pub fn token(id: u64) -> [Vec<f64>; 3] {
    let of = |n, heads: u32| normal(7 + 3 * id + n, (heads * DIM) as usize);
    [of(0, HEADS), of(1, KV_HEADS), of(2, KV_HEADS)]
}

pub fn kinds() -> [CacheKind; 3] {
    [
        CacheKind::Contiguous { capacity: 48 },
        CacheKind::Paged {
            page_len: 8,
            pages: 18,
            capacity: 48,
        },
        CacheKind::Ring {
            first: 2,
            window: 9,
        },
    ]
}

pub fn encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    gpu.device.create_command_encoder(&Default::default())
}

/// A cache with its calls, prepared once.
pub struct Cached<'a> {
    pub gpu: &'a Gpu,
    pub cache: KvCache,
    pub element: Element,
    pub q: wgpu::Buffer,
    pub k: wgpu::Buffer,
    pub v: wgpu::Buffer,
    pub o: wgpu::Buffer,
    pub append: Call,
    pub attend: Call,
}

impl Cached<'static> {
    pub fn new(options: &KvCacheOptions, element: Element) -> Self {
        Self::with(options, element, |problem| problem)
    }

    pub fn with(
        options: &KvCacheOptions,
        element: Element,
        change: impl Fn(Problem) -> Problem,
    ) -> Self {
        Self::on(gpu(), options, element, change)
    }
}

impl<'a> Cached<'a> {
    pub fn on(
        gpu: &'a Gpu,
        options: &KvCacheOptions,
        element: Element,
        change: impl Fn(Problem) -> Problem,
    ) -> Self {
        let cache = pollster::block_on(gpu.attention.kv_cache(options)).expect("a cache");
        let rows = options.tokens.unwrap_or(options.batch * options.q_len);
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
        let problem = cache.problem(HEADS, element);
        let o_rows = Operand::new(Element::F32, problem.o.layout);
        let problem = change(problem.with_o(o_rows));
        let plan = gpu.attention.plan(&problem).expect("a plan");
        let operands = cache.operands(0, &q, &o, &lse).expect("a layer");
        let attend = pollster::block_on(gpu.attention.prepare(&plan, &operands))
            .unwrap_or_else(|e| panic!("{e}\n{plan}"));
        Self {
            gpu,
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

    pub fn create(&mut self) -> Sequence {
        self.cache.create().expect("a sequence")
    }

    /// New tokens of sequences; answers o of each.
    pub fn step(&mut self, new: &[(Sequence, Vec<u64>)]) -> Vec<Rows> {
        let mut encoder = encoder(self.gpu);
        let counts: Vec<_> = new.iter().map(|(s, ids)| (*s, ids.len() as u32)).collect();
        let rows = self.cache.begin(&mut encoder, &counts).expect("room");
        let at = Where::new(self.cache.options(), new, &rows);
        for (n, (to, heads)) in [(&self.q, HEADS), (&self.k, KV_HEADS), (&self.v, KV_HEADS)]
            .into_iter()
            .enumerate()
        {
            // What no token has is NaN.
            let mut values = vec![f64::NAN; (at.rows() * heads * DIM) as usize];
            for ((_, ids), row) in new.iter().zip(&rows) {
                for (i, &id) in ids.iter().enumerate() {
                    for (h, x) in (0..).zip(token(id)[n].chunks(DIM as usize)) {
                        values[at.of(*row, i, (h, heads))..][..x.len()].copy_from_slice(x);
                    }
                }
            }
            let values = encode(self.element, &values);
            self.gpu.queue.write_buffer(to, 0, &values);
        }
        self.append.encode(&mut encoder);
        self.attend.encode(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
        let [o] = read(self.gpu, [&self.o]);
        let o = decode(Element::F32, &o);
        let of = |row: u32, i: usize| {
            let head = |h| o[at.of(row, i, (h, HEADS))..][..DIM as usize].to_vec();
            (0..HEADS).flat_map(head).collect()
        };
        let tokens = new.iter().zip(&rows);
        tokens
            .map(|((_, ids), &row)| (0..ids.len()).map(|i| of(row, i)).collect())
            .collect()
    }
}

/// Where new tokens lie in q, k, v and o.
struct Where {
    batch: u32,
    /// Tokens of a row's head.
    len: u32,
    /// Of ragged calls: where each row's tokens begin.
    starts: Option<Vec<u32>>,
}

impl Where {
    fn new(options: &KvCacheOptions, new: &[(Sequence, Vec<u64>)], rows: &[u32]) -> Self {
        let Some(tokens) = options.tokens else {
            return Self {
                batch: options.batch,
                len: options.q_len,
                starts: None,
            };
        };
        let mut counts = vec![0; options.batch as usize + 1];
        for ((_, ids), &row) in new.iter().zip(rows) {
            counts[row as usize + 1] = ids.len() as u32;
        }
        let mut sum = 0;
        let starts = counts.into_iter().map(|count| {
            sum += count;
            sum
        });
        Self {
            batch: 1,
            len: tokens,
            starts: Some(starts.collect()),
        }
    }

    fn rows(&self) -> u32 {
        self.batch * self.len
    }

    fn of(&self, row: u32, i: usize, (h, heads): (u32, u32)) -> usize {
        let (row, i) = match &self.starts {
            Some(starts) => (0, starts[row as usize] + i as u32),
            None => (row, i as u32),
        };
        (((row * heads + h) * self.len + i) * DIM) as usize
    }
}

/// New tokens of the one sequence of a cache, by calls of just so many: those of q, k and v in f32.
pub fn call(
    cache: &mut KvCache,
    sequence: Sequence,
    (ids, positions): (&[u64], Option<&[i32]>),
    change: impl Fn(Problem) -> Problem,
) -> Rows {
    let (gpu, n) = (gpu(), ids.len() as u32);
    let mut encoder = encoder(gpu);
    match positions {
        Some(at) => cache.begin_at(&mut encoder, &[(sequence, at)]),
        None => cache.begin(&mut encoder, &[(sequence, n)]),
    }
    .expect("room");
    let rows = |which: usize, heads: u32| {
        let all: Vec<_> = ids.iter().map(|&id| token(id)[which].clone()).collect();
        encode(Element::F32, &heads_first(&all, heads))
    };
    let [q, k, v] = [(0, HEADS), (1, KV_HEADS), (2, KV_HEADS)]
        .map(|(which, heads)| buffer(&gpu.device, &rows(which, heads)));
    let operand = |heads| Operand::heads_first(Element::F32, heads, n, DIM);
    let mut append = cache.append(Element::F32);
    append.shape.q_len = n;
    let append = append.with_k(operand(KV_HEADS)).with_v(operand(KV_HEADS));
    let mut problem = cache.problem(HEADS, Element::F32);
    problem.shape.q_len = n;
    let problem = problem
        .with_q(operand(HEADS))
        .with_o(operand(HEADS))
        .with_lse(Layout::heads_first(HEADS, n, 1));
    let [o, lse] =
        [DIM, 1].map(|dim| buffer(&gpu.device, &vec![0; (HEADS * n * dim * 4) as usize]));
    let plan = gpu.attention.plan_append(&append).expect("a plan");
    let operands = cache.append_operands(0, &k, &v).expect("a layer");
    let prepared = pollster::block_on(gpu.attention.prepare(&plan, &operands));
    prepared.expect("an append").encode(&mut encoder);
    let plan = gpu.attention.plan(&change(problem)).expect("a plan");
    let operands = cache.operands(0, &q, &o, &lse).expect("a layer");
    let prepared = pollster::block_on(gpu.attention.prepare(&plan, &operands));
    let prepared = prepared.unwrap_or_else(|e| panic!("{e}\n{plan}"));
    prepared.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [o] = read(gpu, [&o]);
    tokens_first(&decode(Element::F32, &o), n as usize, 0..n as usize)
}

/// `[tokens][H · D]` as `[H, tokens, D]`.
pub fn heads_first(tokens: &[Vec<f64>], heads: u32) -> Vec<f64> {
    let dim = DIM as usize;
    let rows = (0..heads as usize).flat_map(|h| tokens.iter().map(move |x| &x[h * dim..][..dim]));
    rows.flatten().copied().collect()
}

/// `[Hq, n, D]` as `[tokens][Hq · D]`, of some of the tokens.
pub fn tokens_first(o: &[f64], n: usize, tokens: std::ops::Range<usize>) -> Rows {
    let dim = DIM as usize;
    let row =
        |i: usize| (0..HEADS as usize).flat_map(move |h| o[(h * n + i) * dim..][..dim].to_vec());
    tokens.map(|i| row(i).collect()).collect()
}
