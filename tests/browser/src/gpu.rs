//! The browser's device.

use std::sync::{Arc, Mutex, PoisonError};

use wgpu_attention::{Attention, wanted};

pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub attention: Attention,
    adapter: wgpu::AdapterInfo,
    /// What reached the application's handler of errors: nothing may.
    complaint: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    pub async fn open() -> Result<Self, wasm_bindgen::JsError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance.request_adapter(&Default::default()).await?;
        let (features, limits) = wanted(&adapter);
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                required_features: features,
                required_limits: limits,
                ..Default::default()
            })
            .await?;
        let complaint = Arc::new(Mutex::new(None));
        let handler = complaint.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            *lock(&handler) = Some(error.to_string());
        }));
        Ok(Self {
            attention: Attention::with_adapter(&adapter, &device),
            adapter: adapter.get_info(),
            device,
            queue,
            complaint,
        })
    }

    pub fn about(&self) -> String {
        let (info, caps) = (&self.adapter, self.attention.caps());
        let subgroups = match caps.subgroups {
            Some(width) => format!("subgroups of {} to {}", width.min, width.max),
            None => "no subgroups".into(),
        };
        format!(
            "{} ({}), {} invocations and {} bytes per workgroup, {} storage buffers, {subgroups}",
            [&info.name, &info.driver, &info.driver_info]
                .into_iter()
                .find(|name| !name.is_empty())
                .map_or("an adapter that does not tell its name", |name| name),
            caps.class,
            caps.invocations_per_workgroup,
            caps.workgroup_memory,
            caps.storage_buffers,
        )
    }

    /// What the device complained of since the last time.
    pub fn complaint(&self) -> Option<String> {
        let complaint = lock(&self.complaint).take();
        complaint.map(|text| format!("an error that nobody caught: {text}"))
    }
}

fn lock(complaint: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    complaint.lock().unwrap_or_else(PoisonError::into_inner)
}
