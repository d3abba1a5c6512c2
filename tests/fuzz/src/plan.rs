//! Plans of nonsense for devices of nonsense: an error, or a plan within every limit, in bounded time.

mod cached;
mod caps;
mod options;
mod task;

use std::fmt::Write;
use std::time::{Duration, Instant};

use wgpu_attention::{Caps, Error, Plan, PlanOptions};

use crate::kind::{Done, Outcome};
use crate::support::drawn::Draw;
use crate::support::drawn::device::keeps_limits;

/// What a plan may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn case(seed: u64) -> Outcome {
    let mut draw = Draw::new(seed);
    let task = task::draw(&mut draw);
    let caps = caps::draw(&mut draw);
    let options = options::draw(&mut draw);
    let start = Instant::now();
    let plan = task.plan(&caps, &options);
    let took = start.elapsed();
    let context = || format!("{options:?}\n{caps:?}\n{task:?}");
    if took > PATIENCE {
        return Err(format!("planning took {took:?}\n{}", context()));
    }
    match plan {
        Ok(plan) => check(&plan, &caps).map_err(|e| format!("{e}\n{}", context())),
        Err(error) => refused(&error).map_err(|e| format!("{e}\n{}", context())),
    }
}

/// Everything that a caller may ask of a plan, too.
fn check(plan: &Plan, caps: &Caps) -> Outcome {
    keeps_limits(plan, caps)?;
    let mut text = String::new();
    write!(text, "{plan}").map_err(|e| e.to_string())?;
    let _ = (plan.cost(), plan.scratch_bytes(), plan.step_scratch());
    if let Some(need) = plan.requirements().iter().find(|need| need.bytes % 4 != 0) {
        return Err(format!(
            "{} needs {} bytes, not whole words",
            need.role, need.bytes
        ));
    }
    Ok(Done::Held)
}

/// An error is a sentence, and none of the library's own failures.
fn refused(error: &Error) -> Outcome {
    let text = error.to_string();
    match error {
        Error::Compose { .. } => Err(format!("a text does not compose: {text}")),
        _ if text.is_empty() || text.contains('\n') => Err(format!("an error says {text:?}")),
        _ => Ok(Done::Refused),
    }
}

/// What is planned.
type Planned = Result<Plan, Error>;

impl task::Task {
    fn plan(&self, caps: &Caps, options: &PlanOptions) -> Planned {
        match self {
            Self::Attention(x) => Plan::attention(x, caps, options),
            Self::Backward(x) => Plan::backward(x, caps, options),
            Self::Merge(x) => Plan::merge(x, caps, options),
            Self::Rotation(x) => Plan::rotation(x, caps, options),
            Self::Embedding(x) => Plan::embedding(x, caps, options),
            Self::Append(x) => Plan::append(x, caps, options),
            Self::Quantization(x) => Plan::quantization(x, caps, options),
            Self::Scan(x) => Plan::scan(x, caps, options),
        }
    }
}
