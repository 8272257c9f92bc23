//! Starting points that travel: written to a remote, found there, fetched, checked, and used.

#[path = "../common/mod.rs"]
mod common;

mod bisect;
mod collect;
mod deltas;
mod doctor;
mod engines;
mod far;
mod hangs;
mod later;
mod lists;
mod queue;
mod requests;
mod secrets;
mod signing;
mod torn;
mod trouble;
