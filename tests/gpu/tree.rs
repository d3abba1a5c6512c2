//! Drafts that branch: each path is what causal makes of it alone, and any tree is what the definition says.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::{
    BlockGrid, Blocks, Layout, Lengths, Mask, Offsets, Pattern, Segments, Select, Slice, Tree,
    Values, alibi_slopes,
};
use wgpu_attention::reference::selected;
use wgpu_attention::{Element, PlanOptions};

use crate::backward::run::{Given, run_and_check as run_backward};
use crate::device::gpu;
use crate::run::{check, forward_strategies, run, run_and_check, strategies, variants};
use crate::sparse::of_pattern;
use crate::support::cases::{Case, Setting, Sizes, sparse::on_device};
use crate::support::drawn::{Draw, mask};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::encode;

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 13,
    kv_len: 70,
};
const TEXT: u32 = SIZES.kv_len - SIZES.q_len;
const DIM: usize = 12;

/// Two trees with branches at every depth.
const PARENTS: [[i32; 13]; 2] = [
    [-1, 0, 0, 1, 1, 2, 3, 3, 0, 8, 9, 5, 11],
    [-1, -1, 1, 2, -1, 4, 4, 4, 7, 0, 9, 9, 3],
];

fn case(name: &str, mask: Mask) -> Case {
    let setting = Setting::new(DIM as u32, DIM as u32, Element::F32);
    Case::new(name, &setting, SIZES).with(|p| p.mask = mask)
}

fn tree() -> Tree {
    Tree::Host(PARENTS.concat())
}

/// From the root to a query.
fn path(b: usize, leaf: usize) -> Vec<usize> {
    let up = |&n: &usize| usize::try_from(PARENTS[b][n]).ok();
    let mut path: Vec<usize> = std::iter::successors(Some(leaf), up).collect();
    path.reverse();
    path
}

/// Rows of all heads of a batch.
fn rows_of(values: &[f64], heads: usize, len: usize, (b, rows): (usize, &[usize])) -> Vec<f64> {
    let of_head = |h: usize| {
        let at = move |&n: &usize| ((b * heads + h) * len + n) * DIM;
        rows.iter()
            .map(at)
            .flat_map(|at| values[at..][..DIM].to_vec())
    };
    (0..heads).flat_map(of_head).collect()
}

/// The text, the queries of one path and nothing else, under a causal mask.
fn one_path(whole: &Inputs, b: usize, path: &[usize]) -> (Case, Inputs) {
    let text = TEXT as usize;
    let sizes = Sizes {
        batch: 1,
        q_len: path.len() as u32,
        kv_len: TEXT + path.len() as u32,
        ..SIZES
    };
    let setting = Setting::new(DIM as u32, DIM as u32, Element::F32);
    let case = Case::new("a path", &setting, sizes).with(|p| p.mask = Mask::causal());
    let keys: Vec<usize> = (0..text).chain(path.iter().map(|n| text + n)).collect();
    let keys = (b, &keys[..]);
    let q = rows_of(&whole.q, 4, 13, (b, path));
    let [k, v] = [&whole.k, &whole.v].map(|x| rows_of(x, 2, 70, keys));
    let buffers = [&q, &k, &v].map(|x| encode(Element::F32, x)).to_vec();
    let inputs = Inputs {
        q,
        k,
        v,
        buffers,
        slots: [0, 1, 2],
        bias: None,
    };
    (case, inputs)
}

#[test]
fn a_tree_is_one_path_at_a_time() {
    let whole = case("a tree", Mask::default().with_tree(tree()));
    let inputs = Inputs::new(&whole, Data::Normal(1.0), 1);
    for choice in forward_strategies(gpu()) {
        let (plan, output) = run(gpu(), &gpu().attention, &whole, &inputs, &choice);
        let got = output.forward(&whole);
        let leaves = (0..13).filter(|n| PARENTS.iter().any(|p| !p.contains(n)));
        for (b, leaf) in leaves.flat_map(|leaf| [(0, leaf as usize), (1, leaf as usize)]) {
            let path = path(b, leaf);
            let (alone, inputs) = one_path(&inputs, b, &path);
            let (_, output) = run(gpu(), &gpu().attention, &alone, &inputs, &choice);
            let want = output.forward(&alone).o;
            let far = rows_of(&got.o, 4, 13, (b, &path)).into_iter().zip(want);
            let far = far.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 2e-6, "batch {b}, path {path:?}: {far}\n{plan}");
        }
    }
}

/// A chain is what causal is, also where it ends, and takes no more tiles.
#[test]
fn a_chain_is_causal() {
    let chain = |shift: i32| (0..26).map(|n| n % 13 - shift).collect();
    let causal = case("causal", Mask::causal());
    let chained = case("a chain", Mask::default().with_tree(Tree::Host(chain(1))));
    let inputs = Inputs::new(&causal, Data::Normal(1.0), 2);
    for choice in forward_strategies(gpu()) {
        let of = |case| run(gpu(), &gpu().attention, case, &inputs, &choice);
        let ((plan, want), (same, got)) = (of(&causal), of(&chained));
        assert!(got == want, "{same}");
        assert_eq!(same.cost().visited, plan.cost().visited, "{same}");
    }
}

/// Poison in one draft shows in no branch but its own.
#[test]
fn a_nan_stays_in_its_branch() {
    const AT: usize = 1;
    let case = case("a tree", Mask::default().with_tree(tree()));
    let clean = Inputs::new(&case, Data::Normal(1.0), 3);
    for (slot, poison) in [1, 2]
        .into_iter()
        .flat_map(|n| crate::hidden::POISONS.map(|x| (n, x)))
    {
        let mut inputs = clean.clone();
        let values = if slot == 1 {
            &mut inputs.k
        } else {
            &mut inputs.v
        };
        for head in 0..4 {
            values[(head * 70 + TEXT as usize + AT) * DIM..][..DIM].fill(poison);
        }
        inputs.buffers[slot] = encode(Element::F32, values);
        for choice in forward_strategies(gpu()) {
            let of = |inputs| run(gpu(), &gpu().attention, &case, inputs, &choice);
            let ((_, want), (plan, got)) = (of(&clean), of(&inputs));
            for row in 0..2 * 4 * 13 {
                let sees = path(row / 52, row % 13).contains(&AT);
                let same = |a: &[u8], b: &[u8], bytes: usize| {
                    a[row * bytes..][..bytes] == b[row * bytes..][..bytes]
                };
                let same = same(&got.o, &want.o, 4 * DIM) && same(&got.lse, &want.lse, 4);
                assert!(same || sees, "{poison} in {slot}, row {row}\n{plan}");
                assert!(
                    !(same && sees),
                    "{poison} in {slot} is hidden from row {row}\n{plan}"
                );
            }
        }
    }
}

/// Drawn trees in caches of any length, under windows, prefixes, documents and slices, on either side.
#[test]
fn drawn_trees() {
    for seed in 0..40 {
        let mut draw = Draw::new(seed);
        let q_len = draw.pick(&[1, 2, 5, 13, 33, 65, 97, 128]);
        let kv_len = draw.size(1, 150);
        let sizes = Sizes {
            q_len,
            kv_len,
            ..SIZES
        };
        let setting = Setting::new(DIM as u32, DIM as u32, Element::F32);
        let mut case = Case::new(format!("seed {seed}"), &setting, sizes);
        masks(&mut draw, &mut case);
        let inputs = Inputs::new(&case, Data::Normal(1.0), seed);
        let choices = forward_strategies(gpu());
        let choice = choices[seed as usize % choices.len()].clone();
        let splits = draw.one_in(2).then(|| draw.size(1, 9));
        run_and_check(gpu(), &case, &inputs, &choice.with_splits(splits));
        if seed % 4 == 0 {
            for choice in strategies(gpu()) {
                run_backward(gpu(), &case, &inputs, &Given::new(&case, seed), &choice);
            }
        }
    }
}

fn masks(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let lens: Vec<u32> = (0..2).map(|_| draw.size(0, shape.kv_len)).collect();
    let offset = |&len: &u32| len as i32 - shape.q_len as i32;
    let offsets: Vec<i32> = lens.iter().map(offset).collect();
    let mask = &mut case.problem.mask;
    match draw.size(0, 3) {
        0 => {
            (mask.kv_lens, mask.q_offset) = (Lengths::Host(lens), Offsets::Host(offsets));
        }
        1 => {
            (mask.kv_lens, mask.q_offset) = (Lengths::Device, Offsets::Device);
            (case.kv_lens, case.q_offset) = (Some(lens), Some(offsets));
        }
        2 => mask.q_offset = Offsets::Host(vec![draw.of(-9..=40), draw.of(0..=90)]),
        _ => {}
    }
    mask.causal = draw.one_in(2);
    mask.prefix = draw.pick(&[0, 5, 200]).into();
    if draw.one_in(2) {
        mask.window = Mask::window(draw.size(0, 40), draw.size(0, 3)).window;
        mask.first = draw.pick(&[0, 4, 90]);
    }
    if draw.one_in(4) {
        let ids = |len: u32| (0..2 * len).map(|n| (n * 7 % 3) as i32).collect();
        mask.segments = Some(Segments::Host {
            q: ids(shape.q_len),
            k: ids(shape.kv_len),
        });
    }
    if draw.one_in(4) {
        let (q, k) = (draw.size(0, shape.q_len), draw.size(0, shape.kv_len));
        case.problem.slice = Some(Slice {
            q: q.min(shape.q_len - 1)..shape.q_len,
            k: 0..k,
        });
    }
    mask::tree(draw, case);
}

/// Lists of blocks with bits and full ones, of the host and chosen by the call.
#[test]
fn beside_blocks() {
    let sizes = Sizes {
        q_len: 40,
        kv_len: 100,
        ..SIZES
    };
    let setting = Setting::new(DIM as u32, DIM as u32, Element::F32);
    let select = Blocks::Select(Select::new(16, 3));
    let strided = of_pattern(BlockGrid::new(16, 40, 100), &Pattern::strided(9));
    let near = of_pattern(BlockGrid::new(32, 40, 100), &Pattern::sliding_window(50, 0));
    for (n, blocks) in [strided, near, select].into_iter().enumerate() {
        let case = Case::new("a tree of blocks", &setting, sizes).with(|p| {
            let parents = (0..80).map(|n| n % 40 / 2 - 1).collect();
            p.mask = Mask::default()
                .with_blocks(blocks)
                .with_tree(Tree::Host(parents));
        });
        // What no block is chosen of may hold no NaN: all keys take part in the choice.
        let whole = case.clone().with(|p| p.mask = Mask::default());
        let inputs = Inputs::new(&whole, Data::Normal(1.0), n as u64);
        for choice in forward_strategies(gpu()) {
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            let listed = case
                .clone()
                .with(|p| *p = selected(p, &inputs.tensors(&case)));
            check(&listed, &inputs, &output, &plan.to_string());
        }
    }
}

/// Every gradient: those of a bias that rows have for themselves and that they share, of slopes and of T5's table.
#[test]
fn gradients_of_trees() {
    for (n, row) in [SIZES.kv_len, 0].into_iter().enumerate() {
        let setting = Setting {
            distance: [
                Some(crate::support::cases::Distance::Alibi),
                Some(crate::support::cases::Distance::T5),
            ][n],
            ..Setting::new(DIM as u32, DIM as u32, Element::F32)
        };
        let mut case = Case::new("gradients of a tree", &setting, SIZES).with(|p| {
            p.score.bias = Some(Layout {
                row: row.into(),
                ..Layout::heads_first(SIZES.q_heads, SIZES.q_len, SIZES.kv_len)
            });
            if n == 0 {
                p.score.slopes = Some(Values::Host(alibi_slopes(SIZES.q_heads)));
            }
            p.mask.tree = Some(tree());
        });
        if n == 1 {
            case.problem.mask.tree = Some(on_device(&PARENTS.concat(), &mut case));
        }
        let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
        let given = Given {
            score: true,
            ..Given::new(&case, n as u64)
        };
        for choice in strategies(gpu()) {
            run_backward(gpu(), &case, &inputs, &given, &choice);
        }
    }
}

/// Few queries pack the heads that share keys, by default.
#[test]
fn few_drafts_are_decode() {
    let sizes = Sizes { q_len: 4, ..SIZES };
    let setting = Setting::new(DIM as u32, DIM as u32, Element::F32);
    let case = Case::new("four drafts", &setting, sizes).with(|p| {
        p.mask.tree = Some(Tree::Host(vec![-1, 0, 0, 1, -1, -1, 1, 1]));
    });
    let inputs = Inputs::new(&case, Data::Normal(1.0), 5);
    let plan = run_and_check(gpu(), &case, &inputs, &PlanOptions::default());
    let packs = |v: &Variant| matches!(v, Variant::Decode(key) if key.0.mask.tree);
    assert!(variants(&plan).iter().any(packs), "{plan}");
}
