//! What can be wrong with the user's functions.

/// Why a text of user functions was refused; [`crate::Error::Mods`] adds where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModFault {
    /// What the WGSL front end or its validator says.
    #[error("{0}")]
    Wgsl(String),
    /// A function of another signature than it must have.
    #[error("{name} has another signature; write it as {expected}")]
    Signature {
        /// The function.
        name: &'static str,
        /// Its signature as it must be.
        expected: &'static str,
    },
    /// A text that defines none of the functions.
    #[error("neither mask_mod nor score_mod is defined; write one of them, such as {example}")]
    Neither {
        /// One of them.
        example: &'static str,
    },
    /// A derivative without its function.
    #[error(
        "score_mod_grad is defined without score_mod; define the function that it is the derivative of"
    )]
    GradAlone,
    /// A directive.
    #[error("`{0}` directives and imports are not allowed; leave it out, one text is all")]
    Directive(String),
    /// A variable at module scope.
    #[error(
        "a variable of the module is not allowed, no binding and none in memory; use `const`, or read mod_data(n)"
    )]
    Variable,
    /// An override.
    #[error("`override` is not allowed; use `const`, or read mod_data(n)")]
    Override,
    /// A declaration under the name of a type that the helpers have in their signatures.
    #[error("`{0}` is a type of WGSL; give what you declare another name")]
    Builtin(String),
    /// An entry point.
    #[error("`@{0}` is not allowed: entry points are the kernels' own; define functions only")]
    EntryPoint(String),
    /// An access to memory that is not its own.
    #[error("`{0}` is not allowed: a mod writes no memory but its own variables")]
    Memory(String),
    /// A barrier.
    #[error("`{0}` is not allowed: a mod sees one pair and waits for no other; leave barriers out")]
    Barrier(String),
    /// A subgroup operation.
    #[error("`{0}` is not allowed: a mod sees one pair; leave subgroup and quad functions out")]
    Subgroup(String),
    /// A function of other shader stages.
    #[error("`{0}` is not allowed: it is for fragment shaders only; leave it out")]
    Stage(String),
    /// A pointer to a part of a value by a number that is not constant.
    #[error(
        "a pointer to a part of a variable is passed on; pass a pointer to the whole variable, or the value"
    )]
    PartPointer,
    /// Blocks or expressions nested too deep.
    #[error("brackets are {depth} deep here; allowed is {allowed}, so name the inner parts")]
    Depth {
        /// How deep.
        depth: usize,
        /// How deep they may be.
        allowed: usize,
    },
    /// A type that is too large.
    #[error(
        "this type takes {bytes} bytes or more; allowed is {allowed}, so make it smaller or put tables into mod_data"
    )]
    Type {
        /// How many it takes.
        bytes: u64,
        /// How many it may take.
        allowed: u32,
    },
    /// A function that is too long.
    #[error(
        "this function has {length} expressions with all that it calls, each as often as it does; allowed is {allowed}, \
         so call less, or in a loop"
    )]
    Inlined {
        /// How many.
        length: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// Too many words and signs.
    #[error(
        "this statement has {length} words and signs or more; allowed is {allowed}, so split it"
    )]
    Length {
        /// How many.
        length: usize,
        /// How many there may be.
        allowed: usize,
    },
}
