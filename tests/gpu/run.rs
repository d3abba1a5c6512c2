//! One case on the GPU: buffers made, poisoned, computed into, read back.

use wgpu::util::DeviceExt;
use wgpu_attention::Role;
use wgpu_attention::internal::Variant;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::{Attention, Operands, Plan, PlanOptions};

use crate::device::Gpu;
use crate::support::cases::Case;
use crate::support::compare::assert_forward;
use crate::support::forward;
pub use crate::support::forward::{Output, output};
use crate::support::inputs::Inputs;
use crate::support::tensor::{POISON, poisoned};

/// A storage buffer that holds `bytes`.
pub fn buffer(device: &wgpu::Device, bytes: &[u8]) -> wgpu::Buffer {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4).max(4), POISON);
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &bytes,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
    })
}

/// The operands of a case in buffers; outputs are poisoned.
pub struct Buffers {
    inputs: Vec<wgpu::Buffer>,
    slots: [usize; 3],
    others: Vec<(Role, wgpu::Buffer)>,
    pub o: wgpu::Buffer,
    pub lse: wgpu::Buffer,
}

impl Buffers {
    pub fn new(device: &wgpu::Device, case: &Case, inputs: &Inputs) -> Self {
        let (operand, sizes, dim) = output(case);
        let rows = u64::from(sizes.iter().product::<u32>());
        let others = forward::others(case, inputs);
        let others = others.map(|(role, bytes)| (role, buffer(device, bytes)));
        let largest = forward::largest(case).map(|(role, bytes)| (role, buffer(device, &bytes)));
        let others = others.chain(largest).collect();
        Self {
            inputs: inputs
                .buffers
                .iter()
                .map(|bytes| buffer(device, bytes))
                .collect(),
            slots: inputs.slots,
            others,
            o: buffer(device, &poisoned(operand.bytes(sizes, dim))),
            lse: buffer(device, &poisoned(rows * 4)),
        }
    }

    /// One more operand.
    pub fn add(&mut self, device: &wgpu::Device, role: Role, bytes: &[u8]) {
        self.others.push((role, buffer(device, bytes)));
    }

    /// An operand beside q, k, v, o and lse.
    pub fn get(&self, role: Role) -> &wgpu::Buffer {
        let found = self.others.iter().find(|(name, _)| *name == role);
        &found.unwrap_or_else(|| panic!("no {role}")).1
    }

    pub fn operands(&self) -> Operands<'_> {
        let [q, k, v] = self.slots.map(|slot| &self.inputs[slot]);
        let operands = Operands::new(q, k, v, &self.o, &self.lse);
        self.others
            .iter()
            .fold(operands, |operands, (role, buffer)| {
                operands.with(*role, buffer)
            })
    }
}

/// Runs `case` as `choice` says.
pub fn run(
    gpu: &Gpu,
    attention: &Attention,
    case: &Case,
    inputs: &Inputs,
    choice: &PlanOptions,
) -> (Plan, Output) {
    let plan = attention
        .plan_with(&case.problem, choice)
        .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let buffers = Buffers::new(&gpu.device, case, inputs);
    let output = execute(gpu, attention, &plan, &buffers);
    (plan, output)
}

/// Prepares, submits and reads back.
pub fn execute(gpu: &Gpu, attention: &Attention, plan: &Plan, buffers: &Buffers) -> Output {
    let call = pollster::block_on(attention.prepare(plan, &buffers.operands()))
        .unwrap_or_else(|e| panic!("{e}\n{plan}"));
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [o, lse] = read(gpu, [&buffers.o, &buffers.lse]);
    Output { o, lse }
}

/// The contents of some buffers.
pub fn read<const N: usize>(gpu: &Gpu, buffers: [&wgpu::Buffer; N]) -> [Vec<u8>; N] {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let staged = buffers.map(|from| {
        let to = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: from.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
        to
    });
    gpu.queue.submit([encoder.finish()]);
    for buffer in &staged {
        buffer.map_async(wgpu::MapMode::Read, .., |mapped| {
            mapped.expect("a mapped buffer")
        });
    }
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .expect("the device answers");
    staged.map(|buffer| buffer.get_mapped_range(..).expect("mapped").to_vec())
}

/// Holds what was written against the reference, and against what was not to be written.
pub fn check(case: &Case, inputs: &Inputs, output: &Output, context: &str) {
    let got = output.forward(case);
    assert_forward(&case.problem, &inputs.tensors(case), &got, context);
    assert_untouched(case, output, context);
}

/// Gaps of o and rows beside the slice keep their poison.
pub fn assert_untouched(case: &Case, output: &Output, context: &str) {
    if let Err(error) = output.untouched(case) {
        panic!("{error}\n{context}");
    }
}

/// Runs a case by default choices and checks it.
pub fn run_and_check(gpu: &Gpu, case: &Case, inputs: &Inputs, choice: &PlanOptions) -> Plan {
    let (plan, output) = run(gpu, &gpu.attention, case, inputs, choice);
    check(
        case,
        inputs,
        &output,
        &format!("{}\n{choice:?}\n{plan}", case.name),
    );
    plan
}

/// The variants that a plan uses.
pub fn variants(plan: &Plan) -> Vec<Variant> {
    plan.steps().iter().map(|step| step.variant()).collect()
}

/// Both strategies, for many queries and for few.
pub fn forward_strategies(gpu: &Gpu) -> Vec<PlanOptions> {
    let both = |choice: PlanOptions| [false, true].map(|decode| choice.clone().with_decode(decode));
    strategies(gpu).into_iter().flat_map(both).collect()
}

/// Both strategies, where the adapter has them.
pub fn strategies(gpu: &Gpu) -> Vec<PlanOptions> {
    let of = |strategy| PlanOptions::default().with_strategy(strategy);
    let mut choices = vec![of(StrategyKind::Workgroup)];
    if gpu.attention.caps().subgroups.is_some() {
        choices.push(of(StrategyKind::Subgroup));
    }
    choices
}
