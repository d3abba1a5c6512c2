//! Frames of 16 ms beside a long attention call, in one submit and in slices of 4 ms:
//! `cargo run --release --example frames`. With `slices` behind, how well slices keep to their budgets:
//! `frames -- slices 4096 65536` (numbers of tokens).

use std::time::{Duration, Instant};

use wgpu_attention::{
    Attention, Backward, Budget, Call, Element, Mask, Operands, Plan, PlanOptions, Problem, Shape,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TOKENS: u32 = 32_768;
const HEADS: u32 = 1;
const DIM: u32 = 64;
const FRAME: Duration = Duration::from_millis(16);
const BUDGET: f32 = 4.0;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let gpu = pollster::block_on(Gpu::open())?;
    match args.split_first() {
        Some((what, tokens)) if what == "slices" => {
            let tokens: Vec<u32> = tokens
                .iter()
                .map(|n| n.parse())
                .collect::<std::result::Result<_, _>>()?;
            slices(&gpu, &tokens)
        }
        Some((tokens, _)) => frames(&gpu, tokens.parse()?),
        None => frames(&gpu, TOKENS),
    }
}

/// A device and the work that an application does on it per frame.
struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    attention: Attention,
    drawing: wgpu::ComputePipeline,
    drawn: wgpu::BindGroup,
}

const DRAWING: &str = "
@group(0) @binding(0) var<storage, read_write> picture: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { picture[id.x] = sin(picture[id.x] + f32(id.x)); }
";
/// Pixels of the picture.
const PIXELS: u32 = 256 * 256;

impl Gpu {
    async fn open() -> Result<Self> {
        let instance = wgpu::Instance::default();
        let adapter = instance.request_adapter(&Default::default()).await?;
        println!("on {}", adapter.get_info().name);
        let (features, limits) = wgpu_attention::wanted(&adapter);
        let request = wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&request).await?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(DRAWING.into()),
        });
        let drawing = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let picture = buffer(&device, u64::from(PIXELS) * 4);
        let drawn = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &drawing.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: picture.as_entire_binding(),
            }],
        });
        Ok(Self {
            attention: Attention::with_adapter(&adapter, &device),
            device,
            queue,
            drawing,
            drawn,
        })
    }

    /// Draws, submits with whatever else was recorded, and waits as for a picture that is shown.
    fn frame(&self, mut encoder: wgpu::CommandEncoder) -> Result<Duration> {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.drawing);
        pass.set_bind_group(0, &self.drawn, &[]);
        pass.dispatch_workgroups(PIXELS / 64, 1, 1);
        drop(pass);
        self.submit(encoder)
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<Duration> {
        let commands = encoder.finish();
        let start = Instant::now();
        self.queue.submit([commands]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(start.elapsed())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// A call over buffers of its own: some numbers as inputs.
    fn call(&self, plan: &Plan) -> Result<Call> {
        let mut buffers = Vec::new();
        for need in plan.requirements() {
            let to = buffer(&self.device, need.bytes);
            let wave = (0..need.bytes / 4).map(|n| (n as f32 * 0.37).sin());
            self.queue
                .write_buffer(&to, 0, bytemuck::cast_slice(&wave.collect::<Vec<f32>>()));
            buffers.push((need.role, to));
        }
        let operands = buffers
            .iter()
            .fold(Operands::default(), |all, (role, buffer)| {
                all.with(*role, buffer)
            });
        Ok(pollster::block_on(self.attention.prepare(plan, &operands))?)
    }
}

fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: size.next_multiple_of(4),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

fn problem(tokens: u32) -> Problem {
    Problem::new(Shape::square(1, HEADS, tokens, DIM), Element::F32)
}

fn within(milliseconds: f32) -> Result<(Budget, PlanOptions)> {
    let budget = Budget::from_millis(milliseconds)?;
    Ok((budget, PlanOptions::default().with_within(budget)))
}

/// A loop of frames, in one of which, or over many of which, the call runs.
fn frames(gpu: &Gpu, tokens: u32) -> Result<()> {
    println!("{HEADS} head of {tokens} tokens, D = {DIM}, causal, beside frames of {FRAME:?}");
    let problem = problem(tokens).with_mask(Mask::causal());
    let call = gpu.call(&gpu.attention.plan(&problem)?)?;
    let mut times = Frames::default();
    for n in 0..30 {
        let mut encoder = gpu.encoder();
        if n == 10 {
            call.encode(&mut encoder);
        }
        times.frame(gpu, encoder)?;
    }
    times.tell("one submit");

    let (budget, options) = within(BUDGET)?;
    let mut call = gpu.call(&gpu.attention.plan_with(&problem, &options)?)?;
    let mut times = Frames::default();
    let mut run = call.run_within(&gpu.queue, budget);
    let mut tenth = 0;
    while !run.is_done() {
        let mut encoder = gpu.encoder();
        run.encode_next(&mut encoder);
        times.frame(gpu, encoder)?;
        if (run.progress() * 4.0) as u32 > tenth {
            tenth = (run.progress() * 4.0) as u32;
            let (done, left) = (run.progress() * 100.0, run.remaining());
            println!(
                "  {done:.0} % recorded, {:.1} s of the device's time left",
                left.as_secs_f64()
            );
        }
    }
    times.tell(&format!("slices of {BUDGET} ms"));
    Ok(())
}

/// What frames took from their beginning to their picture.
#[derive(Default)]
struct Frames(Vec<Duration>);

impl Frames {
    fn frame(&mut self, gpu: &Gpu, encoder: wgpu::CommandEncoder) -> Result<()> {
        let start = Instant::now();
        gpu.frame(encoder)?;
        let took = start.elapsed();
        std::thread::sleep(FRAME.saturating_sub(took));
        self.0.push(took);
        Ok(())
    }

    fn tell(mut self, what: &str) {
        self.0.sort();
        let at = |share: f64| {
            let n = ((self.0.len() - 1) as f64 * share).round() as usize;
            self.0[n].as_secs_f64() * 1e3
        };
        let late = self.0.iter().filter(|&&time| time > FRAME).count();
        println!(
            "{what}: {} frames; median {:.1} ms, 90 % {:.1}, 99 % {:.1}, longest {:.1}; {late} late",
            self.0.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        );
    }
}

/// Slices against their budgets, and their sum against one submit.
fn slices(gpu: &Gpu, tokens: &[u32]) -> Result<()> {
    println!(
        "| call | one submit, ms | budget, ms | slices | longest after three, ms | sum / one submit |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for &n in tokens {
        for (name, mask) in [("", Mask::default()), (" causal", Mask::causal())] {
            let problem = problem(n).with_mask(mask);
            let plan = |options: &PlanOptions| gpu.attention.plan_with(&problem, options);
            rows(gpu, &format!("forward{name} {n}"), plan)?;
        }
        if n == 4096 {
            let backward = Backward::new(problem(n), Element::F32);
            let plan = |options: &PlanOptions| gpu.attention.plan_backward_with(&backward, options);
            rows(gpu, &format!("backward {n}"), plan)?;
        }
    }
    Ok(())
}

fn rows(
    gpu: &Gpu,
    name: &str,
    plan: impl Fn(&PlanOptions) -> wgpu_attention::Result<Plan>,
) -> Result<()> {
    let call = gpu.call(&plan(&PlanOptions::default())?)?;
    let whole = || -> Result<Duration> {
        let mut encoder = gpu.encoder();
        call.encode(&mut encoder);
        gpu.submit(encoder)
    };
    // The driver compiles during the first.
    let turns = if whole()? < Duration::from_secs(5) {
        4
    } else {
        1
    };
    for milliseconds in [4.0, 16.0, 100.0] {
        let (budget, options) = within(milliseconds)?;
        let mut call = gpu.call(&plan(&options)?)?;
        let (mut one, mut best) = (Duration::MAX, Vec::new());
        let sum = |times: &[Duration]| times.iter().sum::<Duration>();
        // By turns, and the least of each: what else a machine does goes into both.
        for _ in 0..turns {
            one = one.min(whole()?);
            let mut run = call.run_within(&gpu.queue, budget);
            let mut times = Vec::new();
            while !run.is_done() {
                let mut encoder = gpu.encoder();
                run.encode_next(&mut encoder);
                times.push(gpu.submit(encoder)?);
            }
            if best.is_empty() || sum(&times) < sum(&best) {
                best = times;
            }
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let longest = best.iter().skip(3).max().copied().unwrap_or_default();
        println!(
            "| {name} | {:.1} | {milliseconds} | {} | {:.1} | {:.3} |",
            ms(one),
            best.len(),
            ms(longest),
            ms(sum(&best)) / ms(one),
        );
    }
    Ok(())
}
