//! Bad input: each gets a clear error or reason, loses nothing, and a correct build follows.

#[path = "../common/mod.rs"]
mod common;

mod damage;
mod format;
mod hostile;
mod repository;
mod sources;
mod store;
mod target;
