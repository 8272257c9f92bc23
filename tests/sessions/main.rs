//! What changed compiles incrementally from a session made elsewhere, as it would in the directory it came from.

#[path = "../common/mod.rs"]
mod common;

mod choice;
mod fixture;
mod hits;
mod identity;
mod lane;
mod matrix;
mod nodes;
mod reuse;
mod soundness;
