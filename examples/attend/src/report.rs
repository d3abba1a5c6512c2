//! What is printed: the plan, the time, and both as JSON.

use serde::{Serialize, Serializer};
use wgpu_attention::plan::{Declined, Step};
use wgpu_attention::problem::{Coverage, Position};
use wgpu_attention::{Plan, Problem};

use crate::cli::Args;
use crate::timing::Timing;

#[derive(Serialize)]
pub struct Report {
    adapter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationReport>,
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

/// How q and k rotate.
#[derive(Serialize)]
struct RotationReport {
    kind: &'static str,
    base: f64,
    factor: Option<f64>,
    /// The first rotary channel and how many rotate, of how many.
    start: u32,
    dim: u32,
    head_dim: u32,
    layout: String,
    attention_factor: f64,
    softmax_factor: f64,
    rotated_keys: bool,
    /// What the model's config said.
    config: Option<String>,
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
    pub fn new(adapter: &wgpu::AdapterInfo, problem: &Problem, plans: &[Plan]) -> Self {
        let steps = |plan: &Plan| -> Vec<_> {
            let costs = plan.steps().iter().zip(plan.step_scratch());
            costs.map(StepReport::new).collect()
        };
        Self {
            adapter: adapter.name.clone(),
            rotation: RotationReport::new(&problem.position),
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

impl RotationReport {
    fn new(position: &Position) -> Option<Self> {
        let rotary = position.rotary.as_ref()?;
        Some(Self {
            kind: rotary.kind.name(),
            base: rotary.base,
            factor: rotary.kind.factor(),
            start: rotary.start,
            dim: rotary.dim,
            head_dim: rotary.head_dim,
            layout: rotary.layout.to_string(),
            attention_factor: rotary.attention_factor(),
            softmax_factor: rotary.softmax_factor(),
            rotated_keys: position.k_rotated,
            config: rotary.origin.0.clone(),
        })
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
            kernel: step.variant().entry(),
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
