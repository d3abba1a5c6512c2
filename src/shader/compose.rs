//! The composer: plain WGSL modules, joined line by line with a map back to where each line came from.
//!
//! A module may say, on lines of their own or in front of a line:
//! - `import a::b;` – module `a::b` once, in front of this one;
//! - `import slot::x for q;` – the modules that the variant chose for slot x, every name that begins with `tensor`
//!   renamed to begin with `q`, that of a condition or a member too, and likewise `Tensor` to `Q` and `TENSOR` to `Q`;
//! - `@if(flag)`, `@if(!flag)` – this line, or the block that it opens, only under the flag;
//! - `@bind var<…> q: …;` – a binding, which gets its number here ([`super::bindings`]);
//! - `params.x.y` – a parameter: the groups that are read make the structure `Params` ([`super::parameters`]);
//! - `@unroll for (var i = 0u; i < N; i++) { … }` – the body N times ([`super::unroll`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

use super::bindings::{self, Bind};
use super::line::{FOREIGN, Line, braces};
use super::parameters::{self, Group};
use super::unroll;

/// What a shader is composed of.
#[derive(Clone, Debug, Default)]
pub struct Source {
    kernel: &'static str,
    constants: BTreeMap<&'static str, u32>,
    signed: BTreeMap<&'static str, i32>,
    flags: BTreeMap<&'static str, bool>,
    slots: BTreeMap<&'static str, Vec<&'static str>>,
    texts: BTreeMap<&'static str, String>,
    groups: &'static [Group],
}

/// A composed shader: one WGSL text, for each of its lines the module and line that it came from, and what it binds and
/// reads.
#[derive(Clone, Debug)]
pub struct Shader {
    wgsl: String,
    origins: Vec<(String, usize)>,
    binds: Vec<Bind>,
    groups: Vec<&'static Group>,
}

/// What a shader needs of a device beyond WebGPU's own WGSL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub subgroups: bool,
    /// wgpu's 64-bit integers.
    pub int64: bool,
}

impl Source {
    pub fn new(kernel: &'static str) -> Self {
        Self {
            kernel,
            ..Self::default()
        }
    }

    /// A `u32` constant of the shader; `@unroll` reads them as bounds.
    pub fn constant(&mut self, name: &'static str, value: u32) {
        self.constants.insert(name, value);
    }

    /// An `i32` constant.
    pub fn signed(&mut self, name: &'static str, value: i32) {
        self.signed.insert(name, value);
    }

    /// A condition that `@if` reads.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.flags.insert(name, value);
    }

    /// The modules that `import slot::name` stands for.
    pub fn slot(&mut self, name: &'static str, modules: Vec<&'static str>) {
        self.slots.insert(name, modules);
    }

    /// The parameters that shaders may read.
    pub fn parameters(&mut self, groups: &'static [Group]) {
        self.groups = groups;
    }

    /// A text of somebody else's that `import slot::name` stands for, line by line as it is: neither conditions nor
    /// imports of it are followed.
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.texts.insert(name, text.to_string());
    }

    /// Joins the modules; `find` answers a module's text.
    pub fn compose(&self, find: impl Fn(&str) -> Option<&'static str>) -> Result<Shader> {
        let mut joiner = Joiner {
            source: self,
            find,
            seen: BTreeSet::new(),
            lines: Vec::new(),
        };
        joiner.constants();
        joiner.module(&format!("kernel::{}", self.kernel), None, "the variant")?;
        let binds = bindings::number(&mut joiner.lines)?;
        let groups = parameters::read_by(&joiner.lines, self.groups)?;
        let structures = parameters::declaration(&groups, &joiner.lines, self.groups);
        joiner
            .lines
            .splice(0..0, generated("parameters", structures));
        for line in &joiner.lines {
            if is_bare_variable(&line.text) {
                let message = "a variable stands without its initial value, which Tint does not make 0 on each turn of a \
                               loop; write var x = T()";
                return Err(Error::compose(&line.module, line.number, message));
            }
        }
        let lines = unroll::unroll(joiner.lines, &self.constants)?;
        let mut wgsl = String::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for line in &lines {
            wgsl.push_str(&line.text);
            wgsl.push('\n');
        }
        let origins = lines
            .into_iter()
            .map(|line| (line.module, line.number))
            .collect();
        Ok(Shader {
            wgsl,
            origins,
            binds,
            groups,
        })
    }
}

struct Joiner<'a, F> {
    source: &'a Source,
    find: F,
    seen: BTreeSet<(String, Option<String>)>,
    lines: Vec<Line>,
}

impl<F: Fn(&str) -> Option<&'static str>> Joiner<'_, F> {
    fn constants(&mut self) {
        let unsigned = self
            .source
            .constants
            .iter()
            .map(|(name, x)| format!("const {name} = {x}u;"));
        let signed = self
            .source
            .signed
            .iter()
            .map(|(name, x)| format!("const {name} = {x}i;"));
        let texts = unsigned.chain(signed).collect();
        self.lines.extend(generated("constants", texts));
    }

    /// Appends a module and, before it, what it imports, each once.
    fn module(&mut self, name: &str, tensor: Option<&str>, importer: &str) -> Result<()> {
        if !self
            .seen
            .insert((name.to_string(), tensor.map(String::from)))
        {
            return Ok(());
        }
        let text = (self.find)(name).ok_or_else(|| {
            Error::compose(
                importer,
                0,
                format!("imports module {name}, which does not exist"),
            )
        })?;
        let mut own = Vec::new();
        let mut skip = Skip::default();
        for (n, text) in text.lines().enumerate() {
            let at = |message: String| Error::compose(name, n + 1, message);
            let renamed = tensor.map(|tensor| rename_tensor(text, tensor));
            let text = renamed.as_deref().unwrap_or(text);
            if skip.swallows(text) {
                continue;
            }
            let text = match self.condition(text).map_err(at)? {
                Conditional::Keep(text) => text,
                Conditional::Drop(rest) => {
                    skip.begin(rest);
                    continue;
                }
            };
            if let Some(import) = text.strip_prefix("import ") {
                self.import(import, name)
                    .map_err(|e| e.at_line(name, n + 1))?;
                continue;
            }
            own.push(Line {
                text,
                module: name.to_string(),
                number: n + 1,
            });
        }
        self.lines.extend(own);
        Ok(())
    }

    fn import(&mut self, import: &str, importer: &str) -> Result<()> {
        let import = import.trim_end().trim_end_matches(';');
        let (path, tensor) = match import.split_once(" for ") {
            Some((path, tensor)) => (path, Some(tensor)),
            None => (import, None),
        };
        let Some(slot) = path.strip_prefix("slot::") else {
            return self.module(path, tensor, importer);
        };
        if let Some(text) = self.source.texts.get(slot) {
            self.lines
                .extend(text.lines().enumerate().map(|(n, text)| Line {
                    text: text.to_string(),
                    module: FOREIGN.into(),
                    number: n + 1,
                }));
            return Ok(());
        }
        let modules = self.source.slots.get(slot).ok_or_else(|| {
            Error::compose(
                importer,
                0,
                format!("has a slot {slot} that the variant does not fill"),
            )
        })?;
        for module in modules {
            self.module(module, tensor, importer)?;
        }
        Ok(())
    }

    /// Takes `@if` off the front of a line.
    fn condition(&self, text: &str) -> Result<Conditional, String> {
        let body = text.trim_start();
        let Some(rest) = body.strip_prefix("@if(") else {
            return Ok(Conditional::Keep(text.to_string()));
        };
        let (name, rest) = rest.split_once(')').ok_or("@if( without its )")?;
        let (name, wanted) = name
            .strip_prefix('!')
            .map_or((name, true), |name| (name, false));
        let value = *self.source.flags.get(name).ok_or_else(|| {
            format!("asks for {name}, a condition that the variant does not know")
        })?;
        let indent = &text[..text.len() - body.len()];
        if value == wanted {
            // Conditions may follow each other.
            return self.condition(&format!("{indent}{}", rest.trim_start()));
        }
        Ok(Conditional::Drop(rest.to_string()))
    }
}

/// Lines that no module holds.
fn generated(module: &'static str, texts: Vec<String>) -> impl Iterator<Item = Line> {
    texts.into_iter().zip(1..).map(move |(text, number)| Line {
        text,
        module: module.into(),
        number,
    })
}

enum Conditional {
    Keep(String),
    Drop(String),
}

/// How many open braces of a dropped block are still to be closed.
#[derive(Default)]
struct Skip {
    depth: i64,
}

impl Skip {
    fn begin(&mut self, rest: String) {
        self.depth = braces(&rest);
    }

    fn swallows(&mut self, text: &str) -> bool {
        if self.depth == 0 {
            return false;
        }
        self.depth += braces(text);
        true
    }
}

/// `var x: T;`, of a function or private: variables of other address spaces cannot have an initial value.
fn is_bare_variable(text: &str) -> bool {
    let code = text.split("//").next().unwrap_or("");
    let mut rest = code;
    while let Some(at) = rest.find("var") {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + 3..];
        let declares = rest.starts_with(' ') || rest.starts_with("<private>");
        if declares && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            // One that goes on in the next line is a user's, who was given a value there.
            if rest
                .split_once(';')
                .is_some_and(|(statement, _)| !statement.contains('='))
            {
                return true;
            }
        }
    }
    false
}

/// `tensor_row` is `d_o_row` for d_o, `TensorPlace` is `DOPlace`, `TENSOR_CHUNKS` is `D_O_CHUNKS`.
fn rename_tensor(text: &str, tensor: &str) -> String {
    if !text.to_ascii_lowercase().contains("tensor") {
        return text.to_string();
    }
    let capitalised = |word: &str| word[..1].to_uppercase() + &word[1..];
    let camel: String = tensor.split('_').map(capitalised).collect();
    let names = [
        ("tensor", tensor.to_string()),
        ("Tensor", camel),
        ("TENSOR", tensor.to_uppercase()),
    ];
    super::unroll::map_words(text, |word, _| {
        names
            .iter()
            .find_map(|(from, to)| Some(format!("{to}{}", word.strip_prefix(from)?)))
    })
}

impl Shader {
    pub fn wgsl(&self) -> &str {
        &self.wgsl
    }

    /// The module and line that line `number` (from 1) of the text came from.
    pub fn origin(&self, number: usize) -> Option<(&str, usize)> {
        let (module, line) = self.origins.get(number.checked_sub(1)?)?;
        Some((module, *line))
    }

    /// What the shader binds, in the order of the numbers.
    pub fn binds(&self) -> &[Bind] {
        &self.binds
    }

    /// The parameters that the shader reads, in the order of its uniform.
    pub fn groups(&self) -> &[&'static Group] {
        &self.groups
    }

    /// Parses and validates the text with no capability but those that are needed.
    pub fn validate(&self, needs: Needs) -> Result<(naga::Module, naga::valid::ModuleInfo)> {
        use naga::valid::{Capabilities, SubgroupOperationSet, ValidationFlags, Validator};
        let module = naga::front::wgsl::parse_str(&self.wgsl).map_err(|e| {
            let location = self.narrowest(e.labels().map(|(span, _)| span));
            self.located(location, e.message().to_string())
        })?;
        // WebGPU has f16 pairs as numbers of f32 everywhere; naga counts them as a capability for old OpenGL's sake.
        let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let subgroups = needs.subgroups;
        capabilities.set(Capabilities::SUBGROUP, subgroups);
        capabilities.set(Capabilities::SHADER_INT64, needs.int64);
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        if subgroups {
            validator
                .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
                .subgroup_operations(SubgroupOperationSet::all());
        }
        let info = validator.validate(&module).map_err(|e| {
            let location = self.narrowest(e.spans().map(|(span, _)| *span));
            self.located(location, crate::error::chain(e.as_inner()))
        })?;
        Ok((module, info))
    }

    /// Of the places that naga names (the function, a type, the fault) the narrowest is the fault.
    fn narrowest(&self, spans: impl Iterator<Item = naga::Span>) -> Option<naga::SourceLocation> {
        let width = |span: &naga::Span| span.to_range().map_or(0, |range| range.len());
        let narrowest = spans.filter(|span| width(span) > 0).min_by_key(width)?;
        Some(narrowest.location(&self.wgsl))
    }

    fn located(&self, location: Option<naga::SourceLocation>, message: String) -> Error {
        let origin = location.and_then(|at| self.origin(at.line_number as usize));
        let (module, line) = origin.unwrap_or(("the composed text", 0));
        Error::compose(module, line, message)
    }
}
