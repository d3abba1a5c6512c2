//! What the shaders rely on, asked of the browser's front end.

use std::rc::Rc;

use wgpu_attention::download;

use super::Experiment;
use crate::support::probes;

pub fn experiments() -> Vec<Experiment> {
    let experiment = |probe| {
        let probe = Rc::new(probe);
        let name = probe_name(&probe);
        Experiment::new("probes", name, move |gpu| {
            let probe = probe.clone();
            async move {
                let (commands, output) = probe.record(&gpu.device);
                gpu.queue.submit([commands]);
                let bytes = download(&gpu.device, &gpu.queue, &output).await;
                let bytes = bytes.map_err(|e| e.to_string())?;
                probe.check(&bytemuck::pod_collect_to_vec(&bytes))?;
                Ok(Vec::new())
            }
        })
    };
    probes::all().into_iter().map(experiment).collect()
}

fn probe_name(probe: &probes::Probe) -> &'static str {
    probe.name
}
