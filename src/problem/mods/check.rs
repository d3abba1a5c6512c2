//! The check of a text by itself, behind a prelude of the helpers' stubs: what is wrong is told by the user's own line
//! and column.

use naga::valid::{
    Capabilities, FunctionError, ModuleInfo, ValidationError, ValidationFlags, Validator,
};
use naga::{Block, Expression, Function, Module, Scalar, Span, Statement, TypeInner};

use crate::error::{Error, Result};

use super::Defined;
use super::fault::ModFault;
use super::size;
use super::text::{Token, declared, tokens, with_depth};

/// The helpers as the user's functions see them. Their bodies here are of no matter, but no constants, so that nothing
/// is computed ahead.
const PRELUDE: &str = "fn query_offset(b: u32) -> i32 { return i32(b); }
fn mod_data(n: u32) -> f32 { return f32(n); }
";

/// Makes the front end lay out all types before it.
const LAYOUT: &str = "\nconst attention_last = array<u32, 2>(1u, 2u);";

/// Brackets inside of each other, and words and signs of a statement: the front end's and drivers' compilers recurse
/// over both.
const MOST_DEPTH: usize = 24;
const MOST_LENGTH: usize = 1000;

const MASK: &str = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool";
const SCORE: &str = "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32";
const GRAD: &str = "fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32";

/// Which of the functions the text defines, or what is wrong with it.
pub(super) fn check(text: &str) -> Result<Defined> {
    let words = tokens(text);
    bounded(text, &words)?;
    directives(text, &words)?;
    if let Some((at, wrong)) = size::large_structure(&words) {
        return Err(fault(text, at, wrong));
    }
    let whole = format!("{PRELUDE}{text}");
    let module = naga::front::wgsl::parse_str(&whole).map_err(|e| {
        let span = e.labels().next().map(|(span, _)| span);
        let labels: Vec<_> = e
            .labels()
            .map(|(_, label)| label)
            .filter(|label| !matches!(*label, "" | "see msg"))
            .collect();
        let message = match labels.join(", ") {
            labels if labels.is_empty() => e.message().to_string(),
            labels => format!("{} ({labels})", e.message()),
        };
        fault(text, place(span), ModFault::Wgsl(message))
    })?;
    sized(text, &words, &whole, &module)?;
    declarations(text, &words)?;
    calls(text, &words)?;
    let defined = Defined {
        loops: words
            .iter()
            .any(|word| matches!(word.text, "for" | "while" | "loop")),
        ..signatures(text, &module)?
    };
    let info = validated(text, &module)?;
    pointers(text, &module, &info)?;
    Ok(defined)
}

/// Refuses what a compiler could run out of stack over.
fn bounded(text: &str, words: &[Token<'_>]) -> Result<()> {
    let (mut depth, mut length) = (0usize, 0);
    for token in words {
        length += 1;
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if matches!(token.text, ";" | "{" | "}") {
            length = 0;
        }
        let allowed = MOST_DEPTH;
        if depth > allowed {
            return Err(fault(text, token.at, ModFault::Depth { depth, allowed }));
        }
        let allowed = MOST_LENGTH;
        if length > allowed {
            return Err(fault(text, token.at, ModFault::Length { length, allowed }));
        }
    }
    else_chains(text, words)
}

/// `else if` nests what follows inside of it.
fn else_chains(text: &str, words: &[Token<'_>]) -> Result<()> {
    let allowed = MOST_DEPTH;
    let mut chain = [0; MOST_DEPTH + 2];
    for (n, token, depth) in with_depth(words) {
        let next = words.get(n + 1).map(|next| next.text);
        match (token.text, next) {
            ("else", Some("if")) => chain[depth] += 1,
            ("}", Some("else")) => {}
            ("}", _) => chain[depth] = 0,
            _ => {}
        }
        if chain[depth] > allowed {
            let depth = chain[depth];
            return Err(fault(text, token.at, ModFault::Depth { depth, allowed }));
        }
    }
    Ok(())
}

/// Refuses what is short and becomes large.
fn sized(text: &str, words: &[Token<'_>], whole: &str, module: &Module) -> Result<()> {
    // Arrays are types without a place.
    let array = || {
        let array = words.iter().find(|word| word.text == "array");
        array.map_or(0, |word| word.at)
    };
    // A type that no value is left of is laid out only where one comes after it, and is in no module.
    let laid_out = naga::front::wgsl::parse_str(&format!("{whole}{LAYOUT}"));
    let unseen = laid_out.is_err().then(size::too_large);
    if let Some(wrong) = size::large_type(module).or(unseen) {
        return Err(fault(text, array(), wrong));
    }
    match size::long_function(module) {
        Some((span, wrong)) => Err(fault(text, place(Some(span)), wrong)),
        None => Ok(()),
    }
}

/// Directives would have to stand before the prelude; the front end's words for that help nobody.
fn directives(text: &str, words: &[Token<'_>]) -> Result<()> {
    for (n, token, depth) in with_depth(words) {
        let begins = n == 0 || matches!(words[n - 1].text, ";" | "}");
        let named = matches!(token.text, "enable" | "requires" | "diagnostic" | "import");
        if begins && depth == 0 && named {
            let directive = ModFault::Directive(token.text.into());
            return Err(fault(text, token.at, directive));
        }
    }
    Ok(())
}

/// Nothing at module scope but functions, constants, structures and aliases.
fn declarations(text: &str, words: &[Token<'_>]) -> Result<()> {
    for (n, token, depth) in with_depth(words).filter(|(_, _, depth)| *depth == 0) {
        debug_assert_eq!(depth, 0);
        let next = words.get(n + 1).map_or("", |next| next.text);
        let wrong = match (token.text, next) {
            ("var", _) => ModFault::Variable,
            ("override", _) => ModFault::Override,
            // The helpers' own types.
            ("alias" | "struct" | "fn" | "const", "bool" | "i32" | "u32" | "f32") => {
                ModFault::Builtin(next.into())
            }
            (
                "@",
                "compute" | "vertex" | "fragment" | "workgroup_size" | "builtin" | "location",
            ) => ModFault::EntryPoint(next.into()),
            _ => continue,
        };
        return Err(fault(text, token.at, wrong));
    }
    Ok(())
}

/// No call of a built-in function that reaches beyond the pair, and no pointer type to shared memory.
fn calls(text: &str, words: &[Token<'_>]) -> Result<()> {
    let own = declared(words);
    for (n, token) in words.iter().enumerate() {
        let next = words.get(n + 1).map_or("", |next| next.text);
        let built_in = next == "(" && !own.contains(token.text);
        let name = || token.text.to_string();
        let wrong = match token.text {
            "workgroupBarrier" | "storageBarrier" | "textureBarrier" | "workgroupUniformLoad"
                if built_in =>
            {
                ModFault::Barrier(name())
            }
            x if built_in && (x.starts_with("subgroup") || x.starts_with("quad")) => {
                ModFault::Subgroup(name())
            }
            x if built_in && x.starts_with("atomic") => ModFault::Memory(name()),
            x if built_in && (x.starts_with("dpd") || x.starts_with("fwidth")) => {
                ModFault::Stage(name())
            }
            "discard" => ModFault::Stage(name()),
            "ptr" if next == "<" => match words.get(n + 2).map(|space| space.text) {
                Some(space @ ("storage" | "uniform" | "workgroup" | "private")) => {
                    ModFault::Memory(format!("ptr<{space}>"))
                }
                _ => continue,
            },
            _ => continue,
        };
        return Err(fault(text, token.at, wrong));
    }
    Ok(())
}

fn signatures(text: &str, module: &Module) -> Result<Defined> {
    let mut defined = Defined::default();
    for (handle, function) in module.functions.iter() {
        let name = function.name.as_deref().unwrap_or_default();
        let (name, expected, result, first) = match name {
            "mask_mod" => ("mask_mod", MASK, Scalar::BOOL, None),
            "score_mod" => ("score_mod", SCORE, Scalar::F32, Some(Scalar::F32)),
            "score_mod_grad" => ("score_mod_grad", GRAD, Scalar::F32, Some(Scalar::F32)),
            _ => continue,
        };
        let indices = [Scalar::U32; 4];
        let wanted: Vec<Scalar> = first.into_iter().chain(indices).collect();
        if !takes(module, function, &wanted, result) {
            let at = place(Some(module.functions.get_span(handle)));
            return Err(fault(text, at, ModFault::Signature { name, expected }));
        }
        match name {
            "mask_mod" => defined.mask = true,
            "score_mod" => defined.score = true,
            _ => defined.grad = true,
        }
    }
    let end = text.trim_end().len();
    match defined {
        Defined {
            score: false,
            grad: true,
            ..
        } => Err(fault(text, end, ModFault::GradAlone)),
        Defined {
            score: false,
            mask: false,
            ..
        } => Err(fault(text, end, ModFault::Neither { example: MASK })),
        defined => Ok(defined),
    }
}

fn takes(module: &Module, function: &Function, wanted: &[Scalar], result: Scalar) -> bool {
    let is = |ty, scalar| module.types[ty].inner == TypeInner::Scalar(scalar);
    let arguments = &function.arguments;
    arguments.len() == wanted.len()
        && arguments
            .iter()
            .zip(wanted)
            .all(|(a, &scalar)| is(a.ty, scalar))
        && function.result.as_ref().is_some_and(|r| is(r.ty, result))
}

fn validated(text: &str, module: &Module) -> Result<ModuleInfo> {
    // As a composed shader is validated, with no extension.
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.validate(module).map_err(|e| {
        if let Some(fault) = wrong_result(text, module, e.as_inner()) {
            return fault;
        }
        let width = |span: &Span| span.to_range().map_or(0, |range| range.len());
        let spans = e
            .spans()
            .map(|(span, _)| *span)
            .filter(|span| width(span) > 0);
        let message = crate::error::chain(e.as_inner());
        fault(
            text,
            place(spans.min_by_key(width)),
            ModFault::Wgsl(message),
        )
    })
}

/// A result of another type than the function declares, told where it is returned: the front end tells where the value
/// comes from, be it a parameter, and by numbers of its own.
fn wrong_result(text: &str, module: &Module, error: &ValidationError) -> Option<Error> {
    let ValidationError::Function {
        handle,
        name,
        source: FunctionError::InvalidReturnType { expression, .. },
    } = error
    else {
        return None;
    };
    let is_it = |statement: &Statement| matches!(statement, Statement::Return { value } if value == expression);
    let at = find(&module.functions[*handle].body, &is_it);
    let message = format!("what {name} returns here is not of the type that it declares");
    Some(fault(text, place(at), ModFault::Wgsl(message)))
}

/// WGSL asks no more of an implementation than pointers to whole variables, and naga's writers have no others.
fn pointers(text: &str, module: &Module, info: &ModuleInfo) -> Result<()> {
    for (handle, function) in module.functions.iter() {
        let is_part = |argument: naga::Handle<Expression>| {
            let partial = matches!(
                function.expressions[argument],
                Expression::Access { .. } | Expression::AccessIndex { .. }
            );
            let ty = info[handle][argument].ty.inner_with(&module.types);
            partial && ty.pointer_space().is_some()
        };
        let passes_part = |statement: &Statement| match statement {
            Statement::Call { arguments, .. } => arguments.iter().any(|&x| is_part(x)),
            _ => false,
        };
        if let Some(span) = find(&function.body, &passes_part) {
            return Err(fault(text, place(Some(span)), ModFault::PartPointer));
        }
    }
    Ok(())
}

/// Where the first statement stands that `is_it`.
fn find(block: &Block, is_it: &impl Fn(&Statement) -> bool) -> Option<Span> {
    let inside = |block| find(block, is_it);
    block
        .span_iter()
        .find_map(|(statement, span)| match statement {
            statement if is_it(statement) => Some(*span),
            Statement::Block(block) => inside(block),
            Statement::If { accept, reject, .. } => inside(accept).or_else(|| inside(reject)),
            Statement::Switch { cases, .. } => cases.iter().find_map(|case| inside(&case.body)),
            Statement::Loop {
                body, continuing, ..
            } => inside(body).or_else(|| inside(continuing)),
            _ => None,
        })
}

/// Where in the user's text a span of the whole one begins.
fn place(span: Option<Span>) -> usize {
    let start = span
        .and_then(|span| span.to_range())
        .map_or(0, |range| range.start);
    start.saturating_sub(PRELUDE.len())
}

/// A fault at a byte of the text, which may lie past its end. Columns are counted in characters, from 1.
fn fault(text: &str, at: usize, fault: ModFault) -> Error {
    let at = (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    Error::Mods {
        line: before.matches('\n').count() + 1,
        column: before[start..].chars().count() + 1,
        fault,
    }
}
