//! What is known to be broken, as data: whose fault, in which drivers, what plans keep away from, and who found it.
//!
//! `Caps::of` matches [`KNOWN`] against the adapter and keeps the rows in
//! [`Caps::quirks`](super::Caps::quirks); plans decline what a row names, with the row as the reason. A row for something
//! that is found in the field can be added by [`Caps::with_quirks`](super::Caps::with_quirks) without a new version of the
//! library. What is only slower somewhere is no quirk: that is in the tables of tiles, or in a [`crate::Tuning`].

use std::fmt;

use super::{AdapterClass, AdapterId};

/// One thing that is known to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirk {
    /// A short name, for messages and searches.
    pub id: &'static str,
    /// Whose.
    pub adapter: Which,
    /// In which drivers.
    pub drivers: Drivers,
    /// What.
    pub property: Property,
    /// Where it was seen: versions, measurements, a bug's address.
    pub source: &'static str,
}

setters! {
    Quirk {
        with_adapter(adapter: Which);
        with_drivers(drivers: Drivers);
    }
}

/// Adapters for which all that is stated holds; the default is every one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Which {
    /// A part of the adapter's or its driver's name, in any case; empty for all.
    pub name: &'static str,
    /// The backend's name; empty for all.
    pub backend: &'static str,
    /// The kind of adapter.
    pub class: Option<AdapterClass>,
    /// The least and the largest number of lanes of its narrowest subgroup.
    pub lanes: Option<(u32, u32)>,
}

setters! {
    Which {
        with_name(name: &'static str);
        with_backend(backend: &'static str);
        with_class(class?: AdapterClass);
        with_lanes(lanes?: (u32, u32));
    }
}

/// A range of driver versions; a driver that tells no version is in every range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drivers {
    /// The first version with the fault.
    pub since: Option<[u32; 3]>,
    /// The first version without.
    pub before: Option<[u32; 3]>,
}

setters! {
    Drivers {
        with_since(since?: [u32; 3]);
        with_before(before?: [u32; 3]);
    }
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Property {
    /// An invocation ends, without a word, after so many loop iterations of all its loops together. Plans count theirs and
    /// split keys before.
    LoopIterations(u64),
    /// Kernels whose rows lie in lanes take minutes and gigabytes to compile where an invocation holds more than so many
    /// words of them. Plans that choose tiles share rows among more lanes, or decline subgroups.
    RowWords(u32),
    /// Subgroup operations fail or answer wrongly. Plans decline them.
    Subgroups,
    /// Loads of 64 bits fail or answer wrongly. Plans decline them.
    Loads64,
}

/// The rows. To add one, say what was seen and where (`attend --doctor` names variants that fail).
pub const KNOWN: &[Quirk] = &[
    Quirk {
        id: "software-loops",
        adapter: Which {
            name: "",
            backend: "",
            class: Some(AdapterClass::Cpu),
            lanes: None,
        },
        drivers: Drivers {
            since: None,
            before: None,
        },
        property: Property::LoopIterations(super::Caps::SOFTWARE_ITERATIONS),
        source: "measured on llvmpipe of Mesa 22.3.6, whose code counts the iterations; software adapters that were not \
                 measured are held to it, too",
    },
    Quirk {
        id: "narrow-software-words",
        adapter: Which {
            name: "",
            backend: "",
            class: Some(AdapterClass::Cpu),
            lanes: Some((1, 7)),
        },
        drivers: Drivers {
            since: None,
            before: None,
        },
        property: Property::RowWords(160),
        source: "measured on the SwiftShader of Chromium (four lanes): 0.6 s for 64 words, 1.6 s for 128, minutes and \
                 gigabytes for 256",
    },
];

/// The known rows of an adapter of `class` whose narrowest subgroup has `lanes` lanes.
pub fn of(adapter: &AdapterId, class: AdapterClass, lanes: u32) -> Vec<Quirk> {
    let is_its = |quirk: &&Quirk| quirk.is_of(adapter, class, lanes);
    KNOWN.iter().filter(is_its).copied().collect()
}

impl Quirk {
    /// What is broken on every adapter and with every driver, until a setter says on which.
    pub fn new(id: &'static str, property: Property, source: &'static str) -> Self {
        Self {
            id,
            adapter: Which::default(),
            drivers: Drivers::default(),
            property,
            source,
        }
    }

    /// True for an adapter that has it.
    pub fn is_of(&self, adapter: &AdapterId, class: AdapterClass, lanes: u32) -> bool {
        self.adapter.holds(adapter, class, lanes) && self.drivers.hold(adapter)
    }
}

impl Which {
    fn holds(&self, adapter: &AdapterId, class: AdapterClass, lanes: u32) -> bool {
        let name = self.name.to_lowercase();
        let is_named = [&adapter.name, &adapter.driver]
            .iter()
            .any(|told| told.to_lowercase().contains(&name));
        let in_range = |(least, most): (u32, u32)| (least..=most).contains(&lanes);
        is_named
            && (self.backend.is_empty() || self.backend.eq_ignore_ascii_case(&adapter.backend))
            && self.class.is_none_or(|own| own == class)
            && self.lanes.is_none_or(in_range)
    }
}

impl Drivers {
    fn hold(&self, adapter: &AdapterId) -> bool {
        let Some(version) = adapter.driver_version() else {
            return true;
        };
        self.since.is_none_or(|first| first <= version)
            && self.before.is_none_or(|fixed| version < fixed)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopIterations(most) => write!(
                f,
                "an invocation ends without a word after {most} loop iterations"
            ),
            Self::RowWords(most) => write!(
                f,
                "lanes that hold more than {most} words of rows take minutes to compile"
            ),
            Self::Subgroups => f.write_str("subgroup operations are broken"),
            Self::Loads64 => f.write_str("loads of 64 bits are broken"),
        }
    }
}

/// `id: what (where it was seen)`
impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.id, self.property, self.source)
    }
}
