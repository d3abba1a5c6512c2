//! Caches that grow token by token: against the definition over what they store, and what they store against the tokens.

mod append;
mod growth;
mod harness;
mod one_more;
mod prefix;
mod ragged;
mod ring;
mod sizes;
mod snapshot;
mod stored;
mod tree;
