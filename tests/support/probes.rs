//! Small programs of the constructs that the shaders rely on, with the bits that must come out: what one front end or
//! driver does differently shows here, by name, before it shows as a wrong gradient.
//!
//! Asked natively (`tests/gpu/probes.rs`: naga, every adapter of CI) and in a browser (`tests/browser`: Tint).

mod floats;
mod integers;
mod parallel;
mod record;
mod values;

/// What one word of an answer may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Want {
    Bits(u32),
    /// An f32 this many units in the last place away, at most.
    Near(f32, u32),
    Nan,
}

/// One program: an invocation for each word of the answer.
pub struct Probe {
    pub name: &'static str,
    /// A whole module; it reads `a` and writes `out`, both `array<u32>`, from one workgroup to every 64 words.
    pub wgsl: String,
    pub input: Vec<u32>,
    pub want: Vec<Want>,
}

/// Every probe, by name.
pub fn all() -> Vec<Probe> {
    [
        integers::probes(),
        floats::probes(),
        values::probes(),
        parallel::probes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub const WORKGROUP: u32 = 64;

const BINDINGS: &str = "
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
";

impl Probe {
    /// `text` defines `fn probe(x: u32, n: u32) -> u32` of word n of the input.
    fn map(name: &'static str, text: &str, pairs: impl IntoIterator<Item = (u32, Want)>) -> Self {
        let main = format!(
            "@compute @workgroup_size({WORKGROUP})
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                if (id.x < arrayLength(&out)) {{ out[id.x] = probe(a[id.x], id.x); }}
            }}"
        );
        let (input, want) = pairs.into_iter().unzip();
        Self {
            name,
            wgsl: format!("{BINDINGS}{text}\n{main}"),
            input,
            want,
        }
    }

    /// `text` defines `fn probe(n: u32)`, which all invocations of a workgroup run and which writes `out` itself.
    fn workgroup(name: &'static str, text: &str, input: Vec<u32>, want: Vec<Want>) -> Self {
        let main = format!(
            "@compute @workgroup_size({WORKGROUP})
            fn main(@builtin(local_invocation_index) n: u32) {{ probe(n); }}"
        );
        Self {
            name,
            wgsl: format!("{BINDINGS}{text}\n{main}"),
            input,
            want,
        }
    }

    pub fn workgroups(&self) -> u32 {
        (self.want.len() as u32).div_ceil(WORKGROUP)
    }

    /// Holds the answer against the table; the error lists what differs.
    pub fn check(&self, got: &[u32]) -> Result<(), String> {
        let differs = |n: &usize| !self.want[*n].holds(got[*n]);
        let wrong: Vec<String> = (0..self.want.len())
            .filter(differs)
            .map(|n| {
                let (input, want) = (self.input[n], self.want[n]);
                format!("of {input:#010x} comes {:#010x}, not {want:x?}", got[n])
            })
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{}: {}", self.name, wrong.join("; "))),
        }
    }
}

impl Want {
    fn holds(self, got: u32) -> bool {
        let value = f32::from_bits(got);
        match self {
            Self::Bits(want) => got == want,
            Self::Nan => value.is_nan(),
            Self::Near(want, units) => {
                let ordered = |x: f32| {
                    let bits = x.to_bits() as i32;
                    i64::from(if bits < 0 { i32::MIN - bits } else { bits })
                };
                !value.is_nan() && (ordered(value) - ordered(want)).unsigned_abs() <= units.into()
            }
        }
    }
}

/// Words and what a function of Rust makes of each.
fn by(
    words: impl IntoIterator<Item = u32>,
    of: impl Fn(u32) -> u32,
) -> impl Iterator<Item = (u32, Want)> {
    words.into_iter().map(move |x| (x, Want::Bits(of(x))))
}

/// The same of f32, exactly.
fn floats_by(
    numbers: impl IntoIterator<Item = f32>,
    of: impl Fn(f32) -> f32,
) -> impl Iterator<Item = (u32, Want)> {
    by(numbers.into_iter().map(f32::to_bits), move |x| {
        of(f32::from_bits(x)).to_bits()
    })
}
