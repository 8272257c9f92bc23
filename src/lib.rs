//! Starts every Rust build from the nearest build somebody already did.
//!
//! Modules stand in the order of their layers, lowest first; `ARCHITECTURE.md` is the map.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod model;

pub mod child;
pub mod disk;

pub mod cargo;
pub mod config;
pub mod git;
pub mod report;
pub mod rustc;
pub mod store;
pub mod trust;

pub mod delta;
pub mod tier;

#[cfg(feature = "network")]
pub mod remote;
pub mod travel;

pub mod engine;

pub mod command;
pub mod wrapper;
