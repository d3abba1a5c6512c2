//! What the passes of a length need: planned, compiled and bound once, whatever the context grows to.

use anyhow::Result;
use wgpu_attention::problem::Operand;
use wgpu_attention::{Call, Element, KvCache, Layout};

use crate::buffers::Buffers;
use crate::config::Config;
use crate::device::Gpu;

/// The calls of every layer for passes of up to `tokens` tokens.
pub struct Calls {
    pub tokens: usize,
    pub buffers: Buffers,
    pub layers: Vec<LayerCalls>,
}

/// New rows into a layer's cache, then attention to all of them.
pub struct LayerCalls {
    pub append: Call,
    pub attend: Call,
}

impl Calls {
    /// q, k, v and o lie as products leave them, `[tokens, H, D]`.
    pub fn prepare(gpu: &Gpu, config: &Config, cache: &KvCache, tokens: usize) -> Result<Self> {
        let [q_heads, kv_heads, dim] =
            [config.q_heads, config.kv_heads, config.head_dim].map(|n| n as u32);
        let rows =
            |heads| Operand::new(Element::F32, Layout::rows_first(heads, tokens as u32, dim));
        let mut append = cache.append(Element::F32);
        append.shape.q_len = tokens as u32;
        let append = append.with_k(rows(kv_heads)).with_v(rows(kv_heads));
        let mut problem = cache.problem(q_heads, Element::F32);
        problem.shape.q_len = tokens as u32;
        problem.lse = Layout::heads_first(q_heads, tokens as u32, 1);
        let problem = problem.with_q(rows(q_heads)).with_o(rows(q_heads));
        let append = gpu.attention.plan_append(&append)?;
        let attend = gpu.attention.plan(&problem)?;
        let buffers = Buffers::new(&gpu.device, config, tokens);
        let Buffers {
            q, k, v, o, lse, ..
        } = &buffers;
        let prepare = |layer| {
            let to = cache.append_operands(layer, k, v)?;
            let of = cache.operands(layer, q, o, lse)?;
            anyhow::Ok(LayerCalls {
                append: pollster::block_on(gpu.attention.prepare(&append, &to))?,
                attend: pollster::block_on(gpu.attention.prepare(&attend, &of))?,
            })
        };
        let layers = (0..config.layers as u32).map(prepare);
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self {
            tokens,
            buffers,
            layers,
        })
    }
}
