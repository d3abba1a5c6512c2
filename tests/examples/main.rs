//! The short examples as processes, the way a reader starts them. Needs an adapter, software is fine.

mod fit;
mod patterns;
mod positions;
mod quickstart;
mod run;
mod tokens;
