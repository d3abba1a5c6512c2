//! The device of this process.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::{Attention, wanted};

pub struct Gpu {
    pub queue: wgpu::Queue,
    pub attention: Attention,
    adapter: wgpu::AdapterInfo,
    /// What reached the application's handler of errors: nothing may.
    complaint: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// The adapter that `WGPU_ATTENTION_ADAPTER` names a part of, else the first one.
    pub fn open() -> Result<Self> {
        let named = std::env::var("WGPU_ATTENTION_ADAPTER").unwrap_or_default();
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let name = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            format!("{} ({} {})", info.name, info.driver, info.driver_info)
        };
        let found = adapters.into_iter().find(|a| name(a).contains(&named));
        let adapter = found.with_context(|| {
            format!("no adapter with {named:?} in its name; `cargo xtask fuzz` makes sure of one")
        })?;
        let (features, limits) = wanted(&adapter);
        let request = wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&request))?;
        let complaint = Arc::new(Mutex::new(None));
        let handler = complaint.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            *handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }));
        Ok(Self {
            attention: Attention::with_adapter(&adapter, &device),
            adapter: adapter.get_info(),
            queue,
            complaint,
        })
    }

    pub fn about(&self) -> String {
        let (info, caps) = (&self.adapter, self.attention.caps());
        let width = caps
            .subgroups
            .map_or("none".into(), |s| format!("of {} to {}", s.min, s.max));
        format!(
            "{} ({} {}), subgroups {width}",
            info.name, info.driver, info.driver_info
        )
    }

    /// Both strategies, where the adapter has them.
    pub fn strategies(&self) -> Vec<StrategyKind> {
        let mut all = vec![StrategyKind::Workgroup];
        if self.attention.caps().subgroups.is_some() {
            all.push(StrategyKind::Subgroup);
        }
        all
    }

    /// An error if the device complained of anything since the last time.
    pub fn is_content(&self) -> Result<(), String> {
        let mut complaint = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match complaint.take() {
            Some(text) => Err(format!("an error that nobody caught: {text}")),
            None => Ok(()),
        }
    }
}
