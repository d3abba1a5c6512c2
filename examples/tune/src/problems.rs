//! The problems that stand for their classes.

use anyhow::Result;
use wgpu_attention::caps::AdapterClass;
use wgpu_attention::{Attention, Backward, Element, Mask, Plan, Problem, Shape};

/// Plans of those whose classes' descriptions contain all `words`.
pub fn plans(attention: &Attention, words: &[&str]) -> Result<Vec<Plan>> {
    // Tiles depend on rows and channels, and a software adapter takes long for many of them.
    let (len, keys) = match attention.caps().class {
        AdapterClass::Cpu => (1024, 4096),
        _ => (4096, 32_768),
    };
    let mut plans = Vec::new();
    for dim in [64, 128] {
        for element in [Element::F32, Element::F16] {
            let square = Problem::new(Shape::square(1, 8, len, dim), element);
            plans.push(attention.plan(&square.with_mask(Mask::causal()))?);
            let one = Shape {
                batch: 1,
                q_heads: 32,
                kv_heads: 8,
                q_len: 1,
                kv_len: keys,
                head_dim: dim,
                value_dim: dim,
            };
            plans.push(attention.plan(&Problem::new(one, element))?);
        }
        let square = Problem::new(Shape::square(1, 8, len, dim), Element::F32);
        let backward = Backward::new(square.with_mask(Mask::causal()), Element::F32);
        plans.push(attention.plan_backward(&backward)?);
    }
    plans.retain(|plan| {
        plan.tile_classes().any(|(class, _)| {
            let class = class.to_string();
            words.iter().all(|word| class.contains(word))
        })
    });
    Ok(plans)
}
