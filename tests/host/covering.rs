//! `crate::support::covering::forward()`: every two properties that may meet do meet.

use std::collections::BTreeSet;

use wgpu_attention::Element;
use wgpu_attention::internal::{Output, Pack, PackRows, Prefill, Strategy, Variant};

/// One dimension of the key: its name, its values in words, and how a key is read.
struct Dimension {
    name: &'static str,
    levels: Vec<String>,
    of: fn(&Prefill) -> String,
}

fn dimensions() -> Vec<Dimension> {
    let dimension = |name, levels: &[&str], of| Dimension {
        name,
        levels: levels.iter().map(|x| x.to_string()).collect(),
        of,
    };
    let strategies = [
        "4 fixed",
        "4",
        "8 fixed",
        "8",
        "16 fixed",
        "16",
        "32 fixed",
        "32",
        "workgroup",
    ];
    let chunks = ["1,1", "9,5", "16,16", "20,20", "32,32", "48,32", "64,64"];
    vec![
        dimension("strategy", &strategies, strategy),
        dimension("chunks", &chunks, |key| {
            format!("{},{}", key.chunks, key.value_chunks)
        }),
        dimension(
            "elements",
            &[
                "f32,f32>f32",
                "f16,f16>f16",
                "f16,f16>f32",
                "f32,f16>f16",
                "bf16,bf16>bf16",
                "bf16,bf16>f32",
                "f32,bf16>bf16",
            ],
            |key| {
                let output = key.output.element;
                let key_element = match key.k.element == key.q.element {
                    true => String::new(),
                    false => format!(",{}", key.k.element),
                };
                format!("{}{key_element},{}>{output}", key.q.element, key.v.element)
            },
        ),
        dimension("aligned", &["true", "false"], |key| {
            assert_eq!(key.v.aligned, key.output.aligned);
            key.v.aligned.to_string()
        }),
        dimension("lanes", &["1", "2", "4"], |key| {
            key.tiling.lanes_per_row.to_string()
        }),
        dimension("rows", &["1", "2"], |key| key.tiling.rows.to_string()),
        dimension("key loop", &["true", "false"], |key| {
            key.key_loop.to_string()
        }),
        dimension("softcap", &["true", "false"], |key| {
            key.score.softcap.to_string()
        }),
        dimension("bias", &["none", "after", "before bf16"], bias),
        dimension("scheme", &SCHEMES, scheme),
        dimension(
            "mask",
            &[
                "",
                " dense",
                " list",
                " list on the device",
                " list with bits",
                " list with bits segments tree",
            ],
            |key| key.mask.to_string(),
        ),
    ]
}

const SCHEMES: [&str; 10] = [
    "none",
    "alibi",
    "alibi given",
    "t5",
    "t5 given",
    "temperature",
    "Half",
    "Half given",
    "Interleaved",
    "Interleaved given",
];

fn bias(key: &Prefill) -> String {
    let order = match (key.score.bias, key.score.bias_first) {
        (false, _) => "none",
        (true, false) => "after",
        (true, true) => "before",
    };
    match key.score.bias_element {
        Element::F32 => order.into(),
        element => format!("{order} {element}"),
    }
}

fn scheme(key: &Prefill) -> String {
    let score = &key.score;
    let name = match key.rotary {
        Some(layout) => format!("{layout:?}"),
        None if score.alibi => "alibi".into(),
        None if score.t5 => "t5".into(),
        None if score.temperature => "temperature".into(),
        None => "none".into(),
    };
    assert_eq!(score.q_positions, score.k_positions);
    format!("{name}{}", if score.q_positions { " given" } else { "" })
}

fn strategy(key: &Prefill) -> String {
    match key.strategy {
        Strategy::Subgroup { width, fixed: true } => format!("{width} fixed"),
        Strategy::Subgroup {
            width,
            fixed: false,
        } => width.to_string(),
        Strategy::Channels { .. } => panic!("of decode kernels only"),
        Strategy::Workgroup => "workgroup".into(),
    }
}

/// The pairs that cannot meet, by the beginning of their words: no bias comes before a softcap that is not there, (33, 17) and (1, 1) are never aligned nor is their
/// 16-bit output written in place, one channel does not rotate, a row of the workgroup strategy is shared in variants of its own only and has no key loop, two rows
/// of many channels would take long to compile, and what a rotation pass leaves is f32 and not rotated again.
const IMPOSSIBLE: [(&str, &str); 24] = [
    ("softcap false", "bias before"),
    ("chunks 1,1", "aligned true"),
    ("chunks 9,5", "aligned true"),
    ("chunks 1,1", "elements f16,f16>f16"),
    ("chunks 1,1", "elements bf16,bf16>bf16"),
    ("chunks 1,1", "elements f32,f16"),
    ("chunks 1,1", "elements f32,bf16"),
    ("chunks 9,5", "elements f16,f16>f16"),
    ("chunks 9,5", "elements bf16,bf16>bf16"),
    ("chunks 9,5", "elements f32,f16"),
    ("chunks 9,5", "elements f32,bf16"),
    ("chunks 1,1", "scheme Half"),
    ("chunks 1,1", "scheme Interleaved"),
    ("chunks 1,1", "scheme temperature"),
    ("elements f32,f16", "scheme Half"),
    ("elements f32,f16", "scheme Interleaved"),
    ("elements f32,bf16", "scheme Half"),
    ("elements f32,bf16", "scheme Interleaved"),
    ("elements f16", "scheme temperature"),
    ("elements bf16", "scheme temperature"),
    ("strategy workgroup", "lanes 2"),
    ("strategy workgroup", "lanes 4"),
    ("strategy workgroup", "key loop true"),
    ("chunks 48,32", "rows 2"),
];

fn impossible(a: &str, b: &str) -> bool {
    let meets = |x: &str, y: &str| {
        IMPOSSIBLE
            .iter()
            .any(|(p, q)| x.starts_with(p) && y.starts_with(q))
            || (x == "chunks 64,64" && y == "rows 2")
    };
    meets(a, b) || meets(b, a)
}

fn forward() -> Vec<Prefill> {
    let keys =
        crate::support::covering::forward()
            .into_iter()
            .filter_map(|variant| match variant {
                Variant::Prefill(key) => Some(key),
                _ => None,
            });
    keys.collect()
}

#[test]
fn every_possible_pair_is_there() {
    let dimensions = dimensions();
    let words = |key: &Prefill| -> Vec<String> {
        dimensions
            .iter()
            .map(|d| format!("{} {}", d.name, (d.of)(key)))
            .collect()
    };
    let keys: Vec<Vec<String>> = forward().iter().map(words).collect();
    for (n, a) in dimensions.iter().enumerate() {
        for (a, b) in dimensions[n + 1..].iter().flat_map(|b| {
            a.levels.iter().flat_map(move |x| {
                let x = format!("{} {x}", a.name);
                b.levels
                    .iter()
                    .map(move |y| (x.clone(), format!("{} {y}", b.name)))
            })
        }) {
            let met = keys.iter().any(|key| key.contains(&a) && key.contains(&b));
            assert_eq!(met, !impossible(&a, &b), "{a} with {b}");
        }
    }
}

#[test]
fn there_are_at_most_160_each_once_and_always_the_same() {
    let variants = crate::support::covering::forward();
    println!("{} variants", variants.len());
    let cached: Vec<_> = crate::support::covering::cached::cached().collect();
    assert!(cached.len() <= 20, "{}", cached.len());
    let stored: Vec<_> = crate::support::covering::stored::stored().collect();
    assert!(stored.len() <= 20, "{}", stored.len());
    let ragged: Vec<_> = crate::support::covering::ragged::forward().collect();
    assert!(ragged.len() <= 8, "{}", ragged.len());
    let apart = [cached, stored, ragged].concat();
    let others = variants.iter().filter(|v| !apart.contains(v));
    let others: Vec<&Variant> = others.collect();
    let few = others.iter().filter(|v| matches!(v, Variant::Decode(_)));
    let few = few.count();
    assert!(few <= 60, "{few}");
    assert!(others.len() - few <= 160, "{}", others.len());
    assert_eq!(variants, crate::support::covering::forward());
    assert_eq!(
        variants.iter().collect::<BTreeSet<_>>().len(),
        variants.len()
    );
    for output in Element::ALL {
        for aligned in [true, false] {
            let element = output;
            let output = Output { element, aligned };
            assert!(variants.contains(&Variant::from(wgpu_attention::internal::Merge { output })));
        }
        assert!(variants.contains(&Variant::Pack(Pack {
            output,
            rows: PackRows::InOrder
        })));
    }
}

#[test]
fn every_variant_fits_the_least_device() {
    for variant in crate::support::covering::forward() {
        assert!(variant.workgroup().memory <= 16 << 10, "{variant}");
        assert!(variant.workgroup().invocations <= 256, "{variant}");
    }
    for key in forward() {
        assert!([key.q.element, key.v.element, Element::F32].contains(&key.output.element));
        let Strategy::Subgroup { width, .. } = key.strategy else {
            continue;
        };
        assert_eq!(key.tiling.keys, width / key.tiling.lanes_per_row);
    }
}

/// A kernel family that no array has is composed, checked and run by no suite.
#[test]
fn every_family_is_in_an_array() {
    let forward = crate::support::covering::forward();
    let backward = crate::support::covering::backward::all();
    let covered: BTreeSet<_> = forward
        .iter()
        .chain(&backward)
        .map(Variant::family)
        .collect();
    let missing = Variant::FAMILIES
        .iter()
        .filter(|name| !covered.contains(*name));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "in no covering array: {missing:?}");
}

/// The array of the backward pass: each once, small enough for the least device, and every kernel of it.
#[test]
fn the_backward_array_is_small_and_fits_the_least_device() {
    let variants = crate::support::covering::backward::all();
    println!("{} variants", variants.len());
    let ragged = crate::support::covering::ragged::gradients().count();
    assert!(ragged <= 5, "{ragged}");
    assert!(variants.len() - ragged <= 90, "{}", variants.len());
    let kernels: BTreeSet<_> = variants.iter().map(Variant::entry).collect();
    let all = [
        "delta",
        "grad_bias",
        "grad_key_bias",
        "grad_kv",
        "grad_q",
        "grad_score",
        "grad_sinks",
        "reduce",
    ];
    assert_eq!(kernels, BTreeSet::from(all));
    assert_eq!(
        variants.iter().collect::<BTreeSet<_>>().len(),
        variants.len()
    );
    for variant in variants {
        assert!(variant.workgroup().memory <= 16 << 10, "{variant}");
        assert!(variant.workgroup().invocations <= 256, "{variant}");
    }
}
