//! A few speeds, so that a slow adapter is told from a wrong one.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use wgpu_attention::caps::AdapterClass;
use wgpu_attention::{Element, Mask, Problem, Role, Shape};

use crate::device::Gpu;
use crate::random;
use crate::timing::{Timing, time};

use super::report::{Fault, Report};

#[derive(Serialize)]
pub struct Speed {
    what: String,
    time: Timing,
}

const RUNS: usize = 3;

/// As many as there is time for.
pub fn measure(gpu: &Gpu, left: Duration, report: &mut Report) -> Vec<Speed> {
    let (start, mut speeds) = (Instant::now(), Vec::new());
    for (what, problem) in problems(gpu) {
        if start.elapsed() >= left || report.device_lost {
            break;
        }
        match one(gpu, &problem) {
            Ok(time) => speeds.push(Speed { what, time }),
            Err(error) => report.faults.push(Fault::of(&what, format!("{error:#}"))),
        }
    }
    speeds
}

fn problems(gpu: &Gpu) -> Vec<(String, Problem)> {
    // Software adapters alone take long for many tokens.
    let len = match gpu.attention.caps().class {
        AdapterClass::Cpu => 512,
        _ => 4096,
    };
    let one = Shape {
        q_len: 1,
        kv_heads: 2,
        kv_len: 4 * len,
        ..Shape::square(1, 8, len, 64)
    };
    let square = |element| {
        let problem = Problem::new(Shape::square(1, 8, len, 64), element);
        let what = format!("prefill {element} causal, 8 heads, N = {len}, D = 64");
        (what, problem.with_mask(Mask::causal()))
    };
    let decode = format!("decode f16, 8 heads of 2, {} keys, D = 64", 4 * len);
    vec![
        square(Element::F32),
        (decode, Problem::new(one, Element::F16)),
        square(Element::F16),
    ]
}

fn one(gpu: &Gpu, problem: &Problem) -> Result<Timing> {
    let plan = gpu.attention.plan(problem)?;
    let [q, k, v] = random::operands(&problem.shape, problem.q.element, 0);
    let inputs = [(Role::Q, &q[..]), (Role::K, &k[..]), (Role::V, &v[..])];
    time(gpu, &plan, &inputs, RUNS)
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.time)
    }
}
