//! Everything that needs an adapter; a software one is enough.

use anyhow::{Context, Result};

/// `WGPU_ATTENTION_ADAPTER` names a part of the adapter's name; any adapter will do without it.
#[test]
fn the_adapter_that_was_asked_for_is_there() -> Result<()> {
    let wanted = std::env::var("WGPU_ATTENTION_ADAPTER").unwrap_or_default();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let infos = adapters
        .iter()
        .map(wgpu::Adapter::get_info)
        .collect::<Vec<_>>();
    let found = infos.iter().find(|info| info.name.contains(&wanted));
    let info = found.with_context(|| format!("no adapter {wanted:?} among {infos:#?}"))?;
    println!(
        "{}: {}..={}",
        info.name, info.subgroup_min_size, info.subgroup_max_size
    );
    Ok(())
}
