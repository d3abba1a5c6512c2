//! A prefix that all sequences share, read once for all of them: the answers of the plain call.

use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, KvAddress, Layout, Lengths, Mask, Offsets, Pages, Pattern, Score,
    Slice, Tree, Values,
};
use wgpu_attention::{Element, Error, Host, Plan, PlanOptions, Problem, Role};

use crate::device::{gpu, left_out};
use crate::run::{Buffers, Output, check, read, run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::{poisoned, row_starts, scatter_row};

type Change<'a> = &'a dyn Fn(&mut Problem);

const SHARED: u32 = 70;
const KEYS: u32 = 103;

fn sizes(batch: u32, (q_heads, kv_heads): (u32, u32), q_len: u32) -> Sizes {
    Sizes {
        batch,
        q_heads,
        kv_heads,
        q_len,
        kv_len: KEYS,
    }
}

fn case(name: &str, element: Element, sizes: Sizes, change: impl FnOnce(&mut Problem)) -> Case {
    let case = Case::new(name, &Setting::new(32, 24, element), sizes);
    case.with(|p| {
        p.mask = Mask::causal();
        p.shared_prefix = SHARED;
        change(p);
    })
}

/// Keys and values of which the first are batch 0's; in the buffers those of the other batches are NaN.
fn inputs(case: &Case) -> Inputs {
    let mut inputs = Inputs::new(case, Data::Normal(1.0), 5);
    let (problem, s) = (&case.problem, &case.problem.shape);
    let kv = [s.batch, s.kv_heads, s.kv_len];
    let Inputs { k, v, buffers, .. } = &mut inputs;
    let both = [(k, problem.k, s.head_dim), (v, problem.v, s.value_dim)];
    for ((values, operand, dim), buffer) in both.into_iter().zip(&mut buffers[1..]) {
        let (dim, of_batch) = (dim as usize, (s.kv_heads * s.kv_len) as usize);
        for (row, start) in row_starts(&operand.layout, kv).enumerate() {
            if row >= of_batch && row as u32 % s.kv_len < problem.shared_prefix {
                let first = row % of_batch * dim;
                values.copy_within(first..first + dim, row * dim);
                scatter_row(buffer, operand.element, start, &vec![f64::NAN; dim]);
            }
        }
    }
    inputs
}

/// The reason why a plan has no cascade.
fn declined(plan: &Plan) -> Option<&str> {
    let found = plan.declined().iter().find(|x| x.path == "cascade");
    found.map(|x| &*x.reason)
}

/// Runs a case and holds it against the reference; it must be a cascade, for another would find NaN.
fn run_and_check(case: &Case, choice: &PlanOptions) -> Plan {
    let inputs = inputs(case);
    let (plan, output) = run(gpu(), &gpu().attention, case, &inputs, choice);
    assert_eq!(declined(&plan), None, "{}\n{plan}", case.name);
    check(
        case,
        &inputs,
        &output,
        &format!("{}\n{choice:?}\n{plan}", case.name),
    );
    plan
}

#[test]
fn a_cascade_is_the_plain_call() {
    let every = if left_out("three of four sizes of cascades") {
        4
    } else {
        1
    };
    let table = [
        (2, (4, 2), 1, Element::F32),
        (3, (4, 1), 1, Element::F16),
        (5, (2, 2), 1, Element::F32),
        (8, (8, 2), 1, Element::F32),
        (2, (4, 2), 2, Element::BF16),
        (4, (4, 2), 3, Element::F32),
        (6, (4, 4), 4, Element::F16),
    ];
    for (batch, heads, q_len, element) in table.into_iter().step_by(every) {
        let sinks = (0..heads.0).map(|h| h as f32 - 1.5).collect();
        let lens: Vec<u32> = (0..batch).map(|b| KEYS - 7 * (b % 4)).collect();
        let name = format!("{batch} sequences of {q_len}, {heads:?}");
        let case = case(&name, element, sizes(batch, heads, q_len), |p| {
            p.score = Score::default()
                .with_softcap(3.0)
                .with_sinks(Values::Host(sinks));
            p.mask.q_offset = Offsets::Host(lens.iter().map(|&len| (len - q_len) as i32).collect());
            p.mask.kv_lens = Lengths::Host(lens);
        });
        for choice in strategies(gpu()) {
            run_and_check(&case, &choice);
        }
    }
}

#[test]
fn lengths_on_the_device() {
    let mut case = case("on the device", Element::F32, sizes(3, (4, 2), 2), |p| {
        p.mask.kv_lens = Lengths::Device;
        p.mask.q_offset = Offsets::Device;
    });
    // One sequence has nothing but the prefix and its own.
    case.kv_lens = Some(vec![KEYS, 72, 90]);
    case.q_offset = Some(vec![101, 70, 88]);
    for choice in strategies(gpu()) {
        run_and_check(&case, &choice);
    }
}

/// Where rows lie otherwise, where a part of the call is asked for, and what is forced.
#[test]
fn layouts_slices_and_choices() {
    let heads_last = |p: &mut Problem| {
        p.q.layout = Layout::rows_first(4, 2, 32);
        p.o.layout = Layout::rows_first(4, 2, 24);
    };
    let plain = |_: &mut Problem| {};
    let slice = |p: &mut Problem| {
        p.slice = Some(Slice {
            q: 1..2,
            k: 0..KEYS,
        })
    };
    let all_shared = |p: &mut Problem| {
        p.shared_prefix = KEYS;
        p.mask.causal = false;
    };
    let window = |p: &mut Problem| p.mask = Mask::window(5, 0).with_first(SHARED + 3);
    let f16 = |p: &mut Problem| p.o.element = Element::F16;
    let tree = |p: &mut Problem| {
        p.mask = Mask::default().with_tree(Tree::Host([-1, -1].repeat(6)));
    };
    let default = PlanOptions::default;
    let ways: [(&str, Change<'_>, PlanOptions); 11] = [
        ("heads last", &heads_last, default()),
        ("a slice", &slice, default()),
        ("all shared", &all_shared, default()),
        ("a window", &window, default()),
        ("f16", &f16, default()),
        ("a tree", &tree, default()),
        ("splits", &plain, default().with_splits(3)),
        ("prefill", &plain, default().with_decode(false)),
        ("decode", &plain, default().with_decode(true)),
        ("slices", &plain, default().with_slice_rows(1)),
        (
            "shared outputs",
            &plain,
            default().with_shared_outputs(true),
        ),
    ];
    let every = if left_out("two of three ways of cascades") {
        3
    } else {
        1
    };
    for (name, change, choice) in ways.into_iter().step_by(every) {
        let case = case(name, Element::F32, sizes(6, (4, 2), 2), |p| change(p));
        run_and_check(&case, &choice);
    }
}

/// Pages of the prefix are those of the first sequence; what the others' tables say of them is not asked.
#[test]
fn forked_pages() {
    const PAGE: u32 = 16;
    let (batch, shared) = (4, 5 * PAGE);
    let case = case("pages", Element::F32, sizes(batch, (4, 2), 1), |p| {
        p.shared_prefix = shared;
        p.mask.kv_lens = Lengths::Device;
        p.mask.q_offset = Offsets::Device;
    });
    let per_sequence = KEYS.div_ceil(PAGE);
    let lens = [KEYS, 90, 81, 97];
    let offsets = lens.map(|len| len as i32 - 1);
    // The page before the last is nobody's.
    let pages = 5 + batch * (per_sequence - 5) + 1;
    let with_nonfinite = pages - 1;
    let table_of = |b: u32, n: u32, forked: bool| match n {
        0..5 if b == 0 || forked => (n * 3) % 5,
        0..5 => with_nonfinite,
        _ => 5 + b * (per_sequence - 5) + n - 5,
    };
    // All rows, whoever sees them.
    let inputs = inputs(&crate::support::cases::Case {
        problem: Problem::new(case.problem.shape, Element::F32),
        ..case.clone()
    });
    let shape = case.problem.shape;
    let pool = |values: &[f64], dim: u32| {
        let mut bytes = poisoned(u64::from(pages * 2 * PAGE * dim) * 4);
        let layout = Layout::heads_first(2, PAGE, dim);
        for (b, j) in (0..batch).flat_map(|b| (0..lens[b as usize]).map(move |j| (b, j))) {
            let page = table_of(b, j / PAGE, true);
            for h in 0..2 {
                let row = ((b * 2 + h) * KEYS + j) as usize * dim as usize;
                let to = layout.index(page, h, j % PAGE) as usize;
                scatter_row(
                    &mut bytes,
                    Element::F32,
                    to,
                    &values[row..row + dim as usize],
                );
            }
        }
        bytes
    };
    let (k, v) = (
        pool(&inputs.k, shape.head_dim),
        pool(&inputs.v, shape.value_dim),
    );
    let address = KvAddress::Paged(Pages::new(PAGE, pages, per_sequence));
    let run = |shared_prefix: u32, choice: &PlanOptions| {
        let problem = case.problem.clone().with_cache(address);
        let problem = problem.with_shared_prefix(shared_prefix);
        let plan = gpu().attention.plan_with(&problem, choice).expect("a plan");
        let table: Vec<u32> = (0..batch * per_sequence)
            .map(|n| table_of(n / per_sequence, n % per_sequence, shared_prefix == 0))
            .collect();
        let host = Host::new(&inputs.buffers[0], &k, &v)
            .with(Role::KvLens, bytemuck::cast_slice(&lens))
            .with(Role::QOffset, bytemuck::cast_slice(&offsets))
            .with(Role::PageTable, bytemuck::cast_slice(&table));
        let out = pollster::block_on(gpu().attention.run(&gpu().queue, &plan, &host));
        (out.unwrap_or_else(|e| panic!("{e}\n{plan}")), plan)
    };
    for choice in strategies(gpu()) {
        let (got, plan) = run(shared, &choice);
        assert_eq!(declined(&plan), None, "{plan}");
        let (plain, _) = run(0, &choice);
        let numbers = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, f32>(bytes);
        let pairs = numbers(&got.o).into_iter().zip(numbers(&plain.o));
        let lse = got.lse.iter().copied().zip(plain.lse.iter().copied());
        for (got, plain) in pairs.chain(lse) {
            assert!((got - plain).abs() < 3e-6, "{got} for {plain}: {plan}");
        }
    }
}

/// What looks at sequences and queries within the prefix takes the plain way, and is right.
#[test]
fn what_is_no_cascade_is_the_plain_call() {
    let bias = |p: &mut Problem| p.score.bias = Some(Layout::heads_first(4, 1, KEYS));
    let blocks = |p: &mut Problem| {
        let grid = BlockGrid::new(32, p.shape.q_len, p.shape.kv_len);
        let mask = BlockMask::from_pattern(grid, &Pattern::full()).expect("a mask");
        p.mask.blocks = Some(Blocks::from(mask));
    };
    let ways: [(&str, Change<'_>); 3] = [
        ("biases", &bias),
        ("blocks", &blocks),
        ("window", &|p: &mut Problem| p.mask = Mask::window(50, 0)),
    ];
    for (word, change) in ways {
        let case = case(word, Element::F32, sizes(3, (4, 2), 1), |p| change(p));
        let inputs = Inputs::new(&case, Data::Normal(1.0), 5);
        let (plan, output) = run(
            gpu(),
            &gpu().attention,
            &case,
            &inputs,
            &PlanOptions::default(),
        );
        let reason = declined(&plan).unwrap_or_else(|| panic!("{plan}"));
        assert!(reason.contains(word), "{reason}");
        check(&case, &inputs, &output, word);
    }
}

/// A prepared call may have other lengths, but none that ends within the prefix.
#[test]
fn lengths_set_anew_cover_the_prefix() {
    let with = |lens: &[u32]| {
        case("again", Element::F32, sizes(3, (4, 2), 1), |p| {
            p.mask.causal = false;
            p.mask.kv_lens = Lengths::Host(lens.to_vec());
        })
    };
    let planned = with(&[KEYS; 3]);
    let plan = gpu().attention.plan(&planned.problem).expect("a plan");
    assert_eq!(declined(&plan), None, "{plan}");
    let later = with(&[SHARED, 80, KEYS]);
    let inputs = inputs(&later);
    let buffers = Buffers::new(&gpu().device, &later, &inputs);
    let operands = buffers.operands();
    let prepared = gpu().attention.prepare(&plan, &operands);
    let mut call = pollster::block_on(prepared).expect("a call");
    let error = call.set_kv_lens(&[KEYS, SHARED - 1, KEYS]).unwrap_err();
    assert!(matches!(error, Error::Element { index: 1, .. }), "{error}");
    assert!(error.to_string().contains("70 to 103"), "{error}");
    call.set_kv_lens(&[SHARED, 80, KEYS]).expect("lengths");
    let mut encoder = gpu().device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu().queue.submit([encoder.finish()]);
    let [o, lse] = read(gpu(), [&buffers.o, &buffers.lse]);
    check(&later, &inputs, &Output { o, lse }, "lengths set anew");
}
