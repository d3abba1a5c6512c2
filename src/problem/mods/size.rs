//! How large what a text declares becomes: types, and functions with those that they call inside of them, as drivers'
//! compilers see them. A short text may say what no compiler gets through.

use std::collections::{BTreeMap, BTreeSet};

use naga::proc::Layouter;
use naga::{Block, Function, Module, Span, Statement};

use super::fault::ModFault;
use super::text::{Token, declared, with_depth};

/// Bytes of a type, and values of a structure: they lie in an invocation's registers, of which it has a kilobyte. Twenty-
/// four structures of two members, each of the one before, kept the front end busy for 3 s.
pub const MOST_BYTES: u32 = 16 << 10;
const MOST_VALUES: u64 = (MOST_BYTES / 4) as u64;
/// Expressions and statements of a function with those that it calls, each as often as it does.
const MOST_INLINED: u64 = 1 << 16;

/// The first structure with too many values, told from the words: the front end takes its time for them.
pub fn large_structure(words: &[Token<'_>]) -> Option<(usize, ModFault)> {
    let declarations = declarations(words);
    let mut known = BTreeMap::new();
    declarations.iter().find_map(|(name, (at, _))| {
        let values = values_of(name, &declarations, &mut known, &mut BTreeSet::new());
        let bytes = values.saturating_mul(4);
        (values > MOST_VALUES).then_some((*at, type_fault(bytes)))
    })
}

fn type_fault(bytes: u64) -> ModFault {
    ModFault::Type {
        bytes,
        allowed: MOST_BYTES,
    }
}

/// Where each structure and alias is declared, and the words of it.
type Declarations<'a> = BTreeMap<&'a str, (usize, Vec<&'a str>)>;

fn declarations<'a>(words: &'a [Token<'a>]) -> Declarations<'a> {
    let names = declared(words);
    let mut declarations = Declarations::new();
    let mut current = None;
    for (n, token, depth) in with_depth(words) {
        match (depth, token.text) {
            (0, "struct" | "alias") => {
                current = words.get(n + 1).map(|name| name.text);
                let at = words.get(n + 1).map_or(token.at, |name| name.at);
                declarations.extend(current.map(|name| (name, (at, Vec::new()))));
            }
            (0, ";" | "}") => current = None,
            // A member's own name stands before a colon.
            _ if words.get(n + 1).is_some_and(|next| next.text == ":") => {}
            (_, word) if names.contains(word) && current != Some(word) => {
                let found = current.and_then(|name| declarations.get_mut(name));
                found.into_iter().for_each(|(_, types)| types.push(word));
            }
            _ => {}
        }
    }
    declarations
}

/// Values of a type at the least: arrays are not counted through here. One that holds itself is the front end's to
/// refuse.
fn values_of<'a>(
    name: &'a str,
    declarations: &Declarations<'a>,
    known: &mut BTreeMap<&'a str, u64>,
    open: &mut BTreeSet<&'a str>,
) -> u64 {
    if let Some(&values) = known.get(name) {
        return values;
    }
    let Some((_, types)) = declarations.get(name) else {
        return 1;
    };
    // As deep as the front end goes itself.
    if open.len() > 200 || !open.insert(name) {
        return 1;
    }
    let of_type = |name: &&'a str| values_of(name, declarations, known, open);
    let values = types
        .iter()
        .map(of_type)
        .fold(0, u64::saturating_add)
        .max(1);
    open.remove(name);
    known.insert(name, values);
    values
}

/// Of a type that takes more than can be told.
pub fn too_large() -> ModFault {
    type_fault(u32::MAX.into())
}

/// The first type that takes too many bytes. Structures are looked at before: it is an array.
pub fn large_type(module: &Module) -> Option<ModFault> {
    let mut layouter = Layouter::default();
    if layouter.update(module.to_ctx()).is_err() {
        return Some(too_large());
    }
    let bytes = |(handle, _)| layouter[handle].size;
    let bytes = module.types.iter().map(bytes).find(|&n| n > MOST_BYTES)?;
    Some(type_fault(bytes.into()))
}

/// The first function that is too long with those that it calls. The front end has them in the order of their calls.
pub fn long_function(module: &Module) -> Option<(Span, ModFault)> {
    let mut lengths = BTreeMap::new();
    for (handle, function) in module.functions.iter() {
        let length = length(function, &lengths);
        if length > MOST_INLINED {
            let fault = ModFault::Inlined {
                length,
                allowed: MOST_INLINED,
            };
            return Some((module.functions.get_span(handle), fault));
        }
        lengths.insert(handle.index(), length);
    }
    None
}

fn length(function: &Function, lengths: &BTreeMap<usize, u64>) -> u64 {
    let own = function.expressions.len() as u64;
    own.saturating_add(block_length(&function.body, lengths))
}

fn block_length(block: &Block, lengths: &BTreeMap<usize, u64>) -> u64 {
    let inside = |block: &Block| block_length(block, lengths);
    let of = |statement: &Statement| match statement {
        Statement::Call { function, .. } => {
            lengths.get(&function.index()).copied().unwrap_or_default()
        }
        Statement::Block(block) => inside(block),
        Statement::If { accept, reject, .. } => inside(accept).saturating_add(inside(reject)),
        Statement::Switch { cases, .. } => cases
            .iter()
            .fold(0u64, |sum, case| sum.saturating_add(inside(&case.body))),
        Statement::Loop {
            body, continuing, ..
        } => inside(body).saturating_add(inside(continuing)),
        _ => 0,
    };
    block
        .iter()
        .map(|statement| of(statement).saturating_add(1))
        .fold(0, u64::saturating_add)
}
