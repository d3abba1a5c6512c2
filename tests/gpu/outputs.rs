//! Where results go: words that rows share, buffers that outputs share with inputs.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::Mask;
use wgpu_attention::{Element, Operands, PlanOptions};

use crate::device::gpu;
use crate::run::{Output, buffer, check, output, read, run, run_and_check, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::rounding;
use crate::support::tensor::{POISON, scatter};

#[test]
fn half_outputs_of_odd_rows() {
    let gpu = gpu();
    for element in [Element::F16, Element::BF16] {
        for value_dim in [1, 17, 33] {
            for sizes in [
                Sizes::one(1, 9),
                Sizes::one(7, 20),
                Sizes::two(2, 1, 13, 20),
            ] {
                let case = Case::new("odd rows", &Setting::new(12, value_dim, element), sizes);
                let inputs = Inputs::new(&case, Data::Normal(1.0), 2);
                let plan = run_and_check(gpu, &case, &inputs, &PlanOptions::default());
                let packs = plan.steps().iter().any(
                    |step| matches!(step.variant(), Variant::Pack(key) if key.output == element),
                );
                assert!(packs, "{plan}");
            }
        }
    }
}

#[test]
fn sixteen_bits_round_to_nearest_once() {
    for choice in strategies(gpu()) {
        for element in [Element::F16, Element::BF16] {
            let (case, inputs) = rounding::case(element);
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            rounding::check(&case, &inputs, &output.o).unwrap_or_else(|e| panic!("{e}\n{plan}"));
        }
    }
}

/// As many rows of o as of v, so that either fits in the other's place.
fn square(element: Element, dim: u32) -> Case {
    let sizes = Sizes::two(2, 2, 29, 29);
    Case::new("square", &Setting::new(dim, dim, element), sizes).with(|p| p.mask = Mask::causal())
}

/// Prepares with these operands (in the order q, k, v, o, lse), runs and reads o and lse.
fn run_on(case: &Case, choice: &PlanOptions, buffers: [&wgpu::Buffer; 5]) -> Output {
    let gpu = gpu();
    let plan = gpu
        .attention
        .plan_with(&case.problem, choice)
        .expect("a plan");
    let [q, k, v, o, lse] = buffers;
    let operands = Operands::new(q, k, v, o, lse);
    let call = pollster::block_on(gpu.attention.prepare(&plan, &operands))
        .unwrap_or_else(|e| panic!("{e}\n{plan}"));
    assert!(
        call.plan() != &plan,
        "a call whose outputs share a buffer has a plan of its own"
    );
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [o, lse] = read(gpu, [o, lse]);
    Output { o, lse }
}

/// Both strategies, whole and row slice by row slice, of which the later read what the earlier might have written over.
fn choices() -> Vec<PlanOptions> {
    let cut = |choice: PlanOptions| {
        let sliced = choice.clone().with_slice_rows(8);
        let split = sliced.clone().with_splits(2);
        [choice, sliced, split]
    };
    strategies(gpu()).into_iter().flat_map(cut).collect()
}

#[test]
fn o_takes_the_place_of_v() {
    for (choice, element) in choices().iter().flat_map(|c| Element::ALL.map(|e| (c, e))) {
        for dim in [16, 17] {
            let case = square(element, dim);
            let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
            let [q, k, v] = [0, 1, 2].map(|n| buffer(&gpu().device, &inputs.buffers[n]));
            let lse = buffer(
                &gpu().device,
                &vec![POISON; case.problem.shape.rows() as usize * 4],
            );
            let mut out = run_on(&case, choice, [&q, &k, &v, &v, &lse]);
            // v's buffer is as long as o's, up to the padding that both have.
            let (operand, sizes, dim) = output(&case);
            out.o.truncate(operand.bytes(sizes, dim) as usize);
            check(
                &case,
                &inputs,
                &out,
                &format!("o in v's buffer, {element}, {choice:?}"),
            );
        }
    }
}

#[test]
fn lse_takes_the_place_of_q() {
    for (choice, element) in choices().iter().flat_map(|c| Element::ALL.map(|e| (c, e))) {
        let case = square(element, 16);
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        let [q, k, v] = [0, 1, 2].map(|n| buffer(&gpu().device, &inputs.buffers[n]));
        let (operand, sizes, dim) = output(&case);
        let o = buffer(
            &gpu().device,
            &vec![POISON; operand.bytes(sizes, dim) as usize],
        );
        let out = run_on(&case, choice, [&q, &k, &v, &o, &q]);
        let lse = case.problem.shape.rows() as usize * 4;
        assert!(
            out.lse[lse..] == inputs.buffers[0][lse..],
            "q beyond lse was written"
        );
        check(
            &case,
            &inputs,
            &out,
            &format!("lse in q's buffer, {element}, {choice:?}"),
        );
    }
}

/// lse first (it has no offset), then q, k, v and o in one buffer, some words apart.
#[test]
fn all_operands_in_one_arena() {
    for (choice, element) in strategies(gpu())
        .iter()
        .flat_map(|c| Element::ALL.map(|e| (c, e)))
    {
        for gap in [8, 9] {
            let mut case = square(element, 16);
            let values = Inputs::new(&case, Data::Normal(1.0), 3);
            let s = case.problem.shape;
            let length = s.rows() * 16 + gap;
            let start = s.rows() * 4 / element.bytes(1) + 16;
            let p = &mut case.problem;
            for (n, operand) in [&mut p.q, &mut p.k, &mut p.v, &mut p.o]
                .into_iter()
                .enumerate()
            {
                operand.layout.offset = start + n as u64 * length;
            }
            let (operand, sizes, dim) = output(&case);
            let mut arena = vec![POISON; operand.bytes(sizes, dim) as usize + 64];
            let p = &case.problem;
            for (operand, values) in [p.q, p.k, p.v]
                .iter()
                .zip([&values.q, &values.k, &values.v])
            {
                scatter(&mut arena, element, &operand.layout, sizes, values);
            }
            let before = arena.clone();
            let arena = buffer(&gpu().device, &arena);
            let out = run_on(&case, choice, [&arena; 5]);
            assert_only_outputs_changed(&case, &before, &out.o);
            let got = out.forward(&case);
            let context = format!("one arena, {element}, {choice:?}");
            crate::support::compare::assert_forward(
                &case.problem,
                &values.tensors(&case),
                &got,
                &context,
            );
        }
    }
}

fn assert_only_outputs_changed(case: &Case, before: &[u8], after: &[u8]) {
    let (operand, sizes, dim) = output(case);
    let o = operand.element.bytes(operand.layout.offset);
    let o = o as usize
        ..o as usize
            + sizes.iter().product::<u32>() as usize
                * dim as usize
                * operand.element.bytes(1) as usize;
    let lse = 0..case.problem.shape.rows() as usize * 4;
    for (n, (a, b)) in before.iter().zip(after).enumerate() {
        assert!(
            a == b || o.contains(&n) || lse.contains(&n),
            "byte {n} of the arena was written"
        );
    }
}
