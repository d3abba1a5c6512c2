//! Which adapter and which driver: what quirks are matched by and tunings are kept for.

use std::fmt;

/// An adapter and its driver, as they name themselves. Pure data: any adapter can be made up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AdapterId {
    /// `AdapterInfo::name`; empty where nothing is known, as in some browsers.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl`, `webgpu`
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// Its version, in words of its own.
    pub driver_info: String,
}

setters! {
    AdapterId {
        with_name(name: String);
        with_backend(backend: String);
        with_driver(driver: String);
        with_driver_info(driver_info: String);
    }
}

impl AdapterId {
    /// An adapter of which nothing is known.
    pub const UNKNOWN: Self = Self {
        name: String::new(),
        backend: String::new(),
        driver: String::new(),
        driver_info: String::new(),
    };

    /// The driver's version: the first numbers with points between them that it tells, `[22, 3, 6]` of `Mesa 22.3.6 (LLVM
    /// 15.0.6)`; `None` where it tells none.
    pub fn driver_version(&self) -> Option<[u32; 3]> {
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let mut words = self.driver_info.split(|c: char| !is_part(c));
        words.find_map(|word| {
            let mut numbers = word.split('.').map(|part| part.parse::<u32>().ok());
            let (major, minor) = (numbers.next()??, numbers.next()??);
            Some([major, minor, numbers.next().flatten().unwrap_or(0)])
        })
    }
}

impl fmt::Display for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.name, &self.backend, &self.driver, &self.driver_info];
        let told: Vec<&str> = parts
            .iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        match told.as_slice() {
            [] => f.write_str("an unknown adapter"),
            [name] => f.write_str(name),
            [name, rest @ ..] => write!(f, "{name} ({})", rest.join(" ")),
        }
    }
}
