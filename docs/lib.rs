//! The README and the guides beside this file: `cargo test --release -p guides` compiles their examples, and runs those that need no
//! GPU.

macro_rules! guides {
    ($($name:ident: $path:literal,)*) => {
        $(#[cfg(doctest)]
        #[doc = include_str!($path)]
        pub struct $name;)*
    };
}

guides! {
    Readme: "../README.md",
    Adapters: "adapters.md",
    Architecture: "architecture.md",
    Generation: "generation.md",
    Guests: "guests.md",
    LongContext: "long-context.md",
    Models: "models.md",
    Performance: "performance.md",
}
