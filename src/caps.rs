//! What a device may do. Pure data: plans can be made for a device that is not there.

mod adapter;
pub mod quirks;

use std::fmt;

pub use adapter::AdapterId;
pub use quirks::{Property, Quirk};

use crate::error::{Error, Result};

/// What kind of processor runs the shaders; it selects a row of the tile table and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdapterClass {
    /// A software adapter: private memory spills gladly, code size is compile time.
    Cpu,
    /// A GPU that shares the memory of the processor.
    Integrated,
    /// A GPU with memory of its own, and whatever an adapter does not tell.
    Discrete,
}

impl fmt::Display for AdapterClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Integrated => "integrated",
            Self::Discrete => "discrete",
        })
    }
}

/// The range of subgroup widths that a device may run a shader with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Subgroups {
    /// `Adapter::get_info().subgroup_min_size`, in lanes.
    pub min: u32,
    /// `subgroup_max_size`, in lanes.
    pub max: u32,
}

setters! {
    Subgroups {
        with_min(min: u32);
        with_max(max: u32);
    }
}

impl Subgroups {
    /// Widths of `min` to `max` lanes.
    pub const fn new(min: u32, max: u32) -> Self {
        Self { min, max }
    }
}

impl fmt::Display for Subgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} to {} lanes", self.min, self.max)
    }
}

/// Limits and features of a device, as far as attention asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// Which adapter and driver: a tuning is kept for one of them. No limit, and no answer depends on it.
    pub adapter: AdapterId,
    /// What kind of adapter: tiles and budgets go by it.
    pub class: AdapterClass,
    /// `None` where the device was requested without the subgroup feature.
    pub subgroups: Option<Subgroups>,
    /// The adapter has subgroups although the device was requested without them.
    pub subgroups_offered: bool,
    /// Lanes of the adapter's narrowest subgroup, whether or not the device may use it; 0 where it does not tell.
    pub lanes: u32,
    /// Shaders may load 64 bits at a time (`Features::SHADER_INT64`).
    pub int64: bool,
    /// `max_compute_invocations_per_workgroup`
    pub invocations_per_workgroup: u32,
    /// `max_compute_workgroup_size_x`
    pub workgroup_size_x: u32,
    /// Bytes.
    pub workgroup_memory: u32,
    /// `max_storage_buffers_per_shader_stage`
    pub storage_buffers: u32,
    /// Bytes of the uniform that holds a step's parameters (`max_uniform_buffer_binding_size`).
    pub uniform_bytes: u64,
    /// Bytes of one storage binding.
    pub binding_bytes: u64,
    /// Bytes of one buffer (`max_buffer_size`).
    pub buffer_bytes: u64,
    /// `max_compute_workgroups_per_dimension`
    pub workgroups_per_dimension: u32,
    /// Loop iterations after which an invocation stops, silently: lavapipe and other LLVM-based software adapters
    /// count all loops of an invocation together. `Caps::of` takes it from the quirks.
    pub iterations: Option<u64>,
    /// What is known to be broken on the adapter. Plans decline it; a row that is left out is not.
    pub quirks: Vec<Quirk>,
}

setters! {
    Caps {
        with_adapter(adapter: AdapterId);
        with_class(class: AdapterClass);
        with_subgroups(subgroups?: Subgroups);
        with_subgroups_offered(subgroups_offered: bool);
        with_lanes(lanes: u32);
        with_int64(int64: bool);
        with_invocations_per_workgroup(invocations_per_workgroup: u32);
        with_workgroup_size_x(workgroup_size_x: u32);
        with_workgroup_memory(workgroup_memory: u32);
        with_storage_buffers(storage_buffers: u32);
        with_uniform_bytes(uniform_bytes: u64);
        with_binding_bytes(binding_bytes: u64);
        with_buffer_bytes(buffer_bytes: u64);
        with_workgroups_per_dimension(workgroups_per_dimension: u32);
        with_iterations(iterations?: u64);
        with_quirks(quirks: Vec<Quirk>);
    }
}

impl Caps {
    /// WebGPU's default limits and no feature: what every adapter grants.
    pub const BASELINE: Self = Self {
        adapter: AdapterId::UNKNOWN,
        class: AdapterClass::Integrated,
        subgroups: None,
        subgroups_offered: false,
        lanes: 0,
        int64: false,
        invocations_per_workgroup: 256,
        workgroup_size_x: 256,
        workgroup_memory: 16 << 10,
        storage_buffers: 8,
        uniform_bytes: 64 << 10,
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups_per_dimension: 65_535,
        iterations: None,
        quirks: Vec::new(),
    };

    /// Loop iterations that a software adapter grants an invocation (measured on Mesa 22.3.6: 65 535).
    pub const SOFTWARE_ITERATIONS: u64 = 65_535;

    /// The least that [`Self::iterations`] may be: what a kernel loops beside its tiles, and as much for those.
    pub const LEAST_ITERATIONS: u64 = 1024;

    /// The first row that says of subgroups or of loads of 64 bits that they are broken here.
    pub(crate) fn broken(&self, property: Property) -> Option<&Quirk> {
        self.quirks.iter().find(|quirk| quirk.property == property)
    }

    /// Words of rows that a lane may hold at the most, and the row that says so.
    pub(crate) fn row_words(&self) -> Option<(u32, &Quirk)> {
        let of = |quirk: &'_ Quirk| match quirk.property {
            Property::RowWords(most) => Some(most),
            _ => None,
        };
        let stated = self
            .quirks
            .iter()
            .filter_map(|quirk| Some((of(quirk)?, quirk)));
        stated.min_by_key(|&(most, _)| most)
    }

    /// The least invocations of a workgroup: those of the kernels that own no tile but a small piece of output each.
    pub(crate) const LEAST_INVOCATIONS: u32 = 64;

    /// Refuses what no device is.
    pub(crate) fn validate(&self) -> Result<()> {
        for (what, limit, value, least) in [
            (
                "Caps::invocations_per_workgroup",
                "max_compute_invocations_per_workgroup",
                self.invocations_per_workgroup,
                Self::LEAST_INVOCATIONS,
            ),
            (
                "Caps::workgroup_size_x",
                "max_compute_workgroup_size_x",
                self.workgroup_size_x,
                Self::LEAST_INVOCATIONS,
            ),
            (
                "Caps::workgroups_per_dimension",
                "max_compute_workgroups_per_dimension",
                self.workgroups_per_dimension,
                1,
            ),
        ] {
            if value < least {
                let allowed = format!(
                    "at least {least}; {limit} of wgpu::Limits::default(), to request, is more"
                );
                return Err(Error::size(what, value, allowed));
            }
        }
        if let Some(Subgroups { min, max }) = self.subgroups
            && !(1..=max).contains(&min)
        {
            let allowed = format!("1 to its max, {max}");
            return Err(Error::size("Caps::subgroups.min", min, allowed));
        }
        match self.iterations.filter(|&n| n < Self::LEAST_ITERATIONS) {
            Some(n) => Err(Error::size(
                "Caps::iterations",
                n,
                format!("None, or at least {}", Self::LEAST_ITERATIONS),
            )),
            None => Ok(()),
        }
    }
}
