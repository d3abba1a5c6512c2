//! How rows are stored: what reads and writes them.

use std::fmt;

use crate::problem::{Element, Operand};
use crate::shader::Source;

use super::Address;

/// How an input's rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Input {
    pub element: Element,
    /// Every row starts at a multiple of four elements and has a multiple of four channels; of rows that hold scales, the
    /// latter.
    pub aligned: bool,
}

/// How an output's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Output {
    pub element: Element,
    /// Every row starts at a multiple of four elements and has a multiple of four channels.
    pub aligned: bool,
}

impl Input {
    /// How tensors of one element, with rows of `dims` channels, are read by one kernel.
    pub fn of(operands: &[&Operand], dims: &[u32]) -> Self {
        let aligned =
            operands.iter().all(|x| begins_whole(x, 4)) && dims.iter().all(|d| d.is_multiple_of(4));
        Self {
            element: operands[0].element,
            aligned,
        }
    }

    /// The modules that read such rows; `vec8` ones 64 bits at a time.
    pub(super) fn modules(&self, vec8: bool) -> Vec<&'static str> {
        self.modules_at(Address::Strided, vec8)
    }

    /// The same of rows that lie elsewhere.
    pub(super) fn modules_at(&self, address: Address, vec8: bool) -> Vec<&'static str> {
        let rows = match (self.element, self.aligned) {
            (Element::F32, true) if vec8 => "codec::f32_vec8",
            (Element::F32, true) => "codec::f32_vec4",
            (Element::F32, false) => "codec::f32_any",
            (Element::F16 | Element::BF16, true) if vec8 => "codec::half_vec8",
            (Element::F16 | Element::BF16, true) => "codec::half_vec4",
            (Element::F16 | Element::BF16, false) => "codec::half_any",
            (Element::Int8, true) if vec8 => "codec::int8_vec8",
            (Element::Int8, true) => "codec::int8_vec4",
            (Element::Int8, false) => "codec::int8_any",
            (Element::Int4, true) if vec8 => "codec::int4_vec8",
            (Element::Int4, true) => "codec::int4_vec4",
            (Element::Int4, false) => "codec::int4_any",
        };
        with_element(address, rows, self.element)
    }

    /// The same of rows of bytes without their scale.
    pub(super) fn bare_modules_at(&self, address: Address, vec8: bool) -> Vec<&'static str> {
        let rows = match self.aligned {
            true if vec8 => "codec::int8_bare_vec8",
            true => "codec::int8_bare_vec4",
            false => "codec::int8_bare_any",
        };
        with_element(address, rows, self.element)
    }
}

impl Output {
    /// How the rows of `dim` channels of one tensor are written.
    pub fn of(operand: &Operand, dim: u32) -> Self {
        Self {
            element: operand.element,
            aligned: operand.layout.is_aligned(4) && dim.is_multiple_of(4),
        }
    }

    /// Contiguous f32 rows from the start of a buffer.
    pub fn scratch(dim: u32) -> Self {
        Self {
            element: Element::F32,
            aligned: dim.is_multiple_of(4),
        }
    }

    /// The modules that write such rows; `vec8` ones 64 bits at a time.
    pub(super) fn modules(&self, vec8: bool) -> Vec<&'static str> {
        self.modules_at(Address::Strided, vec8)
    }

    /// The same of rows that lie elsewhere.
    pub(super) fn modules_at(&self, address: Address, vec8: bool) -> Vec<&'static str> {
        let rows = match (self.element, self.aligned) {
            // Whole rows, by what shares a scale.
            (Element::Int8, _) => return vec![address.module(), "codec::int8_output"],
            (Element::Int4, _) => return vec![address.module(), "codec::int4_output"],
            (Element::F32, true) if vec8 => "codec::f32_output_vec8",
            (_, true) if vec8 => "codec::half_output_vec8",
            (Element::F32, true) => "codec::f32_output_vec4",
            (Element::F32, false) => "codec::f32_output_any",
            (_, true) => "codec::half_output_vec4",
            (_, false) => "codec::half_output_even",
        };
        with_element(address, rows, self.element)
    }
}

/// Where rows lie, how they are stored, and what converts their numbers.
fn with_element(address: Address, rows: &'static str, element: Element) -> Vec<&'static str> {
    let mut modules = vec![address.module(), rows];
    modules.extend(element_module(element));
    modules
}

/// The module that converts stored numbers.
pub(super) fn element_module(element: Element) -> Option<&'static str> {
    match element {
        Element::F32 => None,
        Element::Int8 => Some("codec::int8"),
        Element::Int4 => Some("codec::int4"),
        Element::F16 => Some("codec::f16"),
        Element::BF16 => Some("codec::bf16"),
    }
}

/// The channels that are loaded at once; answers how many 4-vectors they are.
pub(super) fn add_chunks(source: &mut Source, vec8: bool) -> u32 {
    let vec4s = if vec8 { 2 } else { 1 };
    source.constant("VEC4S", vec4s);
    source.constant("CHUNK", 4 * vec4s);
    source.flag("vec8", vec8);
    vec4s
}

/// Whether every row is made of whole vec8s of channels, which loads of 64 bits take at once.
pub fn whole_vec8s(rows: &[(&Operand, u32)]) -> bool {
    rows.iter()
        .all(|(x, dim)| begins_whole(x, 8) && dim.is_multiple_of(8))
}

/// Whether every row begins where `n` channels are loaded at once. Rows that hold scales are read word by word.
fn begins_whole(operand: &Operand, n: u64) -> bool {
    operand.element.is_quantized() || operand.layout.is_aligned(n)
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aligned = if self.aligned { "" } else { " unaligned" };
        write!(f, "{}{aligned}", self.element)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { element, aligned } = *self;
        Input { element, aligned }.fmt(f)
    }
}
