//! Everything that can be tested without a GPU.

mod tools;
mod tools_catch;
