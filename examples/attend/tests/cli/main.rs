//! The tool `attend` as a process, the way a person or a script meets it. Needs an adapter, software is fine.

#[path = "../../../../tests/support/mod.rs"]
mod support;

mod bad_input;
mod doctor;
mod golden;
mod gradients;
mod messages;
mod models;
mod mods;
mod options;
mod outputs;
mod positions;
mod ragged;
mod report;
mod select;
mod sparse;
mod tool;
