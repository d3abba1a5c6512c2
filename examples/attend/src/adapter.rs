//! Listing and choosing adapters.

use anyhow::{Result, bail};
use wgpu::{Adapter, AdapterInfo, DeviceType};
use wgpu_attention::caps::Quirk;

use crate::device::{NO_ADAPTER, adapters};

/// Prints index, name, driver and class of every adapter, and what is known to be broken on it.
pub fn list() -> Result<()> {
    let infos: Vec<_> = adapters().iter().map(Adapter::get_info).collect();
    if infos.is_empty() {
        bail!(NO_ADAPTER);
    }
    let width = infos.iter().map(|info| info.name.len()).max().unwrap_or(0);
    for (index, info) in infos.iter().enumerate() {
        let (name, driver, class) = (&info.name, driver(info), class(info.device_type));
        println!("{index}  {name:width$}  {driver}  {class}");
        for quirk in Quirk::of_info(info) {
            println!("   known: {quirk}");
        }
    }
    Ok(())
}

/// The adapter of this index, else the first with this text in its name or driver, else the first of all.
pub fn choose(wanted: Option<&str>) -> Result<Adapter> {
    let mut adapters = adapters();
    let infos: Vec<_> = adapters.iter().map(Adapter::get_info).collect();
    if infos.is_empty() {
        bail!(NO_ADAPTER);
    }
    let index = match wanted {
        None => Some(0),
        Some(wanted) => position(&infos, wanted),
    };
    match index {
        Some(index) => Ok(adapters.swap_remove(index)),
        None => {
            let names: Vec<_> = infos.iter().map(|info| info.name.as_str()).collect();
            let wanted = wanted.unwrap_or_default();
            bail!(
                "no adapter is called {wanted:?}; choose one of --list: {}",
                names.join("; ")
            )
        }
    }
}

fn position(infos: &[AdapterInfo], wanted: &str) -> Option<usize> {
    let is_index = wanted.parse().ok().filter(|&index| index < infos.len());
    let wanted = wanted.to_lowercase();
    let is_named = |info: &AdapterInfo| {
        format!("{} {}", info.name, driver(info))
            .to_lowercase()
            .contains(&wanted)
    };
    is_index.or_else(|| infos.iter().position(is_named))
}

fn driver(info: &AdapterInfo) -> String {
    format!("{} {} {}", info.backend, info.driver, info.driver_info)
        .trim()
        .to_string()
}

fn class(device_type: DeviceType) -> &'static str {
    match device_type {
        DeviceType::Cpu => "cpu",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Other => "other",
    }
}
