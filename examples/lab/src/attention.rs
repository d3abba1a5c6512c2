//! Attention as an operation of candle, with its gradient: what another framework would write, too.
//!
//! q, k and v are tensors in host memory; each call uploads them, and keeps lse for the backward pass, which makes the
//! probabilities anew (FlashAttention, arXiv 2205.14135, section 3).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use wgpu_attention::{Attention, Backward, Element, Host, Outputs, Plan, Problem, Role};

/// A device that computes attention, and the time that went into it.
pub struct Gpu {
    pub attention: Attention,
    pub queue: wgpu::Queue,
    pub name: String,
    spent: Mutex<Duration>,
}

impl Gpu {
    pub fn new(attention: Attention, queue: wgpu::Queue, name: String) -> Self {
        Self {
            attention,
            queue,
            name,
            spent: Mutex::default(),
        }
    }

    /// Time in calls so far, their uploads and downloads included.
    pub fn spent(&self) -> Duration {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, plan: &Plan, host: &Host<'_>) -> Result<Outputs> {
        let start = Instant::now();
        let outputs = pollster::block_on(self.attention.run(&self.queue, plan, host));
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += start.elapsed();
        outputs.map_err(Error::wrap)
    }
}

/// o of q `[B, Hq, Nq, D]`, k `[B, Hkv, Nk, D]` and v `[B, Hkv, Nk, Dv]`, f32 and contiguous, as `problem` says; with a
/// gradient by each of them.
pub fn attention(
    gpu: &Arc<Gpu>,
    problem: &Problem,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Result<Tensor> {
    let call = Call {
        gpu: gpu.clone(),
        problem: problem.clone(),
        lse: Mutex::default(),
    };
    let [q, k, v] = [q.contiguous()?, k.contiguous()?, v.contiguous()?];
    q.apply_op3(&k, &v, call)
}

/// lse `[B, Hq, Nq]` of the same call, without a gradient.
pub fn lse(gpu: &Gpu, problem: &Problem, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Vec<f32>> {
    let plan = gpu.attention.plan(problem).map_err(Error::wrap)?;
    let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let [q, k, v] = [values(q)?, values(k)?, values(v)?];
    let bytes = bytemuck::cast_slice::<f32, u8>;
    let host = Host::new(bytes(&q), bytes(&k), bytes(&v));
    Ok(gpu.run(&plan, &host)?.lse)
}

/// One call, which the backward pass meets again.
struct Call {
    gpu: Arc<Gpu>,
    problem: Problem,
    lse: Mutex<Vec<f32>>,
}

impl CustomOp3 for Call {
    fn name(&self) -> &'static str {
        "wgpu-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let host = Host::new(rows(q, q_layout)?, rows(k, k_layout)?, rows(v, v_layout)?);
        let plan = self.gpu.attention.plan(&self.problem);
        let outputs = self.gpu.run(&plan.map_err(Error::wrap)?, &host)?;
        *self.lse.lock().unwrap_or_else(PoisonError::into_inner) = outputs.lse;
        let s = &self.problem.shape;
        let shape = [s.batch, s.q_heads, s.q_len, s.value_dim].map(|n| n as usize);
        let o: Vec<f32> = bytemuck::pod_collect_to_vec(&outputs.o);
        Ok((CpuStorage::F32(o), Shape::from_dims(&shape)))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        d_o: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let backward = Backward::new(self.problem.clone(), Element::F32);
        let plan = self.gpu.attention.plan_backward(&backward);
        let plan = plan.map_err(Error::wrap)?;
        let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let [q_rows, k_rows, v_rows, o, d_o] =
            [values(q)?, values(k)?, values(v)?, values(o)?, values(d_o)?];
        let lse = self.lse.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytemuck::cast_slice::<f32, u8>;
        let host = Host::new(bytes(&q_rows), bytes(&k_rows), bytes(&v_rows))
            .with(Role::O, bytes(&o))
            .with(Role::Lse, bytes(&lse))
            .with(Role::DO, bytes(&d_o));
        let outputs = self.gpu.run(&plan, &host)?;
        let gradient = |role: Role, like: &Tensor| -> Result<Option<Tensor>> {
            let bytes = &outputs.others[&role];
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            Tensor::from_vec(values, like.shape(), like.device()).map(Some)
        };
        Ok((
            gradient(Role::DQ, q)?,
            gradient(Role::DK, k)?,
            gradient(Role::DV, v)?,
        ))
    }
}

/// The bytes of a contiguous tensor.
fn rows<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [u8]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("attention takes contiguous tensors: call Tensor::contiguous first");
    };
    Ok(bytemuck::cast_slice(
        &storage.as_slice::<f32>()?[start..end],
    ))
}
