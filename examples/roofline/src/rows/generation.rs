//! What generation does all day: few queries over many keys, in caches of every kind, and the small steps around them.

use wgpu_attention::Element;
use wgpu_attention::problem::{
    KvAddress, Lengths, MAX_LEN, Mask, Offsets, Pages, Problem, Ring, Shape, Window,
};

use crate::case::{Case, Group, Row};
use crate::gpu::Gpu;
use crate::{cached, operation, ragged};

const KEYS: u32 = 8192;
const WINDOW: u32 = 1024;
const PAGE: u32 = 16;

type MakeCase = fn(&Gpu, &Row) -> anyhow::Result<Box<dyn Case>>;

pub fn groups() -> Vec<Group> {
    let mut groups = vec![storages(), splits(), few_queries((8, 8), 4)];
    groups.extend((1..=4).map(|queries| few_queries((32, 8), queries)));
    groups.extend([rings(), sequences(), steps()]);
    groups
}

fn shape(heads: (u32, u32), q_len: u32) -> Shape {
    Shape {
        batch: 1,
        q_heads: heads.0,
        kv_heads: heads.1,
        q_len,
        kv_len: KEYS,
        head_dim: 128,
        value_dim: 128,
    }
}

fn decode(kernel: &'static str, strategy: &'static str, problem: Problem) -> Row {
    row(kernel, strategy, problem, cached::case)
}

fn row(kernel: &'static str, strategy: &'static str, problem: Problem, case: MakeCase) -> Row {
    Row {
        kernel,
        strategy,
        problem,
        params: String::new(),
        case,
        baseline: None,
    }
}

/// One token of 32 heads that share 8: where keys lie and how they are stored.
fn storages() -> Group {
    let problem = Problem::new(shape((32, 8), 1), Element::F32);
    let plain = decode("decode", "subgroup", problem.clone());
    let pages = KvAddress::Paged(Pages::new(PAGE, KEYS / PAGE, KEYS / PAGE));
    let paged = decode(
        "decode-paged",
        "subgroup",
        problem.clone().with_cache(pages),
    );
    let quantized = |kernel, element| {
        let problem = problem.clone().with_kv_elements(element, element);
        decode(kernel, "subgroup", problem).over("f32", &plain)
    };
    let rows = [
        quantized("decode-int8", Element::Int8),
        quantized("decode-int4", Element::Int4),
        paged.over("contiguous", &plain),
        decode("decode", "workgroup", problem.clone()).over("subgroup", &plain),
    ];
    Group(std::iter::once(plain).chain(rows).collect())
}

/// One KV head keeps one workgroup busy, unless its keys are split.
fn splits() -> Group {
    let problem = Problem::new(shape((4, 1), 1), Element::F32);
    let mut whole = decode("decode", "subgroup", problem.clone());
    whole.params = "splits=1".into();
    let split = decode("decode", "subgroup", problem).over("splits=1", &whole);
    Group(vec![whole, split])
}

/// As many queries as decode takes at the most, and fewer, beside prefill.
fn few_queries(heads: (u32, u32), queries: u32) -> Group {
    let problem = Problem::new(shape(heads, queries), Element::F32);
    let mut prefill = decode("forward", "subgroup", problem.clone());
    prefill.params = "prefill".into();
    let few = decode("decode", "subgroup", problem).over("prefill", &prefill);
    Group(vec![prefill, few])
}

/// A window's ring early and late in a conversation.
fn rings() -> Group {
    let at = |len: u32| {
        let shape = Shape {
            kv_len: MAX_LEN,
            ..shape((32, 8), 1)
        };
        let window = Window {
            left: Some(WINDOW - 1),
            right: Some(0),
        };
        let mask = Mask::causal()
            .with_window(window)
            .with_kv_lens(Lengths::Host(vec![len]))
            .with_q_offset(Offsets::Host(vec![len as i32 - 1]));
        let ring = KvAddress::Ring(Ring::new(0, WINDOW));
        let problem = Problem::new(shape, Element::F32)
            .with_mask(mask)
            .with_cache(ring);
        let mut row = decode("decode-ring", "subgroup", problem);
        row.params = format!("token {len}");
        row
    };
    let early = at(2000);
    let late = at(200_000).over("token 2000", &early);
    Group(vec![early, late])
}

/// 32 prompts of 16 to 512 tokens as one batch, beside a call for each with tiles of its own.
fn sequences() -> Group {
    let lengths = (0..32).map(|n| 16 + n * 13 % 32 * 16);
    let starts = ragged::starts(lengths);
    let total = starts[starts.len() - 1];
    let all = Shape::square(1, 8, total, 64);
    let problem = Problem::new(all, Element::F32).with_mask(Mask::causal());
    let problem = problem.ragged(starts.clone(), starts);
    let problem = problem.expect("sequences that end at their tokens");
    let of = |params: &str| Row {
        params: params.into(),
        ..row("ragged", "subgroup", problem.clone(), ragged::case)
    };
    let apart = of("apart");
    let together = of("").over("apart", &apart);
    Group(vec![apart, together])
}

/// New rows, merges, and what a dispatch costs that does nothing.
fn steps() -> Group {
    let new = |kv_len| Shape {
        kv_len,
        ..shape((8, 8), 1)
    };
    let problem = |kv_len| Problem::new(new(kv_len), Element::F32);
    let merged = Shape {
        q_len: 64,
        ..new(16)
    };
    Group(vec![
        row("append", "-", problem(1024), operation::append),
        row(
            "merge",
            "-",
            Problem::new(merged, Element::F32),
            operation::merge,
        ),
        row("empty", "-", problem(1), operation::empty),
    ])
}
