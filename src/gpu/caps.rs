//! What a device and its adapter tell of themselves, as the pure data that plans go by.

use crate::caps::{AdapterClass, AdapterId, Caps, Property, Quirk, Subgroups, quirks};

impl AdapterClass {
    fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::Cpu => Self::Cpu,
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            _ => Self::Integrated,
        }
    }
}

impl AdapterId {
    /// What an adapter tells.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
        }
    }
}

impl Quirk {
    /// The known rows of an adapter, before a device is requested of it.
    pub fn of_info(info: &wgpu::AdapterInfo) -> Vec<Self> {
        let (adapter, class) = (AdapterId::of(info), AdapterClass::of(info));
        quirks::of(&adapter, class, info.subgroup_min_size)
    }
}

impl Caps {
    /// What `device` may do. `adapter` tells what it could have been requested with.
    pub fn of(device: &wgpu::Device, adapter: Option<&wgpu::Adapter>) -> Self {
        let (limits, info) = (device.limits(), device.adapter_info());
        let class = AdapterClass::of(&info);
        let quirks = Quirk::of_info(&info);
        let iterations = quirks.iter().filter_map(|quirk| match quirk.property {
            Property::LoopIterations(most) => Some(most),
            _ => None,
        });
        let iterations = iterations.min();
        let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP);
        Self {
            adapter: AdapterId::of(&info),
            class,
            subgroups: has_subgroups.then_some(Subgroups {
                min: info.subgroup_min_size,
                max: info.subgroup_max_size,
            }),
            subgroups_offered: adapter
                .is_some_and(|a| a.features().contains(wgpu::Features::SUBGROUP)),
            lanes: info.subgroup_min_size,
            int64: device.features().contains(wgpu::Features::SHADER_INT64),
            invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            workgroup_size_x: limits.max_compute_workgroup_size_x,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            uniform_bytes: limits.max_uniform_buffer_binding_size,
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            iterations,
            quirks,
        }
    }
}

/// The features and limits to request of `adapter` beside an application's own: everything here only makes
/// attention faster or larger, nothing is required.
pub fn wanted(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
    let offered = adapter.limits();
    let limits = wgpu::Limits {
        max_compute_workgroup_storage_size: offered.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: offered.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: offered.max_compute_workgroup_size_x,
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        max_buffer_size: offered.max_buffer_size,
        ..wgpu::Limits::default()
    };
    // The pipeline cache is for `Attention::with_pipeline_cache` alone; by timestamps a call in slices knows its speed.
    let mut features =
        wgpu::Features::SUBGROUP | wgpu::Features::PIPELINE_CACHE | wgpu::Features::TIMESTAMP_QUERY;
    // Only software adapters gain by loads of 64 bits.
    features.set(
        wgpu::Features::SHADER_INT64,
        adapter.get_info().device_type == wgpu::DeviceType::Cpu,
    );
    (
        adapter.features() & features,
        limits.or_worse_values_from(&offered),
    )
}
