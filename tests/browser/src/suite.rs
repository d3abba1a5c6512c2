//! The experiments: the covering set's part for this device, and each feature by the planner's own choices.

mod covering;
mod features;
mod hidden;
mod mods;
mod probes;
mod sparse;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use wgpu_attention::{Attention, PlanOptions};

use crate::gpu::Gpu;
use crate::run;
use crate::support::backward::Given;
use crate::support::cases::Case;
use crate::support::compare::Verdict;
use crate::support::inputs::{Data, Inputs};

type Work = Rc<dyn Fn(Rc<Gpu>) -> Pin<Box<dyn Future<Output = Verdict>>>>;

/// One line of the page's table.
pub struct Experiment {
    pub group: &'static str,
    pub name: String,
    pub work: Work,
}

impl Experiment {
    fn new<F: Future<Output = Verdict> + 'static>(
        group: &'static str,
        name: impl Into<String>,
        work: impl Fn(Rc<Gpu>) -> F + 'static,
    ) -> Self {
        Self {
            group,
            name: name.into(),
            work: Rc::new(move |gpu| Box::pin(work(gpu))),
        }
    }

    /// A case of seeded operands, forward.
    fn forward(
        group: &'static str,
        name: impl Into<String>,
        (case, data, seed): (Case, Data, u64),
        choice: PlanOptions,
    ) -> Self {
        Self::new(group, name, move |gpu| {
            let (case, choice) = (case.clone(), choice.clone());
            async move {
                let inputs = Inputs::new(&case, data, seed);
                let own = (&case, &inputs);
                run::forward(&gpu, own, own, &choice).await
            }
        })
    }

    /// The same, backward; `given` makes what comes from behind.
    fn backward(
        group: &'static str,
        name: impl Into<String>,
        (case, seed): (Case, u64),
        given: impl Fn(&Case) -> Given + 'static,
        choice: PlanOptions,
    ) -> Self {
        Self::new(group, name, move |gpu| {
            let (case, choice, given) = (case.clone(), choice.clone(), given(&case));
            async move {
                let inputs = Inputs::new(&case, Data::Normal(1.0), seed);
                let own = (&case, &inputs);
                run::backward(&gpu, own, own, &given, &choice).await
            }
        })
    }
}

/// Every experiment, in the order in which the page runs them.
pub fn all(attention: &Attention) -> Vec<Experiment> {
    let mut all = probes::experiments();
    all.extend(covering::experiments(attention));
    all.extend(features::experiments());
    all.extend(mods::experiments());
    all.extend(sparse::experiments());
    all.extend(hidden::experiments());
    all
}
