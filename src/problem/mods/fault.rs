//! What can be wrong with the user's functions.

/// Why a text of user functions was refused; [`crate::Error::Mods`] adds where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModFault {
    /// What the WGSL front end or its validator says.
    #[error("{0}")]
    Wgsl(String),
    #[error("{name} has another signature; write it as {expected}")]
    Signature {
        name: &'static str,
        expected: &'static str,
    },
    #[error("neither mask_mod nor score_mod is defined; write one of them, such as {example}")]
    Neither { example: &'static str },
    #[error(
        "score_mod_grad is defined without score_mod; define the function that it is the derivative of"
    )]
    GradAlone,
    #[error("`{0}` directives and imports are not allowed; leave it out, one text is all")]
    Directive(String),
    #[error(
        "a variable of the module is not allowed, no binding and none in memory; use `const`, or read mod_data(n)"
    )]
    Variable,
    #[error("`override` is not allowed; use `const`, or read mod_data(n)")]
    Override,
    #[error("`@{0}` is not allowed: entry points are the kernels' own; define functions only")]
    EntryPoint(String),
    #[error("`{0}` is not allowed: a mod writes no memory but its own variables")]
    Memory(String),
    #[error("`{0}` is not allowed: a mod sees one pair and waits for no other; leave barriers out")]
    Barrier(String),
    #[error("`{0}` is not allowed: a mod sees one pair; leave subgroup and quad functions out")]
    Subgroup(String),
    #[error("`{0}` is not allowed: it is for fragment shaders only; leave it out")]
    Stage(String),
    #[error(
        "a pointer to a part of a variable is passed on; pass a pointer to the whole variable, or the value"
    )]
    PartPointer,
    #[error("brackets are {depth} deep here; allowed is {allowed}, so name the inner parts")]
    Depth { depth: usize, allowed: usize },
    #[error(
        "this statement has {length} words and signs or more; allowed is {allowed}, so split it"
    )]
    Length { length: usize, allowed: usize },
}
