//! Keys and values that hold rows rotated by Walsh–Hadamard matrices: q is rotated alike, o back.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{Layout, Mask, Position, Slice};
use wgpu_attention::quantize::hadamard;
use wgpu_attention::{Element, PlanOptions};

use crate::device::gpu;
use crate::run::{forward_strategies, run, run_and_check, variants};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::encode;

use Element::{BF16, F16, F32, Int4, Int8};

fn case((d, dv): (u32, u32), q: Element, queries: u32) -> Case {
    let name = format!("D {d}, Dv {dv}, {q}, {queries} queries");
    let sizes = Sizes::two(4, 2, queries, 29);
    Case::new(name, &Setting::new(d, dv, q), sizes).with(|p| {
        p.mask = Mask::causal();
        (p.k_hadamard, p.v_hadamard) = (true, true);
    })
}

/// Blocks of every length, whole rows and several to a row; every type of q and o, rows of which share words.
#[test]
fn blocks_of_every_length() {
    let dims = [
        (2, 6),
        (34, 4),
        (12, 20),
        (40, 24),
        (64, 96),
        (80, 10),
        (128, 32),
        (256, 256),
    ];
    for (n, dims) in dims.into_iter().enumerate() {
        let case = case(dims, [F32, F16, BF16][n % 3], [1, 9][n % 2]);
        let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
        for choice in forward_strategies(gpu()) {
            let plan = run_and_check(gpu(), &case, &inputs, &choice);
            let passes = variants(&plan);
            let passes = passes.iter().filter(|x| matches!(x, Variant::Hadamard(_)));
            assert_eq!(passes.count(), 2, "{plan}");
        }
    }
}

/// With quantised rows, positions, slices, splits and outputs that lie where an input does.
#[test]
fn with_everything_else() {
    let changes: [fn(&mut Case); 5] = [
        |case| case.store(Int8, Int4),
        |case| {
            case.problem.position = Position::rotary(Rotary::new(40)).with_k_rotated(true);
        },
        |case| case.problem.slice = Some(Slice { q: 3..17, k: 5..27 }),
        |case| case.problem.o.layout = Layout::rows_first(4, 19, 24).at(1),
        |case| {
            case.problem.v_hadamard = false;
            case.problem.slice = Some(Slice { q: 2..9, k: 7..7 });
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        for q in [F32, F16] {
            let mut case = case((40, 24), q, 19);
            change(&mut case);
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            for choice in forward_strategies(gpu()) {
                run_and_check(gpu(), &case, &inputs, &choice);
                let shared = choice.with_shared_outputs(true).with_splits(2);
                run_and_check(gpu(), &case, &inputs, &shared.with_slice_rows(5));
            }
        }
    }
}

/// Rotating k and v before, as a cache does, changes nothing but roundings.
#[test]
fn it_is_the_answer_without() {
    let rotated = case((64, 48), F32, 9);
    let plain = rotated
        .clone()
        .with(|p| (p.k_hadamard, p.v_hadamard) = (false, false));
    let full = plain.clone().with(|p| p.mask = Mask::default());
    let inputs = Inputs::new(&full, Data::Normal(1.0), 3);
    let mut transformed = inputs.clone();
    for (slot, dim) in [(1, 64), (2, 48)] {
        let values = [&inputs.k, &inputs.v][slot - 1];
        let mut rows: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        hadamard(&mut rows, dim).expect("even rows");
        let rows: Vec<f64> = rows.into_iter().map(f64::from).collect();
        transformed.buffers[slot] = encode(F32, &rows);
    }
    let options = PlanOptions::default();
    let (_, want) = run(gpu(), &gpu().attention, &plain, &inputs, &options);
    let (plan, got) = run(gpu(), &gpu().attention, &rotated, &transformed, &options);
    let (want, got) = (want.forward(&plain), got.forward(&rotated));
    for (x, y) in want
        .o
        .iter()
        .chain(&want.lse)
        .zip(got.o.iter().chain(&got.lse))
    {
        assert!((x - y).abs() < 3e-6, "{x} and {y}\n{plan}");
    }
}

/// Rows that see no key are 0, rotated back or not, whatever hidden keys hold.
#[test]
fn a_fully_masked_row_is_zero() {
    let case = case((32, 32), F32, 40);
    let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
    for choice in forward_strategies(gpu()) {
        run_and_check(gpu(), &case, &inputs, &choice);
    }
}
