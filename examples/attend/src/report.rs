//! What is printed: the plan, the time, and both as JSON.

use serde::{Serialize, Serializer};
use wgpu_attention::Plan;
use wgpu_attention::plan::{Declined, PARAMS_STRIDE, Slot, Step};
use wgpu_attention::problem::Coverage;

use crate::cli::Args;
use crate::timing::Timing;

#[derive(Serialize)]
pub struct Report {
    adapter: String,
    steps: Vec<StepReport>,
    declined: Vec<DeclinedReport>,
    pub time: Option<Timing>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shares")]
    pub coverage: Option<Coverage>,
}

/// `{"mean", "least", "rows"}`
fn shares<S: Serializer>(coverage: &Option<Coverage>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shares {
        mean: f64,
        least: f64,
        rows: usize,
    }
    let shares = coverage.map(|c| Shares {
        mean: c.mean,
        least: c.least,
        rows: c.rows,
    });
    shares.serialize(to)
}

#[derive(Serialize)]
struct StepReport {
    kernel: &'static str,
    strategy: String,
    tiles: String,
    /// Workgroups.
    grid: [u32; 3],
    visited: u64,
    of: u64,
    flops: u64,
    read_bytes: u64,
    written_bytes: u64,
    scratch_bytes: u64,
}

#[derive(Serialize)]
struct DeclinedReport {
    path: String,
    reason: String,
}

impl Report {
    pub fn new(adapter: &wgpu::AdapterInfo, plans: &[Plan]) -> Self {
        let steps = |plan: &Plan| -> Vec<_> {
            let costs = plan.steps().iter().zip(scratch(plan));
            costs.map(StepReport::new).collect()
        };
        Self {
            adapter: adapter.name.clone(),
            steps: plans.iter().flat_map(steps).collect(),
            declined: declined(plans),
            time: None,
            coverage: None,
        }
    }

    /// With `--json` the object is all that goes to stdout, and an explanation asked for goes to stderr.
    pub fn print(&self, args: &Args, plans: &[Plan]) -> anyhow::Result<()> {
        for plan in plans.iter().filter(|_| args.explain) {
            if args.json {
                eprint!("{plan}");
            } else {
                print!("{plan}");
            }
        }
        if args.json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        if let Some(coverage) = &self.coverage {
            println!(
                "the kept blocks hold {:.2} % of the attention, {:.2} % in the row that lost most ({} rows)",
                100.0 * coverage.mean,
                100.0 * coverage.least,
                coverage.rows,
            );
        }
        if let Some(time) = &self.time {
            println!("{time} on {}", self.adapter);
        }
        Ok(())
    }
}

/// What any of the plans declined, told once.
fn declined(plans: &[Plan]) -> Vec<DeclinedReport> {
    let mut all: Vec<&Declined> = Vec::new();
    for declined in plans.iter().flat_map(Plan::declined) {
        if !all.contains(&declined) {
            all.push(declined);
        }
    }
    let report = |declined: &Declined| DeclinedReport {
        path: declined.path.to_string(),
        reason: declined.reason.clone(),
    };
    all.into_iter().map(report).collect()
}

impl StepReport {
    fn new((step, scratch_bytes): (&Step, u64)) -> Self {
        let cost = step.cost;
        Self {
            kernel: step.variant.kernel(),
            strategy: step.strategy(),
            tiles: step.tiles(),
            grid: step.grid,
            visited: cost.visited,
            of: cost.of,
            flops: cost.flops,
            read_bytes: cost.read_bytes,
            written_bytes: cost.written_bytes,
            scratch_bytes,
        }
    }
}

/// The plan's bytes beside the operands, each counted at the first step that uses them: its parameters, the scratch
/// buffers that no step before has bound, and at the first step the call's small operands.
fn scratch(plan: &Plan) -> Vec<u64> {
    let mut unused: Vec<u64> = plan.scratch().to_vec();
    let mut bytes: Vec<u64> = plan
        .steps()
        .iter()
        .map(|step| fresh(step, &mut unused))
        .collect();
    let counted: u64 = bytes.iter().sum();
    if let Some(first) = bytes.first_mut() {
        *first += plan.scratch_bytes().saturating_sub(counted);
    }
    bytes
}

fn fresh(step: &Step, unused: &mut [u64]) -> u64 {
    let buffers = step
        .bindings
        .iter()
        .filter_map(|binding| match binding.slot {
            Slot::Scratch(n) => unused.get_mut(n).map(std::mem::take),
            _ => None,
        });
    PARAMS_STRIDE + buffers.sum::<u64>()
}
