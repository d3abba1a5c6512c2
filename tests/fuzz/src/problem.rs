//! Problems over all features on the GPU, against the f64 reference and by the project's tolerances. What masks hide
//! is NaN.

use pollster::block_on;
use wgpu_attention::problem::Blocks;
use wgpu_attention::reference::{self, Forward};
use wgpu_attention::{Element, PlanOptions, Role};

use crate::gpu::Gpu;
use crate::kind::{Done, Outcome};
use crate::run;
use crate::support::backward::{Given, request};
use crate::support::cases::Case;
use crate::support::drawn::{self, Draw, Extent};
use crate::support::inputs::{Data, Inputs};
use crate::user;

/// A case, and what stands for the same function without the user's own.
struct Drawn {
    case: Case,
    inputs: Inputs,
    own: Case,
    own_inputs: Inputs,
    /// Beyond 3, answers are held to be in range: two honest f32 programs differ.
    amplitude: f64,
    options: PlanOptions,
    given: Option<Given>,
}

/// In the one strategy or the other, by the seed.
pub fn case(gpu: &Gpu, seed: u64) -> Outcome {
    let mut drawn = Drawn::new(seed);
    let strategies = gpu.strategies();
    drawn.options.strategy = Some(strategies[(seed % strategies.len() as u64) as usize]);
    let plan = gpu.attention.plan_with(&drawn.case.problem, &drawn.options);
    if plan.is_err() {
        return Ok(Done::Refused);
    }
    drawn.hold(gpu, seed).map_err(|fault| {
        let (p, options) = (&drawn.case.problem, &drawn.options);
        format!("{fault}\n{options:?}\n{p:#?}")
    })
}

impl Drawn {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let extent = Extent {
            len: draw.pick(&[40, 90, 140]),
            dim: draw.pick(&[24, 24, 64, 64, 64, 128, 256, 576]),
            outputs: 512,
        };
        let mut case = drawn::case(&mut draw, extent);
        case.name = format!("seed {seed}");
        let amplitude = match draw.size(0, 9) {
            0 if case.problem.q.element == Element::F32 => draw.pick(&[30.0, 3000.0, 1e12]),
            0 => draw.pick(&[30.0, 1000.0]),
            _ => 1.0,
        };
        let data = match draw.one_in(12) {
            true => Data::Ramp,
            false => Data::Normal(amplitude),
        };
        // No gradient reads such rows.
        let stored = amplitude <= 3.0 && draw.one_in(4);
        if stored {
            drawn::storage::draw(&mut draw, &mut case);
        }
        let inputs = Inputs::new(&live(&case), data, seed);
        let own = case.clone();
        let (case, own, own_inputs) = user::draw(&mut draw, case, own, &inputs);
        let options = drawn::options::draw(&mut draw);
        let given = (!stored && draw.one_in(2)).then(|| {
            let mut given = Given::new(&case, seed);
            given.element = draw.pick(&[Element::F32, Element::F32, Element::F16, Element::BF16]);
            given.score = draw.one_in(2);
            given
        });
        Self {
            case,
            inputs,
            own,
            own_inputs,
            amplitude,
            options,
            given,
        }
    }

    /// Against the reference, forward and backward.
    fn hold(&self, gpu: &Gpu, seed: u64) -> Outcome {
        let listed = self.with_chosen_blocks(gpu)?;
        let (own, own_inputs) = (listed.as_ref().unwrap_or(&self.own), &self.own_inputs);
        self.forward(gpu, own, own_inputs)?;
        let done = self.backward(gpu, own, own_inputs, seed)?;
        gpu.is_content()?;
        Ok(done)
    }

    /// The reference's case over the blocks that the device chose, where it chooses.
    fn with_chosen_blocks(&self, gpu: &Gpu) -> Result<Option<Case>, String> {
        let p = &self.case.problem;
        let (Some(select), Some(lists)) =
            (p.mask.selected_blocks(), p.mask.device_blocks(&p.shape))
        else {
            return Ok(None);
        };
        let mut select = *select;
        select.written = true;
        let case = self
            .case
            .clone()
            .with(|p| p.mask.blocks = Some(Blocks::Select(select)));
        let (_, _, written) = block_on(run::run(gpu, &case, &self.inputs, &self.options))?;
        let mut words: Vec<u32> = match written.others.get(&Role::BlockLists) {
            Some(bytes) => bytemuck::pod_collect_to_vec(bytes),
            None => Vec::new(),
        };
        words.resize(lists.words() as usize, u32::MAX);
        let mut own = self.own.clone();
        own.problem.mask.blocks = Some(Blocks::Device(lists));
        own.values.block_lists = Some(words);
        Ok(Some(own))
    }

    fn forward(&self, gpu: &Gpu, own: &Case, own_inputs: &Inputs) -> Result<(), String> {
        let (user, own) = ((&self.case, &self.inputs), (own, own_inputs));
        if self.amplitude <= 3.0 {
            let verdict = block_on(run::forward(gpu, user, own, &self.options));
            return verdict.map(drop).map_err(|e| format!("forward: {e}"));
        }
        let (plan, output, _) = block_on(run::run(gpu, user.0, user.1, &self.options))?;
        let want = reference::forward(&own.0.problem, &own.1.tensors(own.0));
        let got = output.forward(user.0);
        let of_plan = |e: String| format!("forward at {:e}: {e}\n{plan}", self.amplitude);
        self.is_in_range(&got, &want).map_err(of_plan)?;
        output.untouched(user.0).map_err(of_plan)
    }

    /// A mean of values is none larger than the largest, and a sum of e^score lies near its largest.
    fn is_in_range(&self, got: &Forward, want: &Forward) -> Result<(), String> {
        let finite = self.inputs.v.iter().filter(|x| x.is_finite());
        let most = finite.fold(0f64, |most, x| most.max(x.abs()));
        let far = |(got, want): (&f64, &f64), allowed: f64| {
            !want.is_nan() && got != want && !((got - want).abs() <= allowed)
        };
        let both = |got: &[f64], want: &[f64], allowed: f64| {
            let mut pairs = got.iter().zip(want);
            pairs.position(|pair| far(pair, allowed))
        };
        if let Some(n) = both(&got.o, &want.o, 2.01 * most) {
            return Err(format!("o[{n}] is {} instead of {}", got.o[n], want.o[n]));
        }
        let p = &self.case.problem;
        let products =
            self.amplitude.powi(2) * f64::from(p.shape.head_dim) * f64::from(p.scale()).abs();
        if let Some(n) = both(&got.lse, &want.lse, 1e-3 + 2e-5 * products) {
            return Err(format!(
                "lse[{n}] is {} instead of {}",
                got.lse[n], want.lse[n]
            ));
        }
        Ok(())
    }

    /// With the drawn options, or where gradients have no use for them with the strategy alone.
    fn backward(&self, gpu: &Gpu, own: &Case, own_inputs: &Inputs, seed: u64) -> Outcome {
        let Some(given) = self.given.as_ref().filter(|_| self.amplitude <= 3.0) else {
            return Ok(Done::Held);
        };
        let pass = request(&self.case, given);
        let alone = PlanOptions::default().with_strategy(self.options.strategy);
        let plans =
            |options: &&PlanOptions| gpu.attention.plan_backward_with(&pass, options).is_ok();
        let Some(options) = [&self.options, &alone].into_iter().find(plans) else {
            return Ok(Done::Held);
        };
        let (user, own) = ((&self.case, &self.inputs), (own, own_inputs));
        let verdict = block_on(run::backward(gpu, user, own, given, options));
        match verdict {
            Ok(_) => Ok(Done::WithGradients),
            Err(fault) => Err(format!("backward of seed {seed}: {fault}")),
        }
    }
}

/// Every key below the lengths takes part in a choice of blocks, so none of them may be NaN.
fn live(case: &Case) -> Case {
    let chooses = case.problem.mask.selected_blocks().is_some();
    case.clone().with(|p| {
        if chooses {
            let lens = p.mask.kv_lens.clone();
            p.mask = Default::default();
            p.mask.kv_lens = lens;
        }
    })
}
